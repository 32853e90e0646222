# SPDX-License-Identifier: Apache-2.0
"""A ComfyUI that clients reach through `plimsoll serve`'s gateway, and what a client does. Nothing outlives a test."""
import base64
import http.client
import json
import os
import resource
import signal
import socket
import struct
import time
import uuid

from daemon import Daemon
from support import Simulator, free_port, text_to_image


OUTSIDE = 300 << 20  # what the simulated card's context and desktop have


class GuardedComfyUi:
    """The simulator on a port that it keeps, and the daemon with its gateway on another; both can be killed and come back."""

    def __init__(self, home, *flags, card="rtx3050-6gb", seed=1, speed=0, simulator_flags=(), **env):
        self.home, self.card, self.seed, self.speed = home, card, seed, speed
        self.comfyui_port, self.gateway_port = free_port(), free_port()
        self.simulator_flags, self.flags, self.env = simulator_flags, flags, env
        self.simulator = self.daemon = None
        self.earlier_lines = []
        self.start_comfyui()
        self.start_daemon()

    def start_comfyui(self):
        self.simulator = Simulator(self.home, *self.simulator_flags, card=self.card, seed=self.seed, speed=self.speed,
                                   port=self.comfyui_port)

    def start_daemon(self):
        self.daemon = Daemon(self.home, "--upstream", f"http://127.0.0.1:{self.comfyui_port}",
                             "--gateway-listen", f"127.0.0.1:{self.gateway_port}", *self.flags, **self.env)

    @staticmethod
    def _kill(process):
        process.send_signal(signal.SIGKILL)
        process.wait()

    def kill_comfyui(self):
        self._kill(self.simulator.process)
        self.simulator.stop()

    def kill_daemon(self):
        self._kill(self.daemon.process)
        self.daemon.stop()
        self.earlier_lines += self.daemon.events

    def stop(self):
        self.daemon.stop()
        self.simulator.stop()

    def outside(self):
        """Bytes of the card that other programs have."""
        return self.card_itself()["outside_bytes"]

    def give_back(self):
        """Other programs leave the card."""
        self.faults(outside_bytes=OUTSIDE - self.outside())

    def limit_files(self, limit=resource.RLIM_INFINITY):
        """No file of the daemon may grow beyond so many bytes: to it the disk is full. Named for what it is, as a disk of a
        size takes rights that tests do not have."""
        _, hard = resource.prlimit(self.daemon.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.daemon.process.pid, resource.RLIMIT_FSIZE, (limit, hard))

    def told(self, code):
        """Warnings of that kind, all lives of the daemon."""
        return [line for line in self.lines() if line["event"] == "warning" and line["code"] == code]

    def run_of(self, prompt_id):
        """What the history keeps of its last run."""
        runs = self.daemon.get("/api/history?limit=200")[1]["runs"]
        return next((run for run in runs if run.get("promptId") == prompt_id), None)

    def faults(self, **faults):
        status, _ = self._ask(self.comfyui_port, "POST", "/plimsoll/faults", faults)
        assert status == 200, status

    def grant(self, seconds=None):
        """From now on the card's time passes by so much and no further; None: freely."""
        status, _ = self._ask(self.comfyui_port, "POST", "/plimsoll/time", {"grant_seconds": seconds})
        assert status == 200, status

    def celsius(self):
        """The card's temperature, once the daemon has looked at it."""
        def seen():
            devices = self.daemon.get("/api/devices")[1]["devices"]
            return devices[0].get("temperatureC") if devices else None
        return wait_until(seen, what="the card was not looked at")

    def card_itself(self):
        """The card as it really is."""
        return self.ask_comfyui("GET", "/plimsoll/card")[1]

    @staticmethod
    def _ask(port, method, path, body=None, headers=None, timeout=30, edits=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        try:
            data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, data, headers or {})
            answer = connection.getresponse()
            text = answer.read()
            if edits is not None:
                edits += answer.headers.get_all("X-Plimsoll-Edit") or []
            return answer.status, json.loads(text) if text[:1] in b"{[" and text else text
        finally:
            connection.close()

    def ask(self, method, path, body=None, headers=None, timeout=30):
        """Through the gateway: (status, JSON or bytes)."""
        return self._ask(self.gateway_port, method, path, body, headers, timeout)

    def ask_comfyui(self, method, path, body=None):
        return self._ask(self.comfyui_port, method, path, body)

    def prompt(self, graph=None, prompt_id=None, client_id="client", headers=None, edits=None, **fields):
        """POST /prompt; (status, answer). What was changed is added to the list `edits`."""
        body = {"prompt": graph or text_to_image(), "client_id": client_id, **fields}
        if prompt_id:
            body["prompt_id"] = prompt_id
        return self._ask(self.gateway_port, "POST", "/prompt", body, headers, edits=edits)

    def outcome(self, prompt_id):
        """"success", "error", or None while it has none."""
        status, answer = self.ask("GET", f"/history/{prompt_id}")
        if status != 200 or prompt_id not in answer:
            return None
        return answer[prompt_id]["status"]["status_str"]

    def is_listed(self, prompt_id):
        status, queue = self.ask("GET", "/queue")
        return status == 200 and any(item[1] == prompt_id for item in queue["queue_running"] + queue["queue_pending"])

    def lines(self):
        """What the daemon has printed, all its lives."""
        return self.earlier_lines + list(self.daemon.events)

    def gateway(self):
        return self.daemon.get("/api/gateway")[1]

    def held(self, prompt_id):
        return self.daemon.get(f"/api/gateway/jobs/{prompt_id}")[1]


def wait_until(condition, seconds=60, what="it did not happen"):
    """Asks until it is so; the time is only for a test that fails."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(what)


def new_id():
    return str(uuid.uuid4())


def graph(seed=1, width=512, height=512, steps=4, batch=1, checkpoint="sd_xl_base_1.0.safetensors"):
    made = text_to_image(width, height, batch, checkpoint)
    made["3"]["inputs"].update(seed=seed, steps=steps)
    return made


class Socket:
    """A client's WebSocket: texts as ComfyUI sent them."""

    def __init__(self, port, client_id, timeout=60):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        try:
            self._open(port, client_id)
        except BaseException:
            self.socket.close()
            raise

    def _open(self, port, client_id):
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f"GET /ws?clientId={client_id} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
                             f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
        self.rest = b""
        while b"\r\n\r\n" not in self.rest:
            self.rest += self._more()
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 101"), head

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("closed")
        return data

    def _take(self, count):
        while len(self.rest) < count:
            self.rest += self._more()
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def message(self):
        """The next text message as JSON; binary ones are passed over."""
        while True:
            first, second = self._take(2)
            length = second & 127
            if length == 126:
                length = struct.unpack(">H", self._take(2))[0]
            elif length == 127:
                length = struct.unpack(">Q", self._take(8))[0]
            data = self._take(length)
            if first & 15 == 1:
                return json.loads(data)
            if first & 15 == 8:
                raise ConnectionError("closed")

    def until(self, wanted):
        """All messages up to the first that is wanted."""
        heard = []
        while True:
            heard.append(self.message())
            if wanted(heard[-1]):
                return heard

    def cut(self):
        """Ends it for a thread that reads."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it was closed already

    def close(self):
        self.socket.close()
