# SPDX-License-Identifier: Apache-2.0
"""A ComfyUI whose misbehaviour a test writes down: down, slow, HTML, a WebSocket that drops, a restart in the middle of a job.

It speaks what `plimsoll generate` needs (message order as recorded in tests/data/service/txt2img.jsonl), draws nothing and computes
nothing. What a test wants to go wrong it sets on the object before the client comes.
"""
import base64
import hashlib
import http.server
import json
import socket
import struct
import threading
import urllib.parse
import zlib

GIB = 1 << 30
CHECKPOINT = "sd_xl_base_1.0.safetensors"


def tiny_png(width=8, height=8):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    rows = b"".join(b"\0" + b"\x40\x80\xc0" * width for _ in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


class Job:
    def __init__(self, prompt_id, client_id, workflow):
        self.prompt_id, self.client_id, self.workflow = prompt_id, client_id, workflow
        self.interrupted = threading.Event()


class ScriptedComfyUi:
    """`with ScriptedComfyUi() as comfyui:` listens on `comfyui.port` until the block ends."""

    def __init__(self):
        self.checkpoints = [CHECKPOINT, "dreamshaper_8.safetensors"]
        self.argv = ["main.py"]
        self.html = False            # answers everything with a login page
        self.silent = set()          # paths that are never answered
        self.refusal = None          # (status, body) for POST /prompt
        self.forgetful = False       # loses queue and history when the job starts, as a restart does
        self.drops = 0               # WebSockets to cut in the middle of a job
        self.endless = False         # the sampler runs until it is interrupted
        self.failure = None          # (exception_type, message): the sampler raises it
        self.cut_image = False       # /view promises more bytes than it sends
        self.image = tiny_png()
        self.image_name = "plimsoll_00001_.png"
        self.sampling = threading.Event()   # set while the sampler runs
        self.submitted = []                 # workflows as text, byte for byte
        self.requests = []                  # "POST /interrupt"...
        self.history = {}
        self.running = None
        self._sockets = {}
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._threads = []

    # -- life ------------------------------------------------------------------------------------
    def __enter__(self):
        owner = self

        class Handler(_Handler):
            comfyui = owner

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        if self.running:
            self.running.interrupted.set()
        self._server.shutdown()
        self._server.server_close()
        for sock in list(self._sockets.values()):
            _close(sock)
        for thread in self._threads:
            thread.join(5)

    # -- what ComfyUI says -----------------------------------------------------------------------
    def stats(self):
        return {"system": {"os": "posix", "ram_total": 32 * GIB, "ram_free": 24 * GIB, "comfyui_version": "0.3.64",
                           "python_version": "3.11.7", "pytorch_version": "2.8.0+cu128", "argv": self.argv},
                "devices": [{"name": "cuda:0 NVIDIA GeForce RTX 3050 6GB : cudaMallocAsync", "type": "cuda", "index": 0,
                             "vram_total": 6184894464, "vram_free": 5869928448, "torch_vram_total": 0, "torch_vram_free": 0}]}

    def send(self, job, kind, **data):
        with self._lock:
            sock = self._sockets.get(job.client_id)
        if sock is None:
            return
        text = json.dumps({"type": kind, "data": {"prompt_id": job.prompt_id, **data}}).encode()
        header = bytes([0x81, len(text)]) if len(text) < 126 else b"\x81\x7e" + struct.pack(">H", len(text))
        try:
            sock.sendall(header + text)
        except OSError:
            pass

    def drop_socket(self, job):
        with self._lock:
            sock = self._sockets.pop(job.client_id, None)
        if sock is not None:
            _close(sock)

    def start(self, job):
        with self._lock:
            self.running = job
        thread = threading.Thread(target=self._run, args=(job,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, job):
        self.send(job, "execution_start", timestamp=1)
        self.send(job, "execution_cached", nodes=[], timestamp=1)
        self.send(job, "executing", node="4", display_node="4")
        self.send(job, "executing", node="3", display_node="3")
        self.sampling.set()
        if self.forgetful:
            with self._lock:
                self.running = None
            self.drop_socket(job)
            return
        if self.drops > 0:
            self.drops -= 1
            self.drop_socket(job)
        self.send(job, "progress", value=1, max=2, node="3")
        if self.endless:
            job.interrupted.wait(60)
        if job.interrupted.is_set():
            self.send(job, "execution_interrupted", node_id="3", node_type="KSampler", executed=[])
            return self._finish(job, [], "error", [["execution_interrupted", {"node_id": "3"}]])
        if self.failure:
            error = {"node_id": "3", "node_type": "KSampler", "exception_type": self.failure[0],
                     "exception_message": self.failure[1], "traceback": []}
            self.send(job, "execution_error", **error)
            return self._finish(job, [], "error", [["execution_error", error]])
        self.send(job, "progress", value=2, max=2, node="3")
        self.send(job, "executing", node="9", display_node="9")
        images = [{"filename": self.image_name, "subfolder": "", "type": "output"}]
        self.send(job, "executed", node="9", display_node="9", output={"images": images})
        self.send(job, "execution_success", timestamp=2)
        return self._finish(job, images, "success", [])

    def _finish(self, job, images, status, messages):
        with self._lock:
            self.running = None
            self.history[job.prompt_id] = {"prompt": [], "outputs": {"9": {"images": images}} if images else {},
                                           "status": {"status_str": status, "completed": status == "success", "messages": messages}}
        self.send(job, "executing", node=None)


class _Handler(http.server.BaseHTTPRequestHandler):
    comfyui = None
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, body, status=200, kind="application/json", promise=None):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(promise or len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def misbehaves(self, path):
        if path in self.comfyui.silent:
            self.comfyui._stopping.wait(30)
            self.close_connection = True
            return True
        if self.comfyui.html:
            self.answer(b"<!DOCTYPE html><html><title>Sign in</title></html>", kind="text/html")
            return True
        return False

    def do_GET(self):
        comfyui = self.comfyui
        url = urllib.parse.urlsplit(self.path)
        comfyui.requests.append("GET " + url.path)
        if self.misbehaves(url.path):
            return None
        if url.path == "/ws":
            return self.serve_socket(urllib.parse.parse_qs(url.query).get("clientId", [""])[0])
        if url.path == "/system_stats":
            return self.answer(comfyui.stats())
        if url.path == "/models/checkpoints":
            return self.answer(comfyui.checkpoints)
        if url.path == "/queue":
            running = comfyui.running
            return self.answer({"queue_running": [[0, running.prompt_id, {}, {}, []]] if running else [], "queue_pending": []})
        if url.path.startswith("/history/"):
            name = url.path.rsplit("/", 1)[1]
            return self.answer({name: comfyui.history[name]} if name in comfyui.history else {})
        if url.path == "/view":
            return self.answer(comfyui.image, kind="image/png", promise=len(comfyui.image) + 100 if comfyui.cut_image else None)
        return self.answer({"error": "not found"}, 404)

    def do_POST(self):
        comfyui = self.comfyui
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        comfyui.requests.append("POST " + self.path)
        if self.misbehaves(self.path):
            return None
        if self.path == "/prompt":
            if comfyui.refusal:
                status, answer = comfyui.refusal
                return self.answer(answer, status)
            comfyui.submitted.append(body.decode())
            asked = json.loads(body)
            self.answer({"prompt_id": asked["prompt_id"], "number": 1, "node_errors": {}})
            self.wfile.flush()
            return comfyui.start(Job(asked["prompt_id"], asked["client_id"], asked["prompt"]))
        if self.path == "/interrupt" and comfyui.running:
            comfyui.running.interrupted.set()
        return self.answer({})

    def serve_socket(self, client_id):
        key = self.headers["Sec-WebSocket-Key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        # Under the lock: whoever has seen the 101 finds its socket registered.
        with self.comfyui._lock:
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key).digest()).decode())
            self.end_headers()
            self.comfyui._sockets[client_id] = self.connection
        try:
            while True:  # until the client says goodbye: frames of clients are short and masked
                head = self.rfile.read(2)
                if len(head) < 2:
                    break
                self.rfile.read(4 + (head[1] & 0x7f))
                if head[0] & 0x0f == 8:
                    self.connection.sendall(b"\x88\x00")
                    break
        except OSError:
            pass
        self.close_connection = True


def _close(sock):
    for step in (lambda: sock.shutdown(socket.SHUT_RDWR), sock.close):
        try:
            step()
        except OSError:
            pass
