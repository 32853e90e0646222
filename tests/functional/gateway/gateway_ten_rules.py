# SPDX-License-Identifier: Apache-2.0
"""The ten rules that decide whether unmodified clients keep working, one test each, without a hook: the bytes are ComfyUI's."""
import json
import threading
import time
import unittest

from wire import BINARY, OK, TEXT, GatewayTest, accepts, frame, random_bytes, says

# 64-bit seeds, int against float, Python's own tokens, keys in no order, odd spacing, an escaped and a plain umlaut.
ODD_JSON = '{"type":"progress", "b": 5.0,"a": 5,  "seed": 18446744073709551615, "x": NaN, "y": -Infinity, "t": "\\u00fc\u00fc"}'.encode()


class TenRules(GatewayTest):
    def test_rule_01_bytes_that_need_no_change_do_not_change(self):
        seen = []

        def route(peer, _line, fields):
            seen.append(peer.read(int(dict(fields)["Content-Length"])))
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(ODD_JSON) + ODD_JSON)
        for path in ("/prompt", "/object_info"):
            self.upstream.routes[path] = route
            answer = self.ask(b"POST " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(ODD_JSON) + ODD_JSON)
            self.assertEqual(answer[2], ODD_JSON)
        self.assertEqual(seen, [ODD_JSON, ODD_JSON])
        self.upstream.routes["/ws"] = accepts(lambda peer: peer.send(frame(TEXT, ODD_JSON)))
        self.assertEqual(self.open()[0].frame()[2], ODD_JSON)

    def test_rule_02_messages_keep_their_order_and_none_is_left_out(self):
        stream = []
        for i in range(500):
            stream.append((TEXT, b'{"type": "progress", "data": {"value": %d, "max": 12345}}' % i))
            stream.append((BINARY, b"\0\0\0\1\0\0\0\1" + random_bytes(i * 37)))
        self.upstream.routes["/ws"] = accepts(lambda peer: peer.send(b"".join(frame(*one) for one in stream)))
        peer, _ = self.open()
        for opcode, payload in stream:
            self.assertEqual(peer.frame(), (opcode, True, payload))

    def test_rule_03_types_and_events_that_nobody_knows_pass(self):
        stream = [(TEXT, b'{"type": "crystools.monitor", "data": {}}'), (TEXT, b'{"type": 7}'), (TEXT, b"no json"), (BINARY, b"\0\0\0\x0aBMP"),
                  (BINARY, b"\x00\x98\x96\x7b"), (BINARY, b""), (TEXT, b"")]
        self.upstream.routes["/ws"] = accepts(lambda peer: peer.send(b"".join(frame(*one) for one in stream)))
        peer, _ = self.open()
        self.assertEqual([peer.frame()[::2] for _ in stream], stream)

    def test_rule_04_ids_of_the_client_stay_its_own(self):
        def route(peer, _line, fields):
            body = json.loads(peer.read(int(dict(fields)["Content-Length"])))
            answer = json.dumps({"prompt_id": body["prompt_id"], "number": 1, "node_errors": {}}).encode()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
        self.upstream.routes["/prompt"] = route
        body = json.dumps({"prompt": {}, "client_id": "mine", "prompt_id": "0b8e5f4e-1d0a-4a43-9c3f-1f3f5d1c2b3a"}).encode()
        answer = self.ask(b"POST /prompt HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        self.assertEqual(json.loads(answer[2])["prompt_id"], "0b8e5f4e-1d0a-4a43-9c3f-1f3f5d1c2b3a")
        self.upstream.routes["/ws"] = accepts(lambda peer: peer.send(frame(TEXT, self.upstream.requests[-1][0].encode())))
        self.assertEqual(self.open("/ws?clientId=mine%20own&x=1")[0].frame()[2], b"GET /ws?clientId=mine%20own&x=1 HTTP/1.1")

    def test_rule_05_success_is_200_and_a_refusal_is_comfyuis_json(self):
        refusal = b'{"error": {"type": "no_prompt", "message": "No prompt provided", "details": "x", "extra_info": {}}, "node_errors": {}}'
        for status, body in ((b"200 OK", b'{"prompt_id": "a", "number": 7.0, "node_errors": {}}'), (b"400 Bad Request", refusal)):
            self.upstream.routes["/prompt"] = says(b"HTTP/1.1 " + status + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            answer = self.ask(b"POST /prompt HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            self.assertEqual((answer[0], answer[2]), (int(status[:3]), body))

    def test_rule_06_the_content_type_of_a_prompt_means_nothing(self):
        seen = []

        def route(peer, _line, fields):
            seen.append((dict(fields).get("Content-Type"), peer.read(2)))
            peer.send(OK)
        self.upstream.routes["/prompt"] = route
        types = ["application/json", "application/x-www-form-urlencoded", "text/plain;charset=UTF-8", None]
        for kind in types:
            line = b"" if kind is None else b"Content-Type: " + kind.encode() + b"\r\n"
            self.assertEqual(self.ask(b"POST /prompt HTTP/1.1\r\nHost: x\r\n" + line + b"Content-Length: 2\r\n\r\n{}")[0], 200)
        self.assertEqual(seen, [(kind, b"{}") for kind in types])

    def test_rule_07_queues_are_what_comfyui_says_as_long_as_nothing_is_held(self):
        queue = b'{"queue_running": [], "queue_pending": [[5, "b", {}, {}, []], [4, "a", {}, {}, []]]}'  # a heap: in no order
        for path in ("/queue", "/prompt", "/api/queue", "/api/prompt", "/api/jobs", "/api/jobs/a", "/history/a"):
            self.upstream.routes[path] = says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(queue) + queue)
            self.assertEqual(self.ask(self.get(path))[2], queue)
        for path in ("/queue", "/interrupt", "/history", "/api/jobs/a/cancel"):
            self.upstream.routes[path] = says(OK)
            self.assertEqual(self.ask(b"POST " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 17\r\n\r\n{\"delete\": [\"a\"]}")[0], 200)
        status = b'{"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 2}}, "sid": "A"}}'
        self.upstream.routes["/ws"] = accepts(lambda peer: peer.send(frame(TEXT, status)))
        self.assertEqual(self.open()[0].frame()[2], status)

    def test_rule_08_an_escaped_slash_stays_escaped(self):
        target = "/userdata/workflows%2Fsub%2Fa.json?overwrite=true"
        self.upstream.routes["/userdata/workflows%2Fsub%2Fa.json"] = says(OK)
        self.assertEqual(self.ask(self.get(target))[0], 200)
        self.assertEqual(self.upstream.requests[0][0], f"GET {target} HTTP/1.1")

    def test_rule_09_host_and_origin_arrive_unchanged(self):
        """ComfyUI compares the two: a rewritten Host alone makes it refuse every browser."""
        pair = [("Host", f"127.0.0.1:{self.port}"), ("Origin", f"http://127.0.0.1:{self.port}")]
        self.upstream.routes["/prompt"] = says(OK)
        self.upstream.routes["/ws"] = accepts(lambda peer: None)
        self.ask(b"POST /prompt HTTP/1.1\r\n" + b"".join(f"{name}: {value}\r\n".encode() for name, value in pair) + b"Content-Length: 0\r\n\r\n")
        self.open(extra=b"Origin: http://127.0.0.1:%d\r\n" % self.port)
        for _, fields in self.upstream.requests:
            self.assertEqual([field for field in fields if field[0] in ("Host", "Origin")], pair)

    def test_rule_10_comfyui_never_waits_for_a_slow_client(self):
        took = []

        def serve(peer):
            began = time.monotonic()
            for _ in range(2000):  # 20 MB: far more than sockets hold
                peer.send(frame(BINARY, b"x" * 10_000))
            took.append(time.monotonic() - began)
            sent.set()
            peer.read_to_end()
        sent = threading.Event()
        self.upstream.routes["/ws"] = accepts(serve)
        slow, _ = self.open()
        self.assertTrue(sent.wait(30))  # while the client has read nothing
        self.assertEqual(slow.frame()[2], b"x" * 10_000)


if __name__ == "__main__":
    unittest.main()
