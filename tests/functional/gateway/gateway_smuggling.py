# SPDX-License-Identifier: Apache-2.0
"""Requests that two readers could take for two: they are refused, nothing of them reaches ComfyUI, and the connection ends."""
import unittest

from wire import OK, GatewayTest, says

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"


class Smuggling(GatewayTest):
    def setUp(self):
        super().setUp()
        for path in ("/prompt", "/hidden"):
            self.upstream.routes[path] = says(OK)

    def refused(self, head, body=b""):
        peer = self.connect()
        peer.send(b"POST /prompt HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n" + body + HIDDEN)
        status, headers, _ = peer.answer()
        self.assertEqual((status, headers["connection"]), (400, "close"), head)
        self.assertEqual(peer.read_to_end(), b"", head)
        self.assertNotIn("GET /hidden HTTP/1.1", [line for line, _ in self.upstream.requests], head)

    def test_both_lengths(self):
        self.refused(b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n")
        self.refused(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"0\r\n\r\n")

    def test_two_lengths_or_none_that_is_a_number(self):
        for value in (b"5\r\nContent-Length: 6", b"5\r\nContent-Length: 5", b"5, 5", b"+5", b"-5", b"0x5", b"5 5", b"5.0", b"", b"9" * 30):
            self.refused(b"Content-Length: " + value + b"\r\n")

    def test_other_codings(self):
        for value in (b"gzip, chunked", b"chunked, gzip", b"xchunked", b"chunked\r\nTransfer-Encoding: identity", b"", b"\x0bchunked", b'"chunked"'):
            self.refused(b"Transfer-Encoding: " + value + b"\r\n", b"0\r\n\r\n")

    def test_folded_lines_spaces_and_bare_line_ends(self):
        for head in (b"Transfer-Encoding:\r\n chunked\r\n", b"X: 1\r\n\tContent-Length: 5\r\n", b"Content-Length : 5\r\n", b"Transfer-Encoding : chunked\r\n",
                     b"Content-Length: 5\nX: 1\r\n", b"X: 1\rContent-Length: 5\r\n", b"X: \x00\r\n", b"\x0bContent-Length: 5\r\n", b"Host: y\r\n"):
            self.refused(head)

    def test_chunk_extensions_and_broken_chunks(self):
        for body in (b"3;x=1\r\nabc\r\n0\r\n\r\n", b"3;\nabc\r\n0\r\n\r\n", b"3 \r\nabc\r\n0\r\n\r\n", b"3\nabc\r\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n",
                     b"FFFFFFFFFFFFFFFFF\r\nabc", b"-1\r\n", b"0\r\nX : 1\r\n\r\n", b"0\r\n folded\r\n\r\n"):
            self.refused(b"Transfer-Encoding: chunked\r\n", body)

    def test_a_handshake_with_a_body(self):
        self.refused(b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n", b"12345")

    def test_what_the_connection_header_claims_does_not_hide_a_length(self):
        peer = self.connect()
        peer.send(b"POST /prompt HTTP/1.1\r\nHost: x\r\nConnection: content-length, host\r\nContent-Length: 5\r\n\r\n12345" + HIDDEN)
        self.assertEqual([peer.answer()[0], peer.answer()[0]], [200, 200])
        self.assertEqual(self.upstream.requests[0][1], [("Host", "x"), ("Content-Length", "5")])

    def test_connect_makes_no_tunnel(self):
        peer = self.connect().send(b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(peer.answer()[0], 405)
        self.still_serves()

    def test_an_answer_with_two_lengths_reaches_no_client(self):
        for lengths in (b"Content-Length: 2\r\nContent-Length: 3", b"Content-Length: 2\r\nTransfer-Encoding: chunked"):
            self.upstream.routes["/x"] = says(b"HTTP/1.1 200 OK\r\n" + lengths + b"\r\n\r\n{}", serves_on=False)
            self.assertEqual(self.ask(self.get("/x"))[0], 502)


if __name__ == "__main__":
    unittest.main()
