# SPDX-License-Identifier: Apache-2.0
"""Where the gateway listens: by flag, variable and file; off; on a busy port; in front of itself; in front of the simulated ComfyUI."""
import http.client
import json
import signal
import socket
import time
import unittest

from wire import OK, FunctionalTest, Peer, Upstream, says

from daemon import Daemon
from support import text_to_image


class Listen(FunctionalTest):
    def daemon(self, *flags, **env):
        daemon = Daemon(self.home, *flags, **env)
        self.addCleanup(daemon.stop)
        return daemon

    def upstream(self):
        upstream = Upstream()
        self.addCleanup(upstream.stop)
        upstream.routes["/queue"] = says(OK)
        return upstream

    def ask(self, port):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as end:
            return Peer(end).send(b"GET /queue HTTP/1.1\r\nHost: x\r\n\r\n").answer()[0]

    def test_the_file_the_variable_and_the_flag_say_where(self):
        url = f"http://127.0.0.1:{self.upstream().port}"
        (self.home / "plimsoll.toml").write_text('gateway_listen = "off"\n')
        self.assertIsNone(self.daemon("--upstream", url, PLIMSOLL_GATEWAY_LISTEN="").start["gatewayPort"])
        for daemon in (self.daemon("--upstream", url, PLIMSOLL_GATEWAY_LISTEN="127.0.0.1:0"),
                       self.daemon("--upstream", url, "--gateway-listen", "127.0.0.1:0", PLIMSOLL_GATEWAY_LISTEN="")):
            self.assertEqual(daemon.start["gatewayUrl"], f"http://127.0.0.1:{daemon.start['gatewayPort']}")
            self.assertEqual(self.ask(daemon.start["gatewayPort"]), 200)

    def test_a_busy_port_is_said_and_the_daemon_goes_on(self):
        with socket.create_server(("127.0.0.1", 0)) as busy:
            port = busy.getsockname()[1]
            daemon = self.daemon("--upstream", "http://127.0.0.1:1", "--gateway-listen", f"127.0.0.1:{port}")
            self.assertIsNone(daemon.start["gatewayPort"])
            self.assertEqual(daemon.get("/api/health")[0], 200)
            daemon.stop()
        warning = next(event for event in daemon.events if event["event"] == "warning" and event["code"] == "gateway")
        self.assertIn(f"cannot listen on 127.0.0.1:{port}", warning["message"])
        self.assertIn("--gateway-listen", warning["message"])

    def test_it_does_not_stand_in_front_of_itself(self):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        daemon = self.daemon("--upstream", f"http://127.0.0.1:{port}", "--gateway-listen", f"127.0.0.1:{port}")
        daemon.stop()
        self.assertIn("both", next(event for event in daemon.events if event.get("code") == "gateway")["message"])

    def test_a_bad_address_is_refused(self):
        _, error = self.run_plimsoll("serve", "--gateway-listen", "everywhere", code=2)
        self.assertIn("--gateway-listen", error)

    def test_a_reload_follows_comfyui(self):
        first, second = self.upstream(), self.upstream()
        second.routes["/queue"] = says(OK.replace(b"200 OK", b"201 Made"))
        config = self.home / "plimsoll.toml"
        config.write_text(f'comfyui_server_url = "http://127.0.0.1:{first.port}"\n')
        daemon = self.daemon()
        self.assertEqual(self.ask(daemon.start["gatewayPort"]), 200)
        config.write_text(f'comfyui_server_url = "http://127.0.0.1:{second.port}"\n')
        daemon.process.send_signal(signal.SIGHUP)
        while self.ask(daemon.start["gatewayPort"]) != 201:
            self.assertIsNone(daemon.process.poll())
            time.sleep(0.02)  # the daemon looks for signals twenty times a second

    def test_a_job_runs_on_the_simulated_comfyui_through_it(self):
        daemon = self.daemon("--simulate", "--card", "rtx3050-6gb", "--speed", "0")
        connection = http.client.HTTPConnection("127.0.0.1", daemon.start["gatewayPort"], timeout=60)
        self.addCleanup(connection.close)

        def ask(method, path, body=None):
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        status, body = ask("POST", "/api/prompt", json.dumps({"prompt": text_to_image(512, 512), "client_id": "me"}))
        self.assertEqual(status, 200, body)
        prompt_id = json.loads(body)["prompt_id"]
        while not (history := json.loads(ask("GET", f"/history/{prompt_id}")[1])):
            queue = json.loads(ask("GET", "/queue")[1])
            if not queue["queue_running"] + queue["queue_pending"]:  # no moment in which it is in neither
                self.assertTrue(json.loads(ask("GET", f"/history/{prompt_id}")[1]))
        image = history[prompt_id]["outputs"]["9"]["images"][0]
        status, body = ask("GET", f"/view?filename={image['filename']}&type={image['type']}")
        self.assertEqual((status, body[:4]), (200, b"\x89PNG"))


if __name__ == "__main__":
    unittest.main()
