# SPDX-License-Identifier: Apache-2.0
"""Connections of which one direction is over, or that say nothing, or that vanish."""
import threading
import unittest

from wire import OK, TEXT, GatewayTest, accepts, frame, says


class HalfOpen(GatewayTest):
    def test_a_client_that_sends_no_more_still_gets_its_answers(self):
        self.upstream.routes["/x"] = says(OK)
        peer = self.connect().send(self.get("/x") * 3)
        peer.finish()
        for _ in range(3):
            self.assertEqual(peer.answer()[0], 200)
        self.assertEqual(peer.read_to_end(), b"")

    def test_half_a_head_and_half_a_body_reach_nobody(self):
        asked = []
        self.upstream.routes["/x"] = lambda peer, line, _fields: asked.append(line)
        peer = self.connect().send(b"GET /x HTTP/1.1\r\nHost:")
        peer.finish()
        self.assertEqual(peer.read_to_end(), b"")
        self.assertEqual(asked, [])

    def test_a_thousand_silent_connections_keep_nobody_waiting(self):
        silent = [self.connect() for _ in range(400)]
        begun = [self.connect().send(b"GET /x HT") for _ in range(100)]
        self.still_serves()
        for peer in silent + begun:
            peer.close()
        self.still_serves()

    def test_a_client_that_vanishes_takes_its_requests_with_it(self):
        gone = threading.Event()

        def route(peer, _line, _fields):
            peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
            try:
                while True:
                    peer.send(b"x" * 65536)
            except OSError:
                gone.set()
            return False
        self.upstream.routes["/endless"] = route
        peer = self.connect().send(self.get("/endless"))
        peer.read(1000)
        peer.reset()
        self.assertTrue(gone.wait(30))

    def test_a_socket_that_vanishes_ends_at_comfyui_too(self):
        for leave in ("reset", "close"):
            gone = threading.Event()

            def serve(peer, gone=gone):
                peer.send(frame(TEXT, b"hello"))
                peer.read_to_end()
                gone.set()
            self.upstream.routes["/ws"] = accepts(serve)
            peer, _ = self.open()
            peer.frame()
            getattr(peer, leave)()
            self.assertTrue(gone.wait(30), leave)

    def test_a_socket_whose_client_sends_no_more_still_hears(self):
        def serve(peer):
            peer.read_to_end()
            peer.send(frame(TEXT, b"one more"))
        self.upstream.routes["/ws"] = accepts(serve)
        peer, _ = self.open()
        peer.finish()
        self.assertEqual(peer.frame(), (TEXT, True, b"one more"))
        self.assertIsNone(peer.frame())


if __name__ == "__main__":
    unittest.main()
