# SPDX-License-Identifier: Apache-2.0
"""As a service: systemd is told how the daemon stands, the unit file is sound, and logs are one JSON object a line."""
import json
import shutil
import signal
import socket
import subprocess
import unittest

import support
from daemon import Daemon
from support import FunctionalTest

SECRET = "0123456789abcdef-secret"
PROMPT = "a prompt that nobody\nshall find in a log"


class Service(FunctionalTest):
    def daemon(self, *flags, speed=0, **options):
        daemon = Daemon(self.home, "--simulate", "--card", "rtx3050-6gb", "--speed", speed, *flags, **options)
        self.addCleanup(daemon.stop)
        return daemon

    def test_systemd_is_told_each_change(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(self.home / "notify"))
            manager.settimeout(30)
            daemon = self.daemon(NOTIFY_SOCKET=self.home / "notify")
            self.assertEqual(manager.recv(4096), b"READY=1")
            daemon.process.send_signal(signal.SIGHUP)
            self.assertRegex(manager.recv(4096).decode(), r"^RELOADING=1\nMONOTONIC_USEC=\d+$")
            self.assertEqual(manager.recv(4096), b"READY=1")
            # A configuration that cannot be used is no reason to stay in reloading.
            (self.home / "plimsoll.toml").write_text("max_vram_mb = many\n")
            daemon.process.send_signal(signal.SIGHUP)
            self.assertTrue(manager.recv(4096).startswith(b"RELOADING=1"))
            self.assertEqual(manager.recv(4096), b"READY=1")
            self.assertEqual(daemon.stop(), 0)
            self.assertEqual(manager.recv(4096), b"STOPPING=1")

    def test_of_the_abstract_kind_too_and_one_that_is_not_there_is_no_reason_to_stay_away(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            name = f"plimsoll-test-{self.home.name}"
            manager.bind("\0" + name)
            manager.settimeout(30)
            self.daemon(NOTIFY_SOCKET="@" + name)
            self.assertEqual(manager.recv(4096), b"READY=1")
        for nowhere in (self.home / "nobody", "/" + "x" * 300):
            daemon = self.daemon(NOTIFY_SOCKET=nowhere)
            self.assertEqual(daemon.get("/api/health")[0], 200)
            self.assertEqual(daemon.stop(), 0)
            self.assertIn("warning", [event["event"] for event in daemon.events])

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
    def test_the_unit_file_is_sound(self):
        # Where the program is belongs to the machine that it is installed on.
        unit = (support.SOURCE / "packaging/plimsoll.service").read_text().replace("/usr/local/bin/plimsoll", support.BINARY)
        copy = self.home / "plimsoll.service"
        copy.write_text(unit)
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60, check=False)
        said = [line for line in (done.stdout + done.stderr).splitlines() if "plimsoll.service" in line]
        self.assertEqual(said, [])

    def test_logs_are_one_json_object_a_line(self):
        daemon = self.daemon("--log-level", "debug", PLIMSOLL_TOKEN=SECRET)
        bearer = {"Authorization": "Bearer " + SECRET}
        _, _, body = daemon.ask("POST", "/api/generate", {"model": "sdxl-base", "width": 512, "height": 512, "steps": 8, "prompt": PROMPT},
                                headers=bearer)
        job_id = json.loads(body)["jobId"]
        for path in ("/api/health", "/api/history?text=%22%0A", "/api/none%0A%22"):
            daemon.ask("GET", path, headers=bearer)
        state = ""
        for _, event, data in daemon.stream(headers=bearer):
            state = data["state"] if event == "job" and data["jobId"] == job_id else state
            if state == "done":
                break
        daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual(daemon.process.wait(30), 0)
        error = daemon.process.stderr.read()
        daemon.stop()
        # Standard output has the events (every line was parsed as it came), standard error the log.
        kinds = [event["event"] for event in daemon.events]
        self.assertEqual((kinds[0], kinds[-1]), ("listening", "stopping"))
        self.assertEqual([event["state"] for event in daemon.events if event["event"] == "job"], ["queued", "running", "done"])
        self.assertTrue(all(isinstance(event["atMs"], int) for event in daemon.events))
        lines = error.splitlines()
        self.assertGreaterEqual(len(lines), 4)
        for line in lines:
            entry = json.loads(line)
            self.assertEqual(sorted(entry), ["level", "message", "time"])
        everything = error + json.dumps(daemon.events)
        for hidden in (SECRET, "nobody", "%0A"):
            self.assertNotIn(hidden, everything)

    def test_as_text_an_event_is_a_line_too(self):
        process = self.start_plimsoll("serve", "--simulate", "--speed", "0", "--listen", "127.0.0.1:0")
        self.assertRegex(process.stdout.readline(), r"^\d\d:\d\d:\d\d plimsoll \S+ at http://127.0.0.1:\d+; a simulated rtx3050-6gb; its clients may come to http://127.0.0.1:\d+; Ctrl-C stops it$")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
        self.assertRegex(out, r"^\d\d:\d\d:\d\d stopping: answers end, jobs are kept\n$")


if __name__ == "__main__":
    unittest.main()
