# SPDX-License-Identifier: Apache-2.0
"""A client that never reads costs a bounded amount of memory and holds up nobody else. (That it is cut off in the end, and when, is
src/net/relay/relay_test.cpp's, where time is the test's.)"""
import threading
import unittest

from wire import BINARY, TEXT, GatewayTest, accepts, frame, memory_mib

MIB = 1 << 20


class NeverReads(GatewayTest):
    def test_nobody_else_notices_a_socket_that_is_not_read(self):
        ended = threading.Event()
        much_sent = threading.Event()
        go_on = threading.Event()

        def serve_deaf(peer):
            try:
                for i in range(500):
                    peer.send(frame(BINARY, b"x" * MIB))
                    if i == 40:
                        much_sent.set()
            except OSError:
                ended.set()

        def serve_other(peer):
            go_on.wait(30)
            peer.send(frame(TEXT, b"all is well"))
            peer.read_to_end()
        self.upstream.routes["/ws"] = accepts(serve_other)
        self.upstream.routes["/deaf"] = accepts(serve_deaf)
        other, _ = self.open()
        deaf, _ = self.open("/deaf")
        self.assertTrue(much_sent.wait(30))  # it was not held up by what nobody reads
        go_on.set()
        self.assertEqual(other.frame(), (TEXT, True, b"all is well"))
        self.still_serves()
        self.assertLess(memory_mib(self.daemon.process.pid), 250)
        deaf.close()
        self.assertTrue(ended.wait(30))

    def test_one_that_sends_requests_and_reads_no_answers_is_not_asked_for_more(self):
        asked = [0]

        def route(peer, _line, _fields):
            asked[0] += 1
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MIB + b"x" * MIB)
        self.upstream.routes["/big"] = route
        peer = self.connect()
        for _ in range(300):
            peer.send(self.get("/big"))
        self.still_serves()
        self.assertLess(asked[0], 100)
        for _ in range(300):
            self.assertEqual(len(peer.answer()[2]), MIB)


if __name__ == "__main__":
    unittest.main()
