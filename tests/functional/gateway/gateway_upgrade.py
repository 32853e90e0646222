# SPDX-License-Identifier: Apache-2.0
"""WebSockets on any path; no extension is agreed upon, a refusal passes, other upgrades do not happen."""
import unittest

from wire import BINARY, CLOSE, PING, PONG, SWITCH, TEXT, GatewayTest, accepts, frame, says


def echo(peer):
    while (got := peer.frame()) is not None:
        peer.send(frame({PING: PONG}.get(got[0], got[0]), got[2]))
        if got[0] == CLOSE:
            return


class Upgrade(GatewayTest):
    def test_any_path_may_become_a_websocket(self):
        for path in ("/ws", "/api/ws", "/crystools/live", "/api/some%2Fnode/ws"):
            self.upstream.routes[path] = accepts(echo)
            peer, _ = self.open(path)
            for opcode, payload in ((TEXT, b"hello"), (BINARY, bytes(range(256)) * 300), (PING, b"p")):
                peer.send(frame(opcode, payload, mask=b"\1\2\3\4"))
                self.assertEqual(peer.frame(), ({PING: PONG}.get(opcode, opcode), True, payload))
            peer.send(frame(CLOSE, b"\x0f\xa0bye", mask=b"abcd"))
            self.assertEqual(peer.frame(), (CLOSE, True, b"\x0f\xa0bye"))
            self.assertIsNone(peer.frame())

    def test_packing_is_not_offered(self):
        self.upstream.routes["/ws"] = accepts(lambda peer: None)
        _, fields = self.open(extra=b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nSec-WebSocket-Protocol: own\r\n")
        names = [name.lower() for name, _ in self.upstream.requests[0][1]]
        self.assertNotIn("sec-websocket-extensions", names)
        for name in ("sec-websocket-protocol", "sec-websocket-key", "sec-websocket-version", "upgrade", "connection"):
            self.assertIn(name, names)
        self.assertEqual(fields, [tuple(line.split(": ")) for line in SWITCH.decode().split("\r\n")[1:-2]])

    def test_a_refused_handshake_passes(self):
        self.upstream.routes["/ws"] = says(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        peer = self.connect().send(self.get("/ws", b"Connection: Upgrade", b"Upgrade: websocket"))
        self.assertEqual(peer.answer()[0], 403)

    def test_other_upgrades_are_ordinary_requests(self):
        self.upstream.routes["/x"] = says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.ask(self.get("/x", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: x"))
        self.assertEqual([name for name, _ in self.upstream.requests[0][1]], ["Host"])

    def test_ten_thousand_messages_keep_their_order(self):
        def serve(peer):
            peer.send(b"".join(frame(BINARY if i % 3 else TEXT, b"%d" % i) for i in range(10_000)))
            peer.read_to_end()
        self.upstream.routes["/ws"] = accepts(serve)
        peer, _ = self.open()
        for i in range(10_000):
            self.assertEqual(peer.frame(), (BINARY if i % 3 else TEXT, True, b"%d" % i))


if __name__ == "__main__":
    unittest.main()
