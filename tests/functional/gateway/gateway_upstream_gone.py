# SPDX-License-Identifier: Apache-2.0
"""ComfyUI is not there, goes, and comes back: plain requests get a 502 that says so, handshakes wait, nobody has to be started again."""
import json
import threading
import unittest

from wire import OK, SWITCH, TEXT, GatewayTest, Upstream, accepts, frame, says


class UpstreamGone(GatewayTest):
    def restart(self):
        type(self).upstream = Upstream(self.upstream.port)
        return self.upstream

    def test_it_goes_and_comes_back(self):
        self.upstream.routes["/x"] = says(OK)
        peer = self.connect()
        self.assertEqual(peer.send(self.get("/x")).answer()[0], 200)
        self.upstream.stop()
        status, headers, body = peer.send(self.get("/x")).answer()
        self.assertEqual((status, headers["content-type"]), (502, "text/plain; charset=utf-8"))
        self.assertIn(b"ComfyUI at http://127.0.0.1:%d" % self.upstream.port, body)
        for path in ("/prompt", "/api/prompt"):
            status, headers, body = peer.send(b"POST " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}").answer()
            refusal = json.loads(body)
            self.assertEqual((status, refusal["node_errors"], refusal["error"]["type"]), (502, {}, "comfyui_unreachable"))
            self.assertEqual(set(refusal["error"]), {"type", "message", "details", "extra_info"})
            self.assertEqual(headers["content-type"], "application/json; charset=utf-8")
        self.restart().routes["/x"] = says(OK)
        self.assertEqual(peer.send(self.get("/x")).answer()[0], 200)

    def test_a_handshake_waits_until_it_is_back(self):
        """Clients try again only when the port is closed: a 502 would end them."""
        self.upstream.stop()
        peer = self.connect().send(self.get("/ws?clientId=B", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x"))
        self.assertEqual(self.ask(self.get("/x"))[0], 502)
        self.restart().routes["/ws"] = accepts(lambda end: end.send(frame(TEXT, b"back")))
        self.assertEqual(peer.read(len(SWITCH)), SWITCH)
        self.assertEqual(peer.frame(), (TEXT, True, b"back"))

    def test_an_open_socket_ends_with_it_and_its_client_comes_again(self):
        hold = threading.Event()
        self.upstream.routes["/ws"] = accepts(lambda peer: peer.send(frame(TEXT, b"first")).read_to_end())
        peer, _ = self.open()
        self.assertEqual(peer.frame()[2], b"first")
        self.upstream.stop()
        self.assertIsNone(peer.frame())
        self.restart().routes["/ws"] = accepts(lambda end: (end.send(frame(TEXT, b"second")), hold.wait(30)))
        again, _ = self.open()
        self.assertEqual(again.frame()[2], b"second")
        hold.set()


if __name__ == "__main__":
    unittest.main()
