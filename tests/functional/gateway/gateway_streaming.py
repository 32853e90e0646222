# SPDX-License-Identifier: Apache-2.0
"""Answers of every kind pass while they come: by length, in chunks, to the end of the connection, without a body, in parts of a file."""
import threading
import unittest

from wire import OK, GatewayTest, says


class Streaming(GatewayTest):
    def test_each_piece_passes_before_the_next_comes(self):
        taken = threading.Semaphore(0)

        def route(peer, _line, _fields):
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            for i in range(5):
                peer.send(b"6\r\nevent%d\r\n" % i)
                taken.acquire(timeout=30)
            peer.send(b"0\r\nX-Sum: 5\r\n\r\n")
        self.upstream.routes["/events"] = route
        peer = self.connect().send(self.get("/events"))
        peer.head()
        for i in range(5):
            self.assertEqual(peer.read(11), b"6\r\nevent%d\r\n" % i)
            taken.release()
        self.assertEqual(peer.read_until(b"\r\n\r\n"), b"0\r\nX-Sum: 5\r\n\r\n")

    def test_answers_without_a_body(self):
        self.upstream.routes["/head"] = says(b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\nETag: x\r\n\r\n")
        self.upstream.routes["/204"] = says(b"HTTP/1.1 204 No Content\r\n\r\n")
        self.upstream.routes["/304"] = says(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: x\r\n\r\n")
        peer = self.connect()
        for request, status in ((b"HEAD /head HTTP/1.1\r\nHost: x\r\n\r\n", 200), (self.get("/204"), 204), (self.get("/304", b'If-None-Match: "x"'), 304)) * 3:
            self.assertEqual(peer.send(request).answer(bodiless=True)[0], status)

    def test_ranges(self):
        answer = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/100\r\nContent-Length: 5\r\n\r\n56789"
        self.upstream.routes["/view"] = says(answer)
        peer = self.connect().send(self.get("/view?filename=a.mp4", b"Range: bytes=5-9", b"If-Range: x"))
        self.assertEqual(peer.read(len(answer)), answer)
        self.assertEqual(self.upstream.requests[0][1][1:], [("Range", "bytes=5-9"), ("If-Range", "x")])
        answer = b"HTTP/1.1 416 Requested Range Not Satisfiable\r\nContent-Range: bytes */100\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        self.upstream.routes["/view"] = says(answer)
        peer.send(self.get("/view", b"Range: bytes=500-"))
        self.assertEqual(peer.read(len(answer)), answer)

    def test_interim_answers_and_expectations(self):
        def route(peer, _line, fields):
            self.assertIn(("Expect", "100-continue"), fields)
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
            if peer.read(3) == b"abc":
                peer.send(OK)
        self.upstream.routes["/x"] = route
        peer = self.connect().send(b"POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        self.assertEqual(peer.read_until(b"\r\n\r\n"), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertEqual(peer.read_until(b"\r\n\r\n"), b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        self.assertEqual(peer.send(b"abc").answer()[0], 200)

    def test_an_answer_in_single_bytes_and_one_without_a_length(self):
        def route(peer, _line, _fields):
            for i in range(len(OK)):
                peer.send(OK[i:i + 1])
        self.upstream.routes["/slow"] = route
        peer = self.connect().send(self.get("/slow"))
        self.assertEqual(peer.read(len(OK)), OK)
        self.upstream.routes["/end"] = says(b"HTTP/1.1 200 OK\r\n\r\nto the end", serves_on=False)
        self.assertEqual(self.connect().send(self.get("/end")).read_to_end(), b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end")

    def test_packed_answers_pass_packed(self):
        answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"
        self.upstream.routes["/x.js"] = says(answer)
        peer = self.connect().send(self.get("/x.js", b"Accept-Encoding: gzip, br"))
        self.assertEqual(peer.read(len(answer)), answer)
        self.assertIn(("Accept-Encoding", "gzip, br"), self.upstream.requests[0][1])


if __name__ == "__main__":
    unittest.main()
