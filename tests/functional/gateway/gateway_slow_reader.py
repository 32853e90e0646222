# SPDX-License-Identifier: Apache-2.0
"""A client that reads slowly holds back the answer that it reads, and nothing else: not ComfyUI's other clients, not the gateway's memory."""
import threading
import unittest

from wire import TEXT, GatewayTest, accepts, frame, memory_mib

MIB = 1 << 20


class SlowReader(GatewayTest):
    def test_an_answer_waits_for_its_reader(self):
        sent = [0]

        def route(peer, _line, _fields):
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (200 * MIB))
            for _ in range(200):
                peer.send(b"x" * MIB)
                sent[0] += 1
        self.upstream.routes["/view"] = route
        before = memory_mib(self.daemon.process.pid)
        slow = self.connect().send(self.get("/view"))
        slow.head()
        self.still_serves()  # while nobody reads the other
        self.assertLess(sent[0], 100)
        for _ in range(200):
            self.assertEqual(len(slow.read(MIB)), MIB)
        self.assertEqual(sent[0], 200)
        self.assertLess(memory_mib(self.daemon.process.pid) - before, 16)

    def test_an_upload_waits_for_its_reader(self):
        go_on, sent = threading.Event(), [0]

        def route(peer, _line, _fields):
            go_on.wait(30)
            for _ in range(200):
                peer.read(MIB)
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.upstream.routes["/upload"] = route
        before = memory_mib(self.daemon.process.pid)
        peer = self.connect().send(b"PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (200 * MIB))

        def push():
            for _ in range(200):
                peer.send(b"x" * MIB)
                sent[0] += 1
        pushing = threading.Thread(target=push)
        pushing.start()
        self.still_serves()
        self.assertLess(sent[0], 100)
        go_on.set()
        self.assertEqual(peer.answer()[0], 200)
        pushing.join()
        self.assertLess(memory_mib(self.daemon.process.pid) - before, 16)

    def test_a_websocket_never_waits_for_its_reader(self):
        """ComfyUI sends to all sockets from one task: a client that does not read must not hold it up."""
        all_sent = threading.Event()

        def serve(peer):
            for _ in range(30):
                peer.send(frame(TEXT, b"x" * MIB))
            all_sent.set()
            peer.read_to_end()
        self.upstream.routes["/ws"] = accepts(serve)
        slow, _ = self.open()
        self.assertTrue(all_sent.wait(30))
        for _ in range(30):
            self.assertEqual(slow.frame()[2], b"x" * MIB)


if __name__ == "__main__":
    unittest.main()
