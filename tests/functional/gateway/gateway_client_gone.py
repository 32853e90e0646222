# SPDX-License-Identifier: Apache-2.0
"""A client that leaves while ComfyUI has its prompt takes everything along that was kept for it."""
import threading
import unittest

from wire import GatewayTest, memory_mib

PROMPT_BYTES, CLIENTS = 8 << 20, 40  # 320 MiB, were they kept
GROWTH_MIB_MAX = 160  # of the highest memory: some of them at once, in several copies


class ClientGone(GatewayTest):
    def test_prompts_of_clients_that_left_are_not_kept(self):
        came = threading.Semaphore(0)

        def route(peer, _line, fields):
            length = int({name.lower(): value for name, value in fields}["content-length"])
            peer.read(length)
            came.release()
            peer.read_to_end()  # it never answers
            return False
        self.upstream.routes["/prompt"] = route
        body = b'{"prompt": {"1": {"class_type": "Note", "inputs": {"text": "' + b"x" * PROMPT_BYTES + b'"}}}}'
        head = b"POST /prompt HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: %d\r\n\r\n" % (self.port, len(body))
        before = memory_mib(self.daemon.process.pid)
        for _ in range(CLIENTS):
            peer = self.connect().send(head, body)
            self.assertTrue(came.acquire(timeout=30))
            peer.reset()
        self.still_serves()
        self.assertLess(memory_mib(self.daemon.process.pid) - before, GROWTH_MIB_MAX)


if __name__ == "__main__":
    unittest.main()
