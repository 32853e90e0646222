# SPDX-License-Identifier: Apache-2.0
"""Who may ask, what may be sent, and what an error looks like."""
import contextlib
import http.client
import json
import resource
import socket
import unittest

from daemon import Daemon
from support import FunctionalTest

TOKEN = "0123456789abcdef-secret"
CONNECTIONS_MAX = 512  # App::server_options
STREAMS_MAX = 64  # api/event_hub.h


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

    def test_no_path_leads_out_of_the_page(self):
        daemon = self.daemon()
        (self.home / "secret.txt").write_text("not for the web")
        for path in ("/../etc/passwd", "/%2e%2e/etc/passwd", "/..%2fetc/passwd", "/assets/../../etc/passwd", "/..%5c..%5cetc/passwd", "/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
                     "//etc/passwd", "/./etc/passwd", "/%00/etc/passwd", "/assets/%2e%2e/%2e%2e/secret.txt", "/secret.txt", f"/{self.home}/secret.txt", "/.git/config"):
            status, _, body = daemon.ask("GET", path)
            self.assertIn(status, (400, 404), path)
            self.assertNotIn(b"root:", body, path)
        # Names that end in files or rows are names, not paths.
        for name in ("..", "..%2f..%2fx", "%2fetc%2fpasswd", "a%00b"):
            for method, path in (("GET", f"/api/presets/{name}"), ("PUT", f"/api/presets/{name}"), ("GET", f"/api/history/{name}/images/0"),
                                 ("GET", f"/api/jobs/{name}/images/0"), ("GET", f"/api/jobs/{name}/preview")):
                status = daemon.ask(method, path, {"model": "sdxl-base"} if method == "PUT" else None)[0]
                self.assertIn(status, (400, 404), f"{method} {path}")
        self.assertEqual([path.name for path in self.home.iterdir() if path.name == "x"], [])

    def test_headers_that_protect_are_with_every_answer(self):
        daemon = self.daemon(PLIMSOLL_TOKEN=TOKEN)
        bearer = {"Authorization": "Bearer " + TOKEN}
        for path, wanted in (("/", 200), ("/api/health", 200), ("/openapi.json", 200), ("/metrics", 200), ("/api/history/export", 200), ("/api/none", 404),
                             ("/none.js", 404), ("/?token=wrong", 401)):
            status, headers, _ = daemon.ask("GET", path, headers=bearer)
            self.assertEqual(status, wanted, path)
            policy = headers["Content-Security-Policy"]
            self.assertIn("default-src 'self'", policy, path)
            self.assertIn("frame-ancestors 'none'", policy, path)
            self.assertNotRegex(policy, r"script-src|unsafe-eval|https?:", path)
            self.assertEqual((headers["X-Content-Type-Options"], headers["Referrer-Policy"], headers["X-Frame-Options"]), ("nosniff", "no-referrer", "DENY"), path)
            self.assertEqual((headers["Cross-Origin-Opener-Policy"], headers["Cross-Origin-Resource-Policy"]), ("same-origin", "same-origin"), path)
            self.assertNotIn("Access-Control-Allow-Origin", headers, path)
            if path.startswith(("/api", "/metrics")):
                self.assertEqual(headers["Cache-Control"], "no-store", path)

    def test_a_secret_is_stored_nowhere(self):
        daemon = self.daemon(PLIMSOLL_TOKEN=TOKEN)
        bearer = {"Authorization": "Bearer " + TOKEN}
        daemon.ask("GET", "/?token=" + TOKEN)
        job = {"model": "sdxl-base", "width": 512, "height": 512, "steps": 8, "prompt": "a lighthouse"}
        status, _, body = daemon.ask("POST", "/api/generate", job, headers={**bearer, "Cookie": "plimsoll_token=" + TOKEN})
        self.assertEqual(status, 202, body)
        job_id = json.loads(body)["jobId"]
        for _, event, data in daemon.stream(headers=bearer):
            if event == "job" and data["jobId"] == job_id and data["endedMs"] is not None:
                break
        doctor = daemon.ask("GET", "/api/doctor", headers=bearer)[2]  # which shows the settings in force
        self.assertNotIn(TOKEN.encode(), doctor)
        self.assertEqual(daemon.stop(), 0)
        kept = [path for path in self.home.rglob("*") if path.is_file()]
        self.assertTrue(any(b"a lighthouse" in path.read_bytes() for path in kept))  # the search would find what is stored
        for path in kept:
            self.assertNotIn(TOKEN.encode(), path.read_bytes(), path)

    def test_connections_are_limited_and_those_that_are_there_go_on(self):
        daemon = self.daemon()
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]), resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        with contextlib.ExitStack() as open_ones:
            def connect():
                return open_ones.enter_context(socket.create_connection(("127.0.0.1", daemon.port), timeout=20))
            question = f"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1:{daemon.port}\r\n\r\n".encode()
            first = connect()
            for _ in range(CONNECTIONS_MAX - 1):
                connect()
            beyond = connect()
            try:
                beyond.sendall(question)
                refused = beyond.recv(4096)
            except ConnectionError:
                refused = b""
            self.assertEqual(refused, b"")
            first.sendall(question)
            self.assertTrue(first.recv(4096).startswith(b"HTTP/1.1 200"))
        # And once they have gone, everybody is let in again.
        for _ in range(200):
            try:
                status = daemon.get("/api/health")[0]
                break
            except (ConnectionError, http.client.HTTPException):
                continue
        self.assertEqual(status, 200)

    def test_streams_are_limited(self):
        daemon = self.daemon()
        with contextlib.ExitStack() as open_ones:
            statuses = []
            for _ in range(STREAMS_MAX + 1):
                connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
                connection.request("GET", "/api/events")
                answer = connection.getresponse()
                open_ones.callback(connection.close)
                open_ones.callback(answer.close)  # until then it holds the connection
                statuses.append(answer.status)
            self.assertEqual(statuses, [200] * STREAMS_MAX + [429])
            self.assertEqual(daemon.get("/api/health")[0], 200)

    def test_a_line_and_a_header_may_be_only_so_long(self):
        daemon = self.daemon()
        self.refused(daemon, 414, "GET", "/api/history?text=" + "x" * 9_000)
        self.refused(daemon, 431, "GET", "/api/health", X_Long="x" * 40_000)

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
