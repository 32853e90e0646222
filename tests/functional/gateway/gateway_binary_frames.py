# SPDX-License-Identifier: Apache-2.0
"""Every frame passes as it is: previews of any size, fragments with pings between them, opcodes that nobody knows, every close code."""
import struct
import unittest

from wire import BINARY, CLOSE, PING, TEXT, GatewayTest, accepts, frame, random_bytes


class BinaryFrames(GatewayTest):
    def through(self, stream):
        """What the client reads when the server says `stream`."""
        def serve(peer):
            peer.send(stream)
            peer.finish()
            peer.read_to_end()
        self.upstream.routes["/ws"] = accepts(serve)
        peer, _ = self.open()
        return peer.read_to_end()

    def test_previews_of_all_kinds_and_sizes(self):
        stream = b"".join(frame(BINARY, struct.pack(">II", event, form) + random_bytes(size))
                          for event, form, size in ((1, 1, 40_000), (1, 2, 3_000_000), (4, 200, 70_000), (3, 1, 9), (10, 0, 125), (9999123, 0, 126)))
        self.assertEqual(self.through(stream), stream)

    def test_a_frame_of_thirty_mib(self):
        stream = frame(BINARY, random_bytes(30 << 20))
        self.assertTrue(self.through(stream) == stream)

    def test_fragments_with_a_ping_between(self):
        stream = frame(TEXT, b"a" * 70_000, fin=False) + frame(PING, b"?") + frame(0, b"", fin=False) + frame(0, b"b") + frame(BINARY, b"")
        self.assertEqual(self.through(stream), stream)

    def test_opcodes_and_bits_that_nobody_knows(self):
        for odd in (frame(3, b"data"), frame(11, b"control"), frame(TEXT, b"packed", reserved=4), frame(CLOSE, b"x" * 200), b"\x82\x7f" + b"\xff" * 8 + b"no end"):
            stream = frame(TEXT, b"before") + odd + frame(TEXT, b"after")
            self.assertEqual(self.through(stream), stream)

    def test_every_close_code(self):
        for code in (1000, 1001, 1009, 1011, 3000, 4999, 0, 65535):
            stream = frame(CLOSE, struct.pack(">H", code) + "größer".encode())
            self.assertEqual(self.through(stream), stream)

    def test_every_cut_of_a_stream(self):
        stream = frame(TEXT, b'{"type": "status", "data": {}}') + frame(BINARY, b"x" * 130) + frame(CLOSE, b"\x03\xe8")

        def serve(peer):
            for i in range(len(stream)):
                peer.send(stream[i:i + 1])
            peer.finish()
            peer.read_to_end()
        self.upstream.routes["/ws"] = accepts(serve)
        peer, _ = self.open()
        self.assertEqual(peer.read_to_end(), stream)


if __name__ == "__main__":
    unittest.main()
