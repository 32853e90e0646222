# SPDX-License-Identifier: Apache-2.0
"""What a daemon keeps when it stops, when it is killed, and when its configuration changes."""
import signal
import unittest

from daemon import Daemon
from support import FunctionalTest

JOB = {"model": "sdxl-base", "width": 1024, "height": 1024, "steps": 40}


class Stop(FunctionalTest):
    def daemon(self, *flags, speed=5, **env):
        daemon = Daemon(self.home, "--simulate", "--card", "rtx3050-6gb", "--speed", speed, *flags, **env)
        self.addCleanup(daemon.stop)
        return daemon

    def running(self, daemon, job_id):
        for _, event, data in daemon.stream():
            if event == "job" and data["jobId"] == job_id and data["state"] == "running":
                return

    def test_jobs_that_wait_and_the_one_that_runs_go_on_after_a_stop(self):
        daemon = self.daemon()
        jobs = [daemon.post("/api/generate", {**JOB, "prompt": name, "seed": 3})[1]["jobId"] for name in ("one", "two", "three")]
        self.running(daemon, jobs[0])
        self.assertEqual(daemon.stop(), 0)
        again = self.daemon(speed=0)
        for job_id in jobs:
            self.assertEqual(again.wait_for_job(job_id)["state"], "done")
        runs = again.get("/api/history")[1]["runs"]
        self.assertEqual(sum(run["outcome"] == "done" for run in runs), 3)

    def test_after_a_kill_the_waiting_ones_go_on_and_none_is_run_twice(self):
        daemon = self.daemon()
        jobs = [daemon.post("/api/generate", {**JOB, "prompt": name, "seed": 3})[1]["jobId"] for name in ("one", "two")]
        self.running(daemon, jobs[0])
        daemon.stop(signal.SIGKILL)
        again = self.daemon(speed=0)
        self.assertEqual(again.wait_for_job(jobs[0])["state"], "lost")
        self.assertEqual(again.wait_for_job(jobs[1])["state"], "done")

    def test_a_hangup_reads_the_configuration_anew(self):
        config = self.home / "plimsoll.toml"
        config.write_text("max_vram_mb = 5120\n")
        daemon = self.daemon()
        first = next(data["loadLineBytes"] for _, event, data in daemon.stream() if event == "telemetry")
        config.write_text("max_vram_mb = 4096\n")
        daemon.process.send_signal(signal.SIGHUP)
        for _, _, data in daemon.stream():
            if data.get("loadLineBytes") not in (None, first):
                break
        self.assertAlmostEqual(daemon.get("/api/devices")[1]["devices"][0]["loadLineBytes"], first * 4 / 5, delta=1)
        # One that cannot be read leaves the old one.
        config.write_text("max_vram_mb = many\n")
        daemon.process.send_signal(signal.SIGHUP)
        self.assertEqual(daemon.get("/api/health")[0], 200)
        self.assertEqual(daemon.stop(), 0)
        self.assertIn("reloaded", [event["event"] for event in daemon.events])


if __name__ == "__main__":
    unittest.main()
