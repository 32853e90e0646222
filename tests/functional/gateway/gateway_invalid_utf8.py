# SPDX-License-Identifier: Apache-2.0
"""Bytes that are no text pass where HTTP and WebSockets let them: in paths, header values, bodies, messages."""
import unittest

from wire import OK, TEXT, GatewayTest, accepts, frame

BAD = b"\xff\xfe\xc3\x28\xed\xa0\x80"


class InvalidUtf8(GatewayTest):
    def test_bodies_headers_and_paths_pass(self):
        seen = []

        def route(peer, line, fields):
            seen.append((line.encode("latin-1"), dict(fields)["X-Bad"].encode("latin-1"), peer.read(len(BAD) + 9)))
            peer.send(OK)
        path = b"/userdata/" + BAD
        self.upstream.routes[path.decode("latin-1")] = route
        peer = self.connect()
        body = b'{"a": "' + BAD + b'"}'
        peer.send(b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nX-Bad: " + BAD + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        self.assertEqual(peer.answer()[0], 200)
        self.assertEqual(seen, [(b"POST " + path + b" HTTP/1.1", BAD, body)])

    def test_a_prompt_that_is_no_text_is_comfyuis_to_refuse(self):
        seen = []

        def route(peer, _line, _fields):
            seen.append(peer.read(len(BAD)))
            peer.send(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return False
        for path in ("/prompt", "/api/prompt"):
            self.upstream.routes[path] = route
            self.assertEqual(self.ask(b"POST " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(BAD) + BAD)[0], 500)
        self.assertEqual(seen, [BAD, BAD])

    def test_messages_pass(self):
        stream = frame(TEXT, BAD) + frame(TEXT, b'{"type": "status", "data": "' + BAD + b'"}') + frame(TEXT, b"\x00")
        self.upstream.routes["/ws"] = accepts(lambda peer: peer.send(stream))
        peer, _ = self.open("/ws?clientId=%FF%FE" + "%C3%28")
        self.assertEqual(peer.read(len(stream)), stream)


if __name__ == "__main__":
    unittest.main()
