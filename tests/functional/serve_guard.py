# SPDX-License-Identifier: Apache-2.0
"""Who may ask, what may be sent, and what an error looks like."""
import json
import socket
import unittest

from daemon import Daemon
from support import FunctionalTest

TOKEN = "0123456789abcdef-secret"


class Guard(FunctionalTest):
    def daemon(self, *flags, **env):
        daemon = Daemon(self.home, "--simulate", "--card", "rtx3050-6gb", "--speed", 0, *flags, **env)
        self.addCleanup(daemon.stop)
        return daemon

    def refused(self, daemon, status, method, path, body=None, **headers):
        got, _, answer = daemon.ask(method, path, body, headers={name.replace("_", "-"): value for name, value in headers.items()})
        self.assertEqual(got, status, answer)
        error = json.loads(answer)["error"]
        self.assertEqual(sorted(error), ["code", "details", "message"])
        return error

    def test_other_sites_and_rebound_names_are_kept_out(self):
        daemon = self.daemon()
        self.refused(daemon, 403, "GET", "/api/health", Host="evil.example")
        self.refused(daemon, 403, "GET", "/api/health", Origin="http://evil.example")
        self.refused(daemon, 403, "POST", "/api/generate", {"prompt": "x", "model": "sdxl-base"}, Origin="null")
        self.refused(daemon, 403, "GET", "/api/health", Sec_Fetch_Site="cross-site")
        own = f"127.0.0.1:{daemon.port}"
        self.assertEqual(daemon.get("/api/health", headers={"Origin": f"http://{own}"})[0], 200)

    def test_a_token_is_asked_for_and_never_shown(self):
        daemon = self.daemon(PLIMSOLL_TOKEN=TOKEN)
        self.refused(daemon, 401, "GET", "/api/health")
        self.refused(daemon, 401, "GET", "/metrics")
        self.refused(daemon, 401, "GET", "/api/health", Authorization="Bearer " + TOKEN[:-1] + "x")
        self.assertEqual(daemon.get("/api/health", headers={"Authorization": "Bearer " + TOKEN})[0], 200)
        status, headers, _ = daemon.ask("GET", "/?token=" + TOKEN)
        self.assertEqual((status, headers["Location"]), (303, "/"))
        cookie = headers["Set-Cookie"].split(";")[0]
        self.assertIn("HttpOnly", headers["Set-Cookie"])
        self.assertEqual(daemon.get("/api/health", headers={"Cookie": cookie})[0], 200)
        daemon.stop()
        self.assertNotIn(TOKEN, json.dumps(daemon.events))

    def test_it_does_not_listen_beyond_this_machine_without_a_token(self):
        process = self.start_plimsoll("serve", "--simulate", "--listen", "0.0.0.0:0")
        _, error = process.communicate(timeout=20)
        self.assertNotEqual(process.returncode, 0)
        self.assertIn("PLIMSOLL_TOKEN", error)

    def test_what_is_asked_wrongly_is_said_plainly(self):
        daemon = self.daemon()
        self.assertEqual(self.refused(daemon, 404, "GET", "/api/nothing")["code"], "not_found")
        self.assertEqual(self.refused(daemon, 405, "DELETE", "/api/health")["code"], "method_not_allowed")
        self.refused(daemon, 400, "POST", "/api/forecast", b"{", Content_Type="application/json")
        self.refused(daemon, 400, "POST", "/api/forecast", {"model": "sdxl-base", "wdith": 512})
        self.refused(daemon, 415, "POST", "/api/forecast", b"<a/>", Content_Type="text/xml")
        self.refused(daemon, 404, "GET", "/api/jobs/5d3f0f52-6a0f-4c7e-9a4e-0c8f4f6f2b11")
        # Refused by its announced length: nobody waits for the rest.
        with socket.create_connection(("127.0.0.1", daemon.port), timeout=20) as connection:
            connection.sendall(b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                               b"Content-Length: 5000000000\r\n\r\n{")
            self.assertTrue(connection.recv(4096).startswith(b"HTTP/1.1 413"))
        for path in ("/../etc/passwd", "/%2e%2e/etc/passwd", "/..%2fetc/passwd", "/assets/../../etc/passwd"):
            self.assertEqual(daemon.ask("GET", path)[0], 404, path)

    def test_headers_that_protect_the_page_are_there(self):
        headers = self.daemon().ask("GET", "/")[1]
        self.assertIn("default-src", headers["Content-Security-Policy"])
        self.assertEqual(headers["X-Content-Type-Options"], "nosniff")

    def test_garbage_ends_its_own_connection_only(self):
        daemon = self.daemon()
        for garbage in (b"\x00\xff" * 400 + b"\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
                        b"POST /api/forecast HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", daemon.port), timeout=20) as connection:
                try:
                    connection.sendall(garbage)
                    answer = connection.recv(4096)
                except ConnectionError:
                    answer = b""
                self.assertFalse(answer.startswith(b"HTTP/1.1 2"), garbage[:60])
        self.assertEqual(daemon.get("/api/health")[0], 200)


if __name__ == "__main__":
    unittest.main()
