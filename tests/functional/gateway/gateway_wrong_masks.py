# SPDX-License-Identifier: Apache-2.0
"""Masks that should not be, or should be: the gateway judges no frame. What ComfyUI thinks of them is ComfyUI's to say, as without a gateway."""
import unittest

from wire import BINARY, TEXT, GatewayTest, accepts, frame


class WrongMasks(GatewayTest):
    def test_a_clients_frames_pass_whatever_their_masks(self):
        stream = frame(TEXT, b"no mask") + frame(TEXT, b"zeros", mask=b"\0\0\0\0") + frame(BINARY, b"masked", mask=b"\xff\x00\xff\x01")
        got = []

        def serve(peer):
            heard = peer.read(len(stream))
            if heard:  # Plimsoll listens on a socket of its own, and says nothing
                got.append(heard)
            peer.send(frame(TEXT, b"seen"))
        self.upstream.routes["/ws"] = accepts(serve)
        peer, _ = self.open()
        peer.send(stream)
        self.assertEqual(peer.frame(), (TEXT, True, b"seen"))
        self.assertEqual(got, [stream])

    def test_a_servers_masked_frames_pass_too(self):
        stream = frame(TEXT, b'{"type": "status"}', mask=b"abcd") + frame(BINARY, b"x" * 1000, mask=b"\1\2\3\4") + frame(TEXT, b"plain")
        self.upstream.routes["/ws"] = accepts(lambda peer: peer.send(stream))
        peer, _ = self.open()
        self.assertEqual(peer.read(len(stream)), stream)

    def test_a_server_that_closes_over_it_is_heard(self):
        def serve(peer):
            if peer.read(2)[1] & 128 == 0:
                peer.send(frame(8, b"\x03\xea"))  # 1002, protocol error
        self.upstream.routes["/ws"] = accepts(serve)
        peer, _ = self.open()
        peer.send(frame(TEXT, b"no mask"))
        self.assertEqual(peer.frame(), (8, True, b"\x03\xea"))
        self.assertIsNone(peer.frame())


if __name__ == "__main__":
    unittest.main()
