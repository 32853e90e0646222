# SPDX-License-Identifier: Apache-2.0
"""A ComfyUI that answers late, twice, never, in the middle of the question, with half an answer or with none."""
import contextlib
import threading
import unittest

from wire import OK, GatewayTest, says


class UpstreamAnswers(GatewayTest):
    def test_late(self):
        go_on = threading.Event()

        def route(peer, _line, _fields):
            go_on.wait(30)
            peer.send(OK)
        self.upstream.routes["/object_info"] = route
        peer = self.connect().send(self.get("/object_info"))
        self.still_serves()
        go_on.set()
        self.assertEqual(peer.answer()[2], b"{}")

    def test_twice(self):
        """The second answer belongs to nobody: it must not become that of the next request."""
        self.upstream.routes["/x"] = says(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nforeign")
        peer = self.connect()
        for _ in range(20):
            self.assertEqual(peer.send(self.get("/x")).answer()[2], b"{}")

    def test_twice_with_a_pause(self):
        """The second answer comes while the connection rests. After the next question was sent nobody could tell it from that one's answer."""
        answered, said = threading.Semaphore(0), threading.Semaphore(0)

        def route(peer, _line, _fields):
            peer.send(OK)
            answered.acquire(timeout=30)
            with contextlib.suppress(OSError):  # the gateway may have closed it
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nforeign")
            said.release()
        self.upstream.routes["/x"] = route
        peer = self.connect()
        for _ in range(20):
            self.assertEqual(peer.send(self.get("/x")).answer()[2], b"{}")
            answered.release()
            self.assertTrue(said.acquire(timeout=30))

    def test_never(self):
        left = threading.Event()

        def route(peer, _line, _fields):
            peer.read_to_end()
            left.set()
            return False
        self.upstream.routes["/never"] = route
        peer = self.connect().send(self.get("/never"))
        self.still_serves()
        peer.reset()
        self.assertTrue(left.wait(30))  # nobody waits for a client that is gone

    def test_before_the_question_is_whole(self):
        self.upstream.routes["/x"] = lambda peer, _line, _fields: peer.send(OK.replace(b"200 OK", b"403 No")) and False
        peer = self.connect().send(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nhalf")
        status, headers, body = peer.answer()
        self.assertEqual((status, body), (403, b"{}"))
        self.assertEqual(peer.read_to_end(), b"")  # ComfyUI left, with the question half asked

    def test_half(self):
        for head, half in ((b"Content-Length: 9", b"half"), (b"Transfer-Encoding: chunked", b"4\r\nhalf\r\n"), (b"Transfer-Encoding: chunked", b"9\r\nhalf")):
            self.upstream.routes["/x"] = says(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + half, serves_on=False)
            peer = self.connect().send(self.get("/x"))
            got = peer.read_to_end()
            self.assertIn(b"half", got)
            self.assertNotIn(b"0\r\n\r\n", got)  # it must not look whole

    def test_nothing_or_half_a_head(self):
        for answer in (b"", b"HTTP/1.1 200 OK\r\nContent-Le"):
            self.upstream.routes["/x"] = says(answer, serves_on=False)
            status, headers, body = self.ask(self.get("/x"))
            self.assertEqual((status, headers["content-type"]), (502, "text/plain; charset=utf-8"))
            self.assertIn(b"ComfyUI", body)

    def test_something_that_is_no_http(self):
        for answer in (b"\x00\x01\x02 what\r\n\r\n", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n", b"HTTP/1.1 101 Switch\r\n\r\n",
                       b"HTTP/1.1 200 OK\r\n folded: 1\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n"):
            self.upstream.routes["/x"] = says(answer, serves_on=False)
            self.assertEqual(self.ask(self.get("/x"))[0], 502)


if __name__ == "__main__":
    unittest.main()
