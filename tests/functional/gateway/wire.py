# SPDX-License-Identifier: Apache-2.0
"""Both ends of the gateway, byte for byte: a client and a ComfyUI that say exactly what a test tells them."""
import contextlib
import os
import pathlib
import socket
import struct
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from daemon import Daemon  # noqa: E402
from support import FunctionalTest  # noqa: E402

PATIENCE = 30  # seconds; only a failing test waits so long
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 2\r\nServer: Python/3.12 aiohttp/3.11\r\n\r\n{}"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Peer:
    """One end of a connection. What was read beyond a mark stays for the next call; less than asked for means that the end came."""

    def __init__(self, end):
        end.settimeout(PATIENCE)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket, self.kept = end, b""

    def send(self, *pieces):
        for piece in pieces:
            self.socket.sendall(piece)
        return self

    def _fill(self):
        try:
            piece = self.socket.recv(1 << 16)
        except ConnectionResetError:
            return False
        self.kept += piece
        return bool(piece)

    def read_until(self, mark):
        while mark not in self.kept:
            if not self._fill():
                break
        end = self.kept.find(mark)
        return self.read(end + len(mark) if end >= 0 else len(self.kept))

    def read(self, count):
        pieces = [self.kept]
        have = len(self.kept)
        while have < count:
            self.kept = b""
            if not self._fill():
                break
            pieces.append(self.kept)
            have += len(self.kept)
        whole = b"".join(pieces)
        self.kept = whole[count:]
        return whole[:count]

    def read_to_end(self):
        while self._fill():
            pass
        whole, self.kept = self.kept, b""
        return whole

    def head(self):
        """(start line, [(name, value)] as sent) of the next message."""
        lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        return lines[0], [tuple(line.split(": ", 1)) for line in lines[1:] if line]

    def answer(self, bodiless=False):
        """(status, {lower-case name: value}, body) of the next answer that ends by its length or chunks."""
        line, fields = self.head()
        if not line:
            raise AssertionError("the connection ended where an answer was expected")
        headers = {name.lower(): value for name, value in fields}
        status = int(line.split()[1])
        if bodiless or status in (204, 304) or status < 200:
            return status, headers, b""
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                size = int(self.read_until(b"\r\n"), 16)
                body += self.read(size)
                self.read(2)
                if size == 0:
                    return status, headers, body
        return status, headers, self.read(int(headers.get("content-length", 0)))

    def frame(self):
        """(opcode, fin, payload), or None at the end."""
        first = self.read(2)
        if len(first) < 2:
            return None
        length, masked = first[1] & 127, first[1] & 128
        if length == 126:
            length = struct.unpack(">H", self.read(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", self.read(8))[0]
        mask = self.read(4) if masked else b""
        payload = self.read(length)
        if masked:
            payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        return first[0] & 15, bool(first[0] & 128), payload

    def finish(self):
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()


def frame(opcode, payload, fin=True, mask=None, reserved=0):
    first = (128 if fin else 0) | reserved << 4 | opcode
    size = len(payload)
    masked = 128 if mask is not None else 0
    head = bytes([first])
    if size < 126:
        head += bytes([masked | size])
    elif size < 1 << 16:
        head += bytes([masked | 126]) + struct.pack(">H", size)
    else:
        head += bytes([masked | 127]) + struct.pack(">Q", size)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


class Upstream:
    """A ComfyUI that does what a test says. `routes` maps a path (without its query) to a function of (peer, start line, fields) that reads the
    body, if it wants to, and answers; what it returns (None: True) says whether the connection serves on. Other paths, which the daemon itself
    asks for, get a 404."""

    def __init__(self, port=0):
        self.routes = {}
        self.requests = []     # (start line, fields) of the routes
        self.connections = 0   # that brought a request of the routes
        self.threads = []
        self.peers = []
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._accept)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                end, _ = self.listener.accept()
            except OSError:
                return
            peer = Peer(end)
            self.peers.append(peer)
            thread = threading.Thread(target=self._serve, args=(peer,))
            self.threads.append(thread)
            thread.start()

    def _serve(self, peer):
        peer.socket.settimeout(None)
        counted = False
        with contextlib.suppress(OSError, ValueError):
            while True:
                line, fields = peer.head()
                if not line:
                    break
                route = self.routes.get(line.split(" ")[1].partition("?")[0])
                if route is None:
                    peer.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                    continue
                if not counted:
                    self.connections, counted = self.connections + 1, True
                self.requests.append((line, fields))
                if route(peer, line, fields) is False:
                    break
        peer.close()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.socket.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()


def says(answer, serves_on=True):
    """A route that reads a body by its length and answers always the same."""
    def route(peer, _line, fields):
        length = {name.lower(): value for name, value in fields}.get("content-length", "0")
        peer.read(int(length))
        peer.send(answer)
        return serves_on
    return route


def accepts(serve):
    """A route that becomes a WebSocket, which `serve(peer)` then has."""
    def route(peer, _line, _fields):
        peer.send(SWITCH)
        serve(peer)
        return False
    return route


class GatewayTest(FunctionalTest):
    """One daemon with its gateway in front of `self.upstream`, for all tests of a class."""
    flags = ()

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="plimsoll-test-")
        cls.upstream = Upstream()
        # Nobody decides about prompts: what passes is the gateway's alone.
        cls.daemon = Daemon(pathlib.Path(cls.folder.name), "--upstream", f"http://127.0.0.1:{cls.upstream.port}", *cls.flags,
                            PLIMSOLL_POLICY="observe")
        cls.port = cls.daemon.start["gatewayPort"]

    @classmethod
    def tearDownClass(cls):
        cls.daemon.stop()
        cls.upstream.stop()
        cls.folder.cleanup()

    def setUp(self):
        self.upstream.routes.clear()
        self.upstream.requests.clear()

    def connect(self, port=None):
        peer = Peer(socket.create_connection(("127.0.0.1", port or self.port), timeout=PATIENCE))
        self.addCleanup(peer.close)
        return peer

    def ask(self, request, bodiless=False):
        return self.connect().send(request).answer(bodiless)

    def open(self, path="/ws?clientId=A", extra=b""):
        """A WebSocket through the gateway, its handshake behind it."""
        peer = self.connect()
        peer.send(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" % self.port,
                  b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: 9xyw5p2Uk13RPpl5VN013Q==\r\n" + extra + b"\r\n")
        line, fields = peer.head()
        self.assertIn("101", line)
        return peer, fields

    def get(self, path, *lines):
        return b"GET " + path.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % self.port + b"".join(line + b"\r\n" for line in lines) + b"\r\n"

    def still_serves(self):
        self.upstream.routes["/still"] = says(OK)
        self.assertEqual(self.ask(self.get("/still"))[0], 200)


def memory_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmHWM")


def random_bytes(count):
    return os.urandom(count)
