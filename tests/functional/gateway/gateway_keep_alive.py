# SPDX-License-Identifier: Apache-2.0
"""Connections are kept on both sides; requests in a row are answered in order; a kept one that died costs nobody a POST."""
import unittest

from wire import OK, GatewayTest, says


class KeepAlive(GatewayTest):
    def test_many_requests_take_one_connection_on_each_side(self):
        self.upstream.routes["/x"] = says(OK)
        peer, before = self.connect(), self.upstream.connections
        for _ in range(100):
            self.assertEqual(peer.send(self.get("/x")).answer()[0], 200)
        self.assertEqual(self.upstream.connections - before, 1)

    def test_requests_sent_at_once_are_answered_in_order(self):
        def route(peer, line, _fields):
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + line.split()[1][-3:].encode())
        self.upstream.routes["/x"] = route
        peer = self.connect().send(b"".join(self.get(f"/x?{i:03}") for i in range(200)))
        self.assertEqual([peer.answer()[2] for _ in range(200)], [b"%03d" % i for i in range(200)])

    def test_a_get_is_sent_again_when_the_kept_connection_dies_over_it(self):
        self.upstream.routes["/x"] = says(OK)
        self.upstream.routes["/die"] = lambda peer, _line, _fields: len(self.upstream.requests) > 2 and (peer.send(OK), True)[1]
        peer = self.connect()
        peer.send(self.get("/x")).answer()
        self.assertEqual(peer.send(self.get("/die")).answer()[0], 200)
        self.assertEqual([line.split()[1] for line, _ in self.upstream.requests], ["/x", "/die", "/die"])

    def test_a_post_is_never_sent_twice(self):
        self.upstream.routes["/x"] = says(OK)
        self.upstream.routes["/prompt"] = lambda peer, _line, _fields: False
        for _ in range(5):
            peer = self.connect()
            peer.send(self.get("/x")).answer()
            self.upstream.requests.clear()
            self.assertEqual(peer.send(b"POST /prompt HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}").answer()[0], 502)
            self.assertEqual(len(self.upstream.requests), 1)

    def test_http_1_0_is_served_and_closed(self):
        self.upstream.routes["/x"] = says(b"HTTP/1.0 200 OK\r\n\r\nold", serves_on=False)
        self.assertEqual(self.connect().send(b"GET /x HTTP/1.0\r\n\r\n").read_to_end(), b"HTTP/1.0 200 OK\r\n\r\nold")


if __name__ == "__main__":
    unittest.main()
