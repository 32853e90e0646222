#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The gateway beside nginx as a reverse proxy: requests a second, the wait it adds, and progress messages to 50 WebSockets.

Behind both stands the same nginx with one worker, which serves a queue of 250 bytes and an image of 1 MiB as files. The gateway and nginx have one
worker each, share one core and are asked by the same wrk in turns in the same run; wrk and the server behind have the other core. Where
the user may, all of them go before everything else on the machine (SCHED_FIFO): one foreign time slice is longer than all that is measured here.
Rates are those of the best round. The added wait is the 99th percentile of single requests through the gateway less that of the same straight, many
short rounds in turns, the best of each. Exit 1 when a target of the project is missed.
"""
import contextlib
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

from bench_serve import REPORT, cpu_seconds
from bench_serve import settle as settle_nicely

ROUNDS = 7
ROUND_SECONDS = 1
CONNECTIONS = 16  # chosen: some always wait, so that the proxy never does
SHARE_MIN = 0.9
ADDED_P99_MS_MAX = 0.3
ASK_ROUNDS = 60
ASKED = {"/queue": 400, "/view": 100}  # requests of a round: some ten milliseconds
SOCKETS = 50
MESSAGES_PER_S = 2000
SOCKET_ROUNDS = 5
SOCKET_SECONDS = 2
ADDED_MEDIAN_MS_MAX = 0.2

QUEUE = json.dumps({"queue_running": [[3, "0b8e5f4e-1d0a-4a43-9c3f-1f3f5d1c2b3a", {"3": {"class_type": "KSampler", "inputs": {"seed": 5}}},
                                       {"client_id": "a"}, ["9"]]], "queue_pending": []})
NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/{name}.pid; error_log stderr error;
events {{ worker_connections 512; }}
http {{
    access_log off; keepalive_requests 100000000; default_type application/json; sendfile on; tcp_nopush on;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    {upstream}
    server {{ listen 127.0.0.1:{port}; {place} }}
}}
"""
PROXY_UPSTREAM = "upstream comfyui {{ server 127.0.0.1:{0}; keepalive 64; keepalive_requests 100000000; }}"
PROXY_PLACE = 'location / { proxy_pass http://comfyui; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; }'


def settle(core):
    """On one core and, where that is allowed, before everything else that runs there: a wait is that of the proxy, not of whose turn it is."""
    settle_nicely(core)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def nginx(folder, name, core, upstream, place):
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:" + os.environ.get("PLIMSOLL_NGINX_DIR", ""))
    if program is None:
        raise SystemExit("bench: nginx is missing; ./dev bench gateway brings it")
    port = free_port()
    config = pathlib.Path(folder, name + ".conf")
    config.write_text(NGINX.format(folder=folder, name=name, port=port, upstream=upstream, place=place), encoding="ascii")
    with subprocess.Popen([program, "-p", folder, "-c", str(config)], stderr=subprocess.DEVNULL, preexec_fn=lambda: settle(core)) as process:
        try:
            for _ in range(200):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.02)
            yield port, process.pid
        finally:
            process.terminate()


@contextlib.contextmanager
def gateway_of(plimsoll, home, core, upstream, policy=None, models=None):
    """A daemon in front of that port: the gateway's port, its own, its process."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PLIMSOLL_", "COMFYUI_", "MAX_", "SAFETY_"))}
    environment["PLIMSOLL_HOME"] = environment["HOME"] = home
    if policy:
        environment["PLIMSOLL_POLICY"] = policy
    if models:
        environment["PLIMSOLL_MODELS_DIR"] = models
    with subprocess.Popen([plimsoll, "serve", "--listen", "127.0.0.1:0", "--gateway-listen", "127.0.0.1:0", "--log-format", "json", "--upstream",
                           f"http://127.0.0.1:{upstream}"], stdout=subprocess.PIPE, text=True, env=environment, cwd=home,
                          preexec_fn=lambda: settle(core)) as process:
        for text in process.stdout:  # what it finds out about ComfyUI may come first
            line = json.loads(text)
            if line["event"] == "listening":
                break
        reader = threading.Thread(target=process.stdout.read)  # whoever does not read stops the writer
        reader.start()
        try:
            yield line["gatewayPort"], line["port"], process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            reader.join()


@contextlib.contextmanager
def gateway(plimsoll, home, core, upstream):
    with gateway_of(plimsoll, home, core, upstream) as (port, _, pid):
        yield port, pid


def run_load(load, core, *arguments):
    done = subprocess.run([load, *map(str, arguments)], capture_output=True, text=True, check=False, preexec_fn=lambda: settle(core))
    if done.returncode != 0:
        raise SystemExit(f"bench: gateway_load {arguments} failed: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def wrk(core, script, url, pid):
    cpu = cpu_seconds(pid)
    done = subprocess.run(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{ROUND_SECONDS}s", "--latency", "-s", script, url], capture_output=True, text=True,
                          check=False, preexec_fn=lambda: settle(core))
    cpu = cpu_seconds(pid) - cpu
    found = re.search(r"RESULT (\{.*\})", done.stdout)
    if found is None:
        raise SystemExit(f"bench: wrk says {done.stdout}{done.stderr}")
    result = json.loads(found.group(1))
    if result["failed"]:
        raise SystemExit(f"bench: {result['failed']} of {result['requests']} requests to {url} failed")
    return {"rate": result["requests"] / result["us"] * 1e6, "cpu_rate": result["requests"] / max(cpu, 0.01)}


def best(runs, waits):
    return {"rate": max(run["rate"] for run in runs), "rate_median": statistics.median(run["rate"] for run in runs),
            "cpu_rate": statistics.median(run["cpu_rate"] for run in runs), "p50": min(one["p50_ms"] for one in waits),
            "p99": min(one["p99_ms"] for one in waits)}


def measure_http(plimsoll, load, proxy_core, other_core):
    """{path: {"gateway", "nginx", "straight": best of its rounds}}"""
    figures = {}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="plimsoll-bench-"))
        os.chmod(folder, 0o755)
        files = pathlib.Path(folder, "files")
        files.mkdir()
        (files / "queue").write_text(QUEUE, encoding="ascii")
        (files / "view").write_bytes(os.urandom(1 << 20))
        script = os.path.join(folder, "report.lua")
        pathlib.Path(script).write_text(REPORT, encoding="ascii")
        behind, behind_pid = stack.enter_context(nginx(folder, "behind", other_core, "", f"root {files};"))
        proxy, proxy_pid = stack.enter_context(nginx(folder, "proxy", proxy_core, PROXY_UPSTREAM.format(behind), PROXY_PLACE))
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="plimsoll-bench-"))
        ours, ours_pid = stack.enter_context(gateway(plimsoll, home, proxy_core, behind))
        turns = {"gateway": (ours, ours_pid), "nginx": (proxy, proxy_pid), "straight": (behind, behind_pid)}
        for path, count in ASKED.items():
            runs, waits = {name: [] for name in turns}, {name: [] for name in turns}
            for _ in range(ROUNDS):  # in turns: what else the machine does falls on all of them
                for name, (port, pid) in turns.items():
                    runs[name].append(wrk(other_core, script, f"http://127.0.0.1:{port}{path}", pid))
            for _ in range(ASK_ROUNDS):
                for name, (port, _) in turns.items():
                    waits[name].append(run_load(load, other_core, "ask", port, path, count))
            figures[path] = {name: best(runs[name], waits[name]) for name in turns}
    return figures


def measure_sockets(plimsoll, load, each, proxy_core, other_core):
    """Straight and through the gateway: the best round's waits, all messages, those out of order."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(subprocess.Popen([load, "serve", str(MESSAGES_PER_S), each, str(SOCKETS)], stdout=subprocess.PIPE, text=True,
                                                      preexec_fn=lambda: settle(other_core)))
        stack.callback(server.kill)
        behind = int(server.stdout.readline())
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="plimsoll-bench-"))
        ours, _ = stack.enter_context(gateway(plimsoll, home, proxy_core, behind))
        runs = {"straight": [], "gateway": []}
        for _ in range(SOCKET_ROUNDS):
            for name, port in (("straight", behind), ("gateway", ours)):
                runs[name].append(run_load(load, other_core, "read", port, SOCKETS, SOCKET_SECONDS))
        return {name: {"messages": sum(run["messages"] for run in of), "disordered": sum(run["disordered"] for run in of),
                       "p50": min(run["p50_ms"] for run in of), "p99": min(run["p99_ms"] for run in of)} for name, of in runs.items()}


def judge(what, figure, unit, bound, at_least, beside=""):
    met = figure >= bound if at_least else figure <= bound
    print(f"{'met' if met else 'MISSED':7} {what:<48}{figure:>9.3f} {unit}, target {'>=' if at_least else '<='} {bound} {unit}{beside}")
    return met


def main():
    binaries = pathlib.Path(sys.argv[1]).resolve()
    plimsoll, load = str(binaries / "plimsoll"), str(binaries / "gateway_load")
    if shutil.which("wrk") is None:
        raise SystemExit("bench: wrk is missing; ./dev bench gateway installs it")
    cores = sorted(os.sched_getaffinity(0))
    proxy_core, other_core = cores[0], cores[-1]
    figures = measure_http(plimsoll, load, proxy_core, other_core)
    print(f"one worker each; proxies on core {proxy_core}, wrk and the server behind on core {other_core}")
    print(f"{'':<20}{'answers/s':>11}{'median':>9}{'/s of CPU':>11}{'p50 ms':>9}{'p99 ms':>9}  ({CONNECTIONS} connections; waits of one)")
    for path, by_name in figures.items():
        for name, one in by_name.items():
            print(f"{path:<8}{name:<12}{one['rate']:>11.0f}{one['rate_median']:>9.0f}{one['cpu_rate']:>11.0f}{one['p50']:>9.3f}{one['p99']:>9.3f}")
    met = []
    for path, what in (("/queue", "GET /queue"), ("/view", "1 MiB /view")):
        ours, yard, straight = (figures[path][name] for name in ("gateway", "nginx", "straight"))
        met.append(judge(f"{what}, requests a second", ours["rate"] / yard["rate"], "x nginx", SHARE_MIN, True,
                         f" ({ours['cpu_rate'] / yard['cpu_rate']:.2f} x per second of CPU)"))
        met.append(judge(f"{what}, added p99", ours["p99"] - straight["p99"], "ms", ADDED_P99_MS_MAX, False,
                         f" (nginx adds {yard['p99'] - straight['p99']:.3f} ms)"))
    for each, what in (("one", f"{MESSAGES_PER_S} messages/s to {SOCKETS} sockets in turn"), ("all", f"{MESSAGES_PER_S} messages/s to each of {SOCKETS}")):
        of = measure_sockets(plimsoll, load, each, proxy_core, other_core)
        rate = of["gateway"]["messages"] / (SOCKET_ROUNDS * SOCKET_SECONDS)
        beside = f" ({rate:.0f}/s came; straight {of['straight']['p50']:.3f} ms, added p99 {of['gateway']['p99'] - of['straight']['p99']:.3f} ms)"
        added = of["gateway"]["p50"] - of["straight"]["p50"]
        if each == "one":
            met.append(judge(f"{what}, added median", added, "ms", ADDED_MEDIAN_MS_MAX, False, beside))
            met.append(judge(f"{what}, out of order", of["gateway"]["disordered"], "", 0, False))
        else:  # a hundred thousand a second: more than the two ends can say and hear on one core; no target
            print(f"        {what}, added median {added:.3f} ms, {of['gateway']['disordered']} out of order{beside}")
    # In a process of its own, which has a core for itself.
    accepts = subprocess.run([sys.executable, "-B", str(pathlib.Path(__file__).with_name("bench_accept.py")), plimsoll, str(proxy_core),
                              str(other_core)], check=False)
    return 0 if all(met) and accepts.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
