# SPDX-License-Identifier: Apache-2.0
"""Bodies that fit nowhere: 100 MB up and down at the memory of a small one; 5 GB that ComfyUI refuses at once."""
import hashlib
import threading
import unittest

from wire import OK, GatewayTest, memory_mib, random_bytes, says

MIB = 1 << 20


class LargeBody(GatewayTest):
    def test_a_hundred_megabytes_pass_without_being_kept(self):
        piece = random_bytes(MIB)
        seen = {}

        def route(peer, _line, _fields):
            digest = hashlib.sha256()
            for _ in range(100):
                digest.update(peer.read(MIB))
            seen["up"] = digest.digest()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (100 * MIB))
            for _ in range(100):
                peer.send(piece)
        self.upstream.routes["/upload/image"] = route
        before = memory_mib(self.daemon.process.pid)
        peer = self.connect().send(b"POST /upload/image HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (100 * MIB))
        for _ in range(100):
            peer.send(piece)
        peer.head()
        digest = hashlib.sha256()
        for _ in range(100):
            digest.update(peer.read(MIB))
        self.assertEqual(seen["up"], digest.digest())
        self.assertLess(memory_mib(self.daemon.process.pid) - before, 16)

    def test_a_chunked_upload_of_unknown_length_passes_as_it_is(self):
        seen = []

        def route(peer, _line, _fields):
            seen.append(peer.read_until(b"0\r\n\r\n"))
            peer.send(OK)
        self.upstream.routes["/api/etn/image/1"] = route
        body = b"".join(b"%x\r\n" % n + b"x" * n + b"\r\n" for n in (1, 65536, 100_000, 15)) + b"0\r\n\r\n"
        self.assertEqual(self.ask(b"PUT /api/etn/image/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body)[0], 200)
        self.assertEqual(seen, [body])

    def test_five_gigabytes_are_refused_by_comfyui_and_kept_by_nobody(self):
        before = memory_mib(self.daemon.process.pid)
        refusal = b"HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig"

        def route(peer, _line, _fields):
            peer.send(refusal)
            peer.finish()
            peer.read(MIB)
            return False
        for path in ("/prompt", "/upload/image"):
            self.upstream.routes[path] = route
            peer = self.connect().send(b"POST " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000000\r\n\r\n" + b"x" * MIB)

            def push(peer=peer):
                try:
                    for _ in range(5000):
                        peer.send(b"x" * MIB)
                except OSError:
                    pass
            pushing = threading.Thread(target=push)
            pushing.start()
            self.assertEqual(peer.answer()[0], 413)
            peer.close()
            pushing.join()
        self.assertLess(memory_mib(self.daemon.process.pid) - before, 16)
        self.still_serves()

    def test_a_client_that_leaves_in_the_middle_leaves_half_a_request(self):
        ended = threading.Event()

        def route(peer, _line, _fields):
            if len(peer.read(1000)) < 1000:
                ended.set()
            return False
        self.upstream.routes["/x"] = route
        self.connect().send(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf").close()
        self.assertTrue(ended.wait(30))


if __name__ == "__main__":
    unittest.main()
