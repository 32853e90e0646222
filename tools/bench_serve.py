#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The daemon as a server: how soon it listens, what it weighs while nothing happens, how many forecasts it answers.

The yardstick is nginx with one worker that serves a file of the same size as the answer, asked by the same wrk in turns with the daemon in the same
run. Servers share one core, wrk has another. Rates are judged per second of the server's own CPU time and latencies by their best round, so that
what else the machine does is not judged; the medians of the clock stand in the table. Exit 1 when a limit of the project is broken.

A warm forecast is a question that was asked before. A question that nobody asked before costs a walk through the network, which bench_forecast
holds to its own limit: it is measured here and has no limit of its own.
"""
import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

STARTS = 15
IDLE_SECONDS = 6  # chosen: longer than the pause between two looks at an idle card (service/lookout.h)
ROUNDS = 9
ROUND_SECONDS = 1
CONNECTIONS = 4  # chosen: some wait always, so that the server never does, and few, so that a wait is the server's and not the queue's
NICE = -15  # chosen: a latency is that of the server, not of whose turn it is
LISTEN_MS_MAX = 100
IDLE_RSS_MIB_MAX = 30
FORECASTS_PER_S_MIN = 3000
P99_MS_MAX = 5

QUESTION = json.dumps({"card": "rtx3050-6gb", "workflow": {
    "3": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 20, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0,
                                               "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd_xl_base_1.0.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 1024, "height": 1024, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a dragon", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "plimsoll"}}}})

# Another seed in each question: the answer to none of them is remembered, each is a forecast.
NEW_QUESTIONS = """
local number = 0
local body = %s
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
request = function()
    number = number + 1
    return wrk.format(nil, nil, nil, (string.gsub(body, '"seed": 1,', '"seed": ' .. number .. ',')))
end
"""
SAME_QUESTION = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = %s
"""
# After either: what wrk counted, as one line of JSON.
REPORT = """
done = function(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format('RESULT {"requests":%d,"us":%d,"p50_us":%d,"p99_us":%d,"failed":%d}\\n', summary.requests, summary.duration,
        latency:percentile(50), latency:percentile(99), errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""
NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 256; }}
http {{
    access_log off; keepalive_requests 100000000; default_type application/json; sendfile on; tcp_nopush on;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{ listen 127.0.0.1:{port}; root {folder}/files; }}
}}
"""


def settle(core):
    """In a child before exec: on one core, and before everything else that runs there, as far as the user may."""
    os.sched_setaffinity(0, {core})
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)


def cpu_seconds(pid):
    """User and system time of a process and all its threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid):
    return int(re.search(r"VmRSS:\s*(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")).group(1)) / 1024


class Daemon:
    def __init__(self, plimsoll, home, core):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PLIMSOLL_", "COMFYUI_", "MAX_", "SAFETY_"))}
        environment["PLIMSOLL_HOME"] = environment["HOME"] = home
        command = [plimsoll, "serve", "--simulate", "--listen", "127.0.0.1:0", "--log-format", "json"]
        begin = time.perf_counter()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=home,
                                        preexec_fn=lambda: settle(core))
        line = self.process.stdout.readline()
        self.listening_ms = (time.perf_counter() - begin) * 1000
        if not line:
            raise SystemExit("bench: the daemon did not start")
        self.port = json.loads(line)["port"]
        self.reader = threading.Thread(target=self.process.stdout.read)  # whoever does not read stops the writer
        self.reader.start()

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.reader.join()
        self.process.stdout.close()


@contextlib.contextmanager
def nginx(folder, core, answer):
    """One worker that serves the answer as a file; yields its port and process id."""
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:" + os.environ.get("PLIMSOLL_NGINX_DIR", ""))
    if program is None:
        raise SystemExit("bench: nginx is missing; ./dev bench serve brings it")
    files = pathlib.Path(folder, "files")
    files.mkdir()
    (files / "answer.json").write_bytes(answer)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = pathlib.Path(folder, "nginx.conf")
    config.write_text(NGINX.format(folder=folder, port=port), encoding="ascii")
    os.chmod(folder, 0o755)
    with subprocess.Popen([program, "-p", folder, "-c", str(config)], stderr=subprocess.DEVNULL, preexec_fn=lambda: settle(core)) as process:
        try:
            for _ in range(200):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.02)
            yield port, process.pid
        finally:
            process.terminate()


def wrk(core, script, url, pid):
    """{rate: answers per second, cpu_rate: per second of the server's CPU, p50, p99 in ms}"""
    cpu = cpu_seconds(pid)
    done = subprocess.run(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{ROUND_SECONDS}s", "--latency", "-s", script, url],
                          capture_output=True, text=True, check=False, preexec_fn=lambda: settle(core))
    cpu = cpu_seconds(pid) - cpu
    found = re.search(r"RESULT (\{.*\})", done.stdout)
    if found is None:
        raise SystemExit(f"bench: wrk says {done.stdout}{done.stderr}")
    result = json.loads(found.group(1))
    if result["failed"]:
        raise SystemExit(f"bench: {result['failed']} of {result['requests']} requests to {url} failed")
    return {"rate": result["requests"] / result["us"] * 1e6, "cpu_rate": result["requests"] / cpu,
            "p50": result["p50_us"] / 1000, "p99": result["p99_us"] / 1000}


def measure_start(plimsoll, core):
    times, yard = [], []
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory(prefix="plimsoll-bench-") as home, Daemon(plimsoll, home, core) as daemon:
            times.append(daemon.listening_ms)
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        yard.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times), statistics.median(yard)


def measure_idle(plimsoll, core):
    """RSS in MiB with the page's calls behind it and its event stream open; % of a core meanwhile."""
    with tempfile.TemporaryDirectory(prefix="plimsoll-bench-") as home, Daemon(plimsoll, home, core) as daemon:
        for path in ("/", "/api/health", "/api/devices", "/api/models", "/api/cards", "/api/jobs", "/api/presets", "/api/history?limit=50"):
            status, _ = daemon.ask("GET", path)
            if status != 200:
                raise SystemExit(f"bench: GET {path} answers {status}")
        stream = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
        stream.request("GET", "/api/events")
        first = stream.getresponse()
        first.readline()
        cpu = cpu_seconds(daemon.process.pid)
        time.sleep(IDLE_SECONDS)
        share = (cpu_seconds(daemon.process.pid) - cpu) / IDLE_SECONDS * 100
        rss = rss_mib(daemon.process.pid)
        stream.close()
        return rss, share


def measure_forecasts(plimsoll, server_core, client_core):
    """For nginx, a remembered answer and a new forecast each time: medians of the rounds, and the best p99 of one."""
    figures = {}
    with tempfile.TemporaryDirectory(prefix="plimsoll-bench-") as folder, Daemon(plimsoll, folder, server_core) as daemon:
        status, answer = daemon.ask("POST", "/api/forecast", QUESTION)
        if status != 200:
            raise SystemExit(f"bench: POST /api/forecast answers {status}: {answer[:300]}")
        scripts = {}
        for name, text in {"same": SAME_QUESTION, "new": NEW_QUESTIONS, "file": ""}.items():
            scripts[name] = os.path.join(folder, name + ".lua")
            pathlib.Path(scripts[name]).write_text((text % json.dumps(QUESTION) if text else "") + REPORT, encoding="ascii")
        with tempfile.TemporaryDirectory(prefix="plimsoll-bench-") as web, nginx(web, server_core, answer) as (port, pid):
            url = f"http://127.0.0.1:{daemon.port}/api/forecast"
            turns = {"nginx, a static file": (scripts["file"], f"http://127.0.0.1:{port}/answer.json", pid),
                     "forecast, asked again": (scripts["same"], url, daemon.process.pid),
                     "forecast, new each time": (scripts["new"], url, daemon.process.pid)}
            for _ in range(ROUNDS):  # in turns: what else the machine does falls on all of them
                for name, turn in turns.items():
                    figures.setdefault(name, []).append(wrk(client_core, *turn))
    return {name: {**{key: statistics.median(run[key] for run in runs) for key in runs[0]}, "p99_best": min(run["p99"] for run in runs)}
            for name, runs in figures.items()}, len(answer)


def judge(what, figure, unit, bound, at_least, beside=""):
    met = figure >= bound if at_least else figure < bound
    print(f"{'met' if met else 'MISSED':7} {what:<36}{figure:>10.2f} {unit}, target {'>=' if at_least else '<'} {bound} {unit}{beside}")
    return met


def main():
    plimsoll = str(pathlib.Path(sys.argv[1]).resolve())
    if shutil.which("wrk") is None:
        raise SystemExit("bench: wrk is missing; ./dev bench serve installs it")
    cores = sorted(os.sched_getaffinity(0))
    server_core, client_core = cores[0], cores[-1]
    listening, python = measure_start(plimsoll, server_core)
    rss, share = measure_idle(plimsoll, server_core)
    figures, answer_bytes = measure_forecasts(plimsoll, server_core, client_core)
    yard = figures["nginx, a static file"]
    print(f"one worker, {CONNECTIONS} connections, answers of {answer_bytes} bytes; server on core {server_core}, wrk on core {client_core}"
          + ("" if server_core != client_core else " (the only one)"))
    print(f"{'':<28}{'answers/s':>11}{'/s of CPU':>11}{'x nginx':>9}{'p50 ms':>9}{'p99 ms':>9}{'best p99':>10}{'x nginx':>9}")
    for name, one in figures.items():
        print(f"{name:<28}{one['rate']:>11.0f}{one['cpu_rate']:>11.0f}{one['cpu_rate'] / yard['cpu_rate']:>9.2f}"
              f"{one['p50']:>9.2f}{one['p99']:>9.2f}{one['p99_best']:>10.2f}{one['p99_best'] / yard['p99_best']:>9.1f}")
    warm = figures["forecast, asked again"]
    met = [judge("listening after exec", listening, "ms", LISTEN_MS_MAX, False, f", {listening / python:.2f} x python3 -c pass"),
           judge("idle RSS, an event stream open", rss, "MiB", IDLE_RSS_MIB_MAX, False, f" ({share:.2f} % of a core meanwhile)"),
           judge("POST /api/forecast, warm, one core", warm["cpu_rate"], "/s", FORECASTS_PER_S_MIN, True,
                 f", {warm['cpu_rate'] / yard['cpu_rate']:.2f} x nginx"),
           judge("POST /api/forecast, warm, p99", warm["p99_best"], "ms", P99_MS_MAX, False, f", {warm['p99_best'] / yard['p99_best']:.1f} x nginx")]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
