#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""From the first byte of a client's POST /prompt until ComfyUI sees its first byte, whole: read, forecast, decided, kept on the disk, forwarded.

For each policy a new daemon with a home of its own: the first prompt that it ever sees, of a checkpoint whose header nobody has read, then more of
them, warm, of a job that fits and of one over the load line (which `fit` changes and `enforce` refuses: then it is the time to the refusal). The
yardsticks are another POST with the same body, which is only passed on, and the same without a gateway. The client is on one core, the daemon on the
other, both before everything else that runs there, where that is allowed. Judged are the first (the least of three daemons) and the median: the rest
is shown, because a busy machine's time slices are in it.

    bench_accept.py PLIMSOLL CORE_OF_THE_DAEMON CORE_OF_THE_CLIENT
"""
import base64
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import socket
import statistics
import sys
import tempfile
import threading
import time

SOURCE = pathlib.Path(__file__).resolve().parent.parent
os.environ.setdefault("PLIMSOLL_SOURCE", str(SOURCE))
os.environ.setdefault("PLIMSOLL_BINARY", sys.argv[1] if len(sys.argv) > 1 else "")
sys.path.insert(0, str(SOURCE / "tests/functional"))
from support import text_to_image, write_model  # noqa: E402

LIMIT_MS = 15
ROUNDS = 30
FIRSTS = 3
POLICIES = ("observe", "advise", "fit", "enforce")
GIB = 1 << 30
STATS = json.dumps({
    "system": {"os": "posix", "ram_total": 32 * GIB, "ram_free": 24 * GIB, "comfyui_version": "0.3.64", "python_version": "3.11.7",
               "pytorch_version": "2.8.0+cu128", "argv": ["main.py"]},
    "devices": [{"name": "cuda:0 NVIDIA GeForce RTX 3050 6GB : cudaMallocAsync", "type": "cuda", "index": 0, "vram_total": 6184894464,
                 "vram_free": 5869928448, "torch_vram_total": 0, "torch_vram_free": 0}]}).encode()


class ComfyUi:
    """Takes prompts, is done with each at once, and knows when the first byte of a POST came."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.came = 0.0
        self.done = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                end, _ = self.listener.accept()
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(end,), daemon=True).start()

    def _serve(self, end):
        kept = b""
        with contextlib.suppress(OSError, ValueError):
            while True:
                began = None
                while b"\r\n\r\n" not in kept:
                    piece = end.recv(1 << 16)
                    began = began or time.perf_counter()
                    if not piece:
                        return
                    kept += piece
                head, kept = kept.split(b"\r\n\r\n", 1)
                line, *fields = head.decode("latin-1").split("\r\n")
                headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
                length = int(headers.get("content-length", 0))
                while len(kept) < length:
                    kept += end.recv(1 << 16)
                body, kept = kept[:length], kept[length:]
                method, target, _ = line.split(" ")
                if target.startswith("/ws"):
                    key = headers["sec-websocket-key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
                    end.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
                                + base64.b64encode(hashlib.sha1(key).digest()) + b"\r\n\r\n")
                    while end.recv(1 << 16):
                        pass
                    return
                if method == "POST":
                    self.came = began
                answer = self.answer(method, target.partition("?")[0], body)
                end.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)

    def answer(self, method, path, body):
        if path == "/system_stats":
            return STATS
        if (method, path) == ("POST", "/prompt"):
            prompt_id = json.loads(body).get("prompt_id", "none")
            self.done.add(prompt_id)
            return json.dumps({"prompt_id": prompt_id, "number": len(self.done), "node_errors": {}}).encode()
        if path == "/queue":
            return b'{"queue_running": [], "queue_pending": []}'
        if path.startswith("/history/"):
            name = path.rpartition("/")[2]
            entry = {"prompt": [], "outputs": {}, "status": {"status_str": "success", "completed": True, "messages": []}}
            return json.dumps({name: entry} if name in self.done else {}).encode()
        return b"{}"


class Client:
    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, path, body, headers=None):
        """(when the first byte left, when the answer came, status)"""
        began = time.perf_counter()
        self.connection.request("POST", path, body, {"Content-Type": "application/json", **(headers or {})})
        answer = self.connection.getresponse()
        came = time.perf_counter()
        answer.read()
        return began, came, answer.status


def ask_daemon(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def wait_for(condition, what):
    until = time.monotonic() + 60
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(f"bench: {what} did not come")
        time.sleep(0.01)


def body_of(number, over):
    graph = text_to_image(1536, 1536, 4, "sdxl.safetensors") if over else text_to_image(512, 512, 1, "sd15.safetensors")
    graph["3"]["inputs"]["seed"] = number
    return json.dumps({"prompt": graph, "client_id": "bench", "prompt_id": f"00000000-0000-4000-8000-{number:012d}"})


def settled(daemon_port, count):
    """Nothing is with ComfyUI and nothing waits: the next prompt goes on at once."""
    def is_so():
        seen = ask_daemon(daemon_port, "/api/gateway")
        return seen["counts"]["done"] >= count and all(job["endedMs"] is not None for job in seen["jobs"])
    wait_for(is_so, f"the end of {count} jobs")


def measure_policy(gateway, policy, models, daemon_core, rounds=ROUNDS):
    """Milliseconds: {"first", "fits": [...], "over": [...], "passed": [...]} and what became of those over the line."""
    comfyui = ComfyUi()
    waits = {"fits": [], "over": [], "passed": []}
    with tempfile.TemporaryDirectory(prefix="plimsoll-bench-") as home, \
            gateway(home, daemon_core, comfyui.port, policy, models) as (port, daemon_port, _):
        wait_for(lambda: ask_daemon(daemon_port, "/api/devices")["devices"], "the card")
        client, number, done, statuses = Client(port), 0, 0, set()
        for over in (False, True):
            for _ in range(rounds + 1):
                number += 1
                comfyui.came = None
                began, answered, status = client.post("/prompt", body_of(number, over))
                if status not in (200, 400):
                    raise SystemExit(f"bench: POST /prompt answers {status}")
                if over:
                    statuses.add(status)
                # Refused: nothing is forwarded.
                waits["over" if over else "fits"].append(1e3 * ((comfyui.came if comfyui.came else answered) - began))
                done += status == 200
                if policy != "observe":
                    settled(daemon_port, done)
        for _ in range(rounds):
            comfyui.came = None
            began, _, _ = client.post("/elsewhere", body_of(1, False))
            waits["passed"].append(1e3 * (comfyui.came - began))
    return {**waits, "refused": statuses == {400}}


def measure_straight():
    comfyui = ComfyUi()
    client, waits = Client(comfyui.port), []
    for _ in range(ROUNDS):
        began, _, _ = client.post("/elsewhere", body_of(1, False))
        waits.append(1e3 * (comfyui.came - began))
    return statistics.median(waits)


def main():
    from bench_gateway import gateway_of, settle
    plimsoll, daemon_core, client_core = str(pathlib.Path(sys.argv[1]).resolve()), int(sys.argv[2]), int(sys.argv[3])
    settle(client_core)
    met = True
    with tempfile.TemporaryDirectory(prefix="plimsoll-bench-") as models:
        checkpoints = pathlib.Path(models, "checkpoints")
        checkpoints.mkdir()
        write_model(checkpoints / "sd15.safetensors")
        write_model(checkpoints / "sdxl.safetensors", ("sdxl", "kl_vae", "clip_l"))
        print(f"POST /prompt, its first byte here until its first byte at ComfyUI (straight {measure_straight():.2f} ms)")
        print(f"{'policy':<10}{'job':<16}{'first ms':>9}{'median':>9}{'p95':>9}{'most':>9}   only passed on: median, most")
        for policy in POLICIES:
            of = measure_policy(lambda *a: gateway_of(plimsoll, *a), policy, models, daemon_core)
            more = [measure_policy(lambda *a: gateway_of(plimsoll, *a), policy, models, daemon_core, 0) for _ in range(FIRSTS - 1)]
            for name in ("fits", "over"):
                first, *warm = of[name]
                first = min(first, *(one[name][0] for one in more))
                warm.sort()
                p95 = warm[int(0.95 * len(warm))]
                what = name + (" (refused)" if name == "over" and of["refused"] else "")
                print(f"{policy:<10}{what:<16}{first:>9.2f}{statistics.median(warm):>9.2f}{p95:>9.2f}{warm[-1]:>9.2f}   "
                      f"{statistics.median(of['passed']):.2f}, {max(of['passed']):.2f}")
                good = first < LIMIT_MS and statistics.median(warm) < LIMIT_MS
                met = met and good
                if not good:
                    print(f"MISSED  {policy}, {name}: the first and the median in less than {LIMIT_MS} ms")
    if met:
        print(f"met     accept to forward under every policy, first and median, target < {LIMIT_MS} ms")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
