# SPDX-License-Identifier: Apache-2.0
"""Heads without end: ten thousand headers, a line of a megabyte. They are refused with 431, and cost nobody else anything."""
import unittest

from wire import OK, GatewayTest, memory_mib, says


class ManyHeaders(GatewayTest):
    def test_ten_thousand_headers_are_refused(self):
        before = memory_mib(self.daemon.process.pid)
        for _ in range(20):
            peer = self.connect().send(self.get("/x", *(b"X-%d: y" % i for i in range(10_000))))
            self.assertEqual(peer.answer()[0], 431)
        self.assertLess(memory_mib(self.daemon.process.pid) - before, 20)
        self.still_serves()

    def test_a_line_without_end_is_refused_before_it_ends(self):
        peer = self.connect().send(b"GET /" + b"a" * 100_000)
        self.assertEqual(peer.answer()[0], 431)

    def test_as_many_as_anybody_sends_pass(self):
        self.upstream.routes["/x"] = says(OK)
        self.assertEqual(self.ask(self.get("/x", *(b"X-%d: %s" % (i, b"y" * 90) for i in range(500))))[0], 200)
        self.assertEqual(len(self.upstream.requests[0][1]), 501)

    def test_a_long_target_is_for_comfyui_to_judge(self):
        path = "/" + "a" * 20_000
        self.upstream.routes[path] = says(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(self.ask(self.get(path))[0], 400)


if __name__ == "__main__":
    unittest.main()
