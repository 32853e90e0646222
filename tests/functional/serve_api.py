# SPDX-License-Identifier: Apache-2.0
"""The daemon as a client meets it: questions, a job from request to picture, history, presets, events, metrics."""
import json
import unittest

from daemon import Daemon
from support import FunctionalTest, text_to_image

SDXL = {"model": "sdxl-base", "width": 1024, "height": 1024, "steps": 12}


class Serve(FunctionalTest):
    def daemon(self, *flags, speed=0, **env):
        daemon = Daemon(self.home, "--simulate", "--card", "rtx3050-6gb", "--speed", speed, *flags, **env)
        self.addCleanup(daemon.stop)
        return daemon

    def test_answers_are_those_of_the_command_line(self):
        daemon = self.daemon()
        for command, path in (("forecast", "/api/forecast"), ("plan", "/api/plan")):
            status, answer = daemon.post(path, {**SDXL, "card": "rtx3050-6gb"})
            self.assertEqual(status, 200, answer)
            said = self.run_json(command, "--model", "sdxl-base", "--width", 1024, "--height", 1024, "--steps", 12, "--card", "rtx3050-6gb", code=None)
            one, other = (answer["plan"]["before"], said["plan"]["before"]) if "plan" in answer else (answer, said)
            # A plan's verdict may differ: the simulated server is the daemon's own, so its flags can be set.
            for field in ("peakBytes", "floorBytes", "seconds"):
                if field in other:
                    self.assertEqual(one[field], other[field], f"{command} {field}")
        status, answer = daemon.post("/api/largest", {"workflow": text_to_image(), "knob": "tile", "card": "rtx3050-6gb"})
        self.assertEqual(status, 200, answer)
        self.assertGreaterEqual(answer["value"], 192)

    def test_sizes_of_inputs_are_taken_and_never_read_from_files(self):
        daemon = self.daemon()
        graph = text_to_image()
        graph["5"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["10", 0], "vae": ["4", 2]}}
        graph["10"] = {"class_type": "LoadImage", "inputs": {"image": "photo.png"}}
        assumed = daemon.post("/api/forecast", {"workflow": graph})[1]
        status, small = daemon.post("/api/forecast", {"workflow": graph, "inputs": {"photo.png": "512x512"}})
        self.assertEqual(status, 200, small)
        self.assertLess(small["floorBytes"], assumed["floorBytes"])
        for wrong in ("/etc/hostname", "512", "0x512", ""):
            status, answer = daemon.post("/api/forecast", {"workflow": graph, "inputs": {"photo.png": wrong}})
            self.assertEqual((status, answer["error"]["details"]["field"]), (400, "inputs"), wrong)

    def test_a_job_goes_from_request_to_picture_and_into_the_history(self):
        daemon = self.daemon()
        status, job = daemon.post("/api/generate", {**SDXL, "prompt": "a lighthouse", "seed": 7})
        self.assertEqual(status, 202, job)
        done = daemon.wait_for_job(job["jobId"])
        self.assertEqual(done["state"], "done", done)
        self.assertLessEqual(done["observedPeakBytes"], done["loadLineBytes"])
        status, headers, picture = daemon.ask("GET", done["images"][0])
        self.assertEqual((status, headers["Content-Type"]), (200, "image/png"))
        self.assertEqual(picture[:8], b"\x89PNG\r\n\x1a\n")
        status, history = daemon.get("/api/history")
        self.assertEqual([run["runId"] for run in history["runs"]], done["runIds"])
        self.assertEqual(daemon.get("/api/stats")[1]["total"]["done"], 1)
        metrics = daemon.ask("GET", "/metrics")[2].decode()
        self.assertIn('plimsoll_jobs_total{outcome="done"} 1', metrics)

    def test_the_stream_goes_on_where_it_was(self):
        daemon = self.daemon()
        daemon.wait_for_job(daemon.post("/api/generate", {**SDXL, "prompt": "one", "seed": 1})[1]["jobId"])
        stream = daemon.stream()
        seen = next(stream)[0]
        second = daemon.post("/api/generate", {**SDXL, "prompt": "two", "seed": 2})[1]["jobId"]
        daemon.wait_for_job(second)
        stream.close()
        # A stream that comes back is told all that it missed, in order, and nothing twice.
        ids, states = [], []
        for event_id, event, data in daemon.stream(headers={"Last-Event-ID": seen}):
            self.assertNotEqual(event, "reset")
            ids.append(event_id)
            if event == "job" and data["jobId"] == second:
                states.append(data["state"])
                if data["endedMs"] is not None:
                    break
        self.assertEqual(states[0], "queued")
        self.assertEqual(states[-1], "done")
        self.assertEqual(len(ids), len(set(ids)))
        # An id of another life of the daemon begins anew and says so.
        first = next(daemon.stream(headers={"Last-Event-ID": "00000000-5"}))
        self.assertEqual(first[1], "reset")

    def test_a_waiting_job_is_cancelled_and_a_running_one_stops(self):
        daemon = self.daemon(speed=20)
        first = daemon.post("/api/generate", {**SDXL, "prompt": "one", "steps": 50})[1]["jobId"]
        second = daemon.post("/api/generate", {**SDXL, "prompt": "two"})[1]["jobId"]
        for job_id in (second, first):
            status, _, body = daemon.ask("DELETE", f"/api/jobs/{job_id}")
            self.assertIn(status, (200, 202), body)
        self.assertEqual(daemon.wait_for_job(first)["state"], "cancelled")
        self.assertEqual(daemon.wait_for_job(second)["state"], "cancelled")

    def test_presets_are_kept(self):
        daemon = self.daemon()
        status, _, body = daemon.ask("PUT", "/api/presets/portrait", SDXL)
        self.assertIn(status, (200, 201), body)
        self.assertEqual(daemon.get("/api/presets/portrait")[0], 200)
        daemon.stop()
        daemon = self.daemon()
        self.assertEqual([preset["name"] for preset in daemon.get("/api/presets")[1]["presets"]], ["portrait"])
        self.assertIn(daemon.ask("DELETE", "/api/presets/portrait")[0], (200, 204))
        self.assertEqual(daemon.get("/api/presets/portrait")[0], 404)

    def test_every_route_of_the_contract_is_there(self):
        daemon = self.daemon()
        _, contract = daemon.get("/openapi.json")
        for path, methods in contract["paths"].items():
            for method in methods:
                if method not in ("get", "put", "post", "delete") or path == "/api/events":
                    continue
                status, _, body = daemon.ask(method.upper(), path.replace("{", "").replace("}", ""), b"{}" if method in ("put", "post") else None,
                                             headers={"Content-Type": "application/json"})
                self.assertNotIn(status, (405, 500, 501), f"{method} {path}")
                if status >= 400:
                    error = json.loads(body)["error"]
                    self.assertNotIn("no such path", error["message"], f"{method} {path}")


if __name__ == "__main__":
    unittest.main()
