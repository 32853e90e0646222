# SPDX-License-Identifier: Apache-2.0
"""Headers that concern one connection end at it; all others pass as they came, in order and case."""
import unittest

from wire import GatewayTest, says

ANSWER = (b"HTTP/1.1 200 Fine Indeed\r\ncontent-TYPE: text/plain\r\nConnection: keep-alive, X-Theirs\r\nKeep-Alive: timeout=75\r\nX-Theirs: 1\r\n"
          b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\nServer: Python/3.12 aiohttp/3.11\r\n\r\nok")


class HopHeaders(GatewayTest):
    def test_what_concerns_one_connection_ends_at_it(self):
        self.upstream.routes["/x"] = says(ANSWER)
        peer = self.connect()
        peer.send(b"GET /x HTTP/1.1\r\nhOsT: localhost:8189\r\nOrigin: http://localhost:8189\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\n"
                  b"Keep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic x\r\n"
                  b"Authorization: Bearer y\r\nX-Odd:   many  spaces   \r\nx-odd: again\r\n\r\n")
        line, fields = peer.head()
        self.assertEqual(line, "HTTP/1.1 200 Fine Indeed")
        self.assertEqual(fields, [("content-TYPE", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Content-Length", "2"),
                                  ("Server", "Python/3.12 aiohttp/3.11")])
        self.assertEqual(peer.read(2), b"ok")
        self.assertEqual(self.upstream.requests, [("GET /x HTTP/1.1", [
            ("hOsT", "localhost:8189"), ("Origin", "http://localhost:8189"), ("Authorization", "Bearer y"), ("X-Odd", "  many  spaces   "),
            ("x-odd", "again")])])

    def test_a_close_of_either_side_is_honoured(self):
        self.upstream.routes["/500"] = says(b"HTTP/1.1 500 x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", serves_on=False)
        peer = self.connect().send(self.get("/500"))
        self.assertEqual(peer.answer()[1]["connection"], "close")
        self.assertEqual(peer.read_to_end(), b"")
        self.upstream.routes["/x"] = says(ANSWER)
        peer = self.connect().send(self.get("/x", b"Connection: close"))
        self.assertEqual(peer.answer()[1]["connection"], "close")
        self.assertEqual(peer.read_to_end(), b"")


if __name__ == "__main__":
    unittest.main()
