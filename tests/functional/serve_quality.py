# SPDX-License-Identifier: Apache-2.0
"""Quality tests through the daemon: an answer with pictures, a kill in the middle, what cannot be."""
import json
import pathlib
import signal
import time
import unittest
import urllib.request
import uuid

from daemon import Daemon
from support import FunctionalTest

# One prompt of one's own, six blocks at most: some thirty pictures. 3d-cartoon draws at 512 x 512, which is quick to draw and measure.
ORDER = {"model": "3d-cartoon", "testType": "quick", "prompt": "a <toy> train", "seed": 11}
OVER = ("done", "cancelled", "failed")


class Quality(FunctionalTest):
    def comfyui(self, speed=0, port=0):
        """A simulated ComfyUI of its own, which outlives daemons."""
        process = self.start_plimsoll("simulate", "--port", port, "--speed", speed, "--card", "rtx3050-6gb", "--json")
        return json.loads(process.stdout.readline()), process

    def daemon(self, port):
        daemon = Daemon(self.home, COMFYUI_SERVER_URL="http://127.0.0.1", COMFYUI_PORT=str(port))
        self.addCleanup(daemon.stop)
        return daemon

    def begin(self, daemon, order=None):
        deadline = time.monotonic() + 60
        while True:  # the daemon may not have met ComfyUI yet
            status, answer = daemon.post("/api/quality-test", order or ORDER)
            if status == 202 or time.monotonic() > deadline:
                self.assertEqual(status, 202, answer)
                return answer

    def status(self, daemon, session):
        status, answer = daemon.get(f"/api/quality-test?sessionId={session}")
        self.assertEqual(status, 200, answer)
        return answer

    def until(self, daemon, session, met, seconds=150):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = self.status(daemon, session)
            if met(answer):
                return answer
        self.fail(f"not met in {seconds} s: {answer['state']} {answer['why']} {answer['drawn']} {answer['waitsFor']}")

    def prompts_drawn(self, url):
        with urllib.request.urlopen(url + "/history", timeout=10) as answer:
            return json.load(answer)

    def test_a_session_survives_kill_and_draws_nothing_twice(self):
        comfyui, _ = self.comfyui()
        daemon = self.daemon(comfyui["port"])
        begun = self.begin(daemon)
        session = begun["sessionId"]
        self.assertGreater(begun["imagesMax"], 10)
        self.assertGreater(begun["secondsMax"], 0)
        for at_least in (3, 9):
            self.until(daemon, session, lambda now, n=at_least: now["drawn"] >= n)
            daemon.stop(signal.SIGKILL)
            daemon = self.daemon(comfyui["port"])
        done = self.until(daemon, session, lambda now: now["state"] in OVER)
        self.assertEqual(done["state"], "done", done["why"])
        self.assertLessEqual(done["drawn"], begun["imagesMax"])
        # ComfyUI's own history is the witness: one prompt for each picture, no more.
        drawn = self.prompts_drawn(comfyui["url"])
        self.assertEqual(len(drawn), done["drawn"])
        answer = done["answer"]
        self.assertIsNotNone(answer["chosen"], answer["words"])
        self.assertIn(answer["grade"], "ABCD")
        chosen = done["candidates"][answer["chosen"]]
        reference = done["candidates"][done["reference"]]
        self.assertLessEqual(chosen["seconds"], reference["seconds"] * 1.2)
        # The simulated card draws noise into pictures of few steps: the lab sees it in the pixels.
        few = min((c for c in done["candidates"] if c["toReference"]), key=lambda c: c["setting"]["steps"], default=None)
        if few and few["setting"]["steps"] < reference["setting"]["steps"]:
            self.assertLess(few["toReference"]["points"], 0)
        picture = next(p for p in done["pictures"] if p["state"] == "drawn")
        status, headers, body = daemon.ask("GET", picture["imageUrl"])
        self.assertEqual((status, headers["Content-Type"]), (200, "image/png"))
        self.assertTrue(body.startswith(b"\x89PNG"))
        self.vote(daemon, session)
        self.look(daemon, session, done)
        self.votes_as_files(daemon, session)
        self.report(daemon, session)

    def look(self, daemon, session, done):
        """Small pictures, a map of what differs, and what was lost where."""
        shown = next(p for p in done["pictures"] if p["mapUrl"])
        status, headers, body = daemon.ask("GET", shown["imageUrl"] + "?side=128")
        self.assertEqual((status, headers["Content-Type"], body[:3]), (200, "image/jpeg", b"\xff\xd8\xff"))
        self.assertLess(len(body), 20_000)
        status, headers, body = daemon.ask("GET", shown["mapUrl"] + "?side=256")
        self.assertEqual((status, headers["Content-Type"]), (200, "image/png"))
        self.assertIn("max-age", headers["Cache-Control"])
        self.assertEqual(int.from_bytes(body[16:20]), 256)
        where = f"/api/quality-test/{session}"
        status, mark = daemon.get(f"{where}/marks/{shown['candidate']}/{shown['block']}")
        self.assertEqual(status, 200, mark)
        if mark["place"]:
            self.assertLessEqual(mark["place"]["x"] + mark["place"]["width"], mark["width"])
            self.assertIn(mark["defect"], mark["words"])
        self.assertEqual(daemon.get(f"{where}/maps/{done['reference']}/0")[0], 404)
        self.assertEqual(daemon.get(f"{where}/maps/0/99")[0], 404)
        self.assertEqual(daemon.get(f"{where}/images/0/0?side=7")[0], 400)
        answer = self.run_json("quality", "look", session, "--candidate", shown["candidate"], "--block", shown["block"])
        self.assertTrue(pathlib.Path(answer.pop("file")).is_file())
        self.assertEqual(answer, mark)

    def votes_as_files(self, daemon, session):
        where = f"/api/quality-test/{session}"
        status, listed = daemon.get(f"{where}/pairs?count=3")
        self.assertEqual((status, len(listed["pairs"])), (200, 3), listed)
        pairs = self.home / "pairs.json"
        self.assertEqual(self.run_json("quality", "pairs", session, "--count", 3, "--output", pairs)["pairs"], 3)
        judged = json.loads(pairs.read_text())
        for pair in judged["pairs"][:2]:
            self.assertTrue(pathlib.Path(pair["left"]["file"]).is_file())
            pair["preferred"] = "right"
        pairs.write_text(json.dumps(judged))
        for _ in range(2):
            answer = self.run_json("quality", "votes", session, "--import", pairs, "--output", self.home / "votes.json")
            self.assertEqual(answer["votes"], 3)
        kept = json.loads((self.home / "votes.json").read_text())
        self.assertEqual(daemon.get(f"{where}/ballots"), (200, kept))
        status, votes = daemon.post(f"{where}/ballots", {"ballots": kept["ballots"]})
        self.assertEqual((status, votes["votes"]), (200, 3))
        wrong = [{**kept["ballots"][0], "preferred": "both"}]
        self.assertEqual(daemon.post(f"{where}/ballots", {"ballots": wrong})[0], 400)
        self.assertEqual(daemon.post(f"{where}/ballots", {"ballots": []})[0], 400)

    def report(self, daemon, session):
        status, headers, body = daemon.ask("GET", f"/api/quality-test/{session}/report")
        self.assertEqual((status, headers["Content-Type"]), (200, "text/html; charset=utf-8"))
        self.assertIn("attachment", headers["Content-Disposition"])
        html = body.decode()
        self.assertIn("a &lt;toy&gt; train", html)
        self.assertGreater(html.count("data:image/jpeg;base64,"), 6)
        for never in ("<toy>", "<script", "http://", "https://", str(self.home)):
            self.assertNotIn(never, html)
        self.run_json("quality", "report", session, "--output", self.home / "report.html")
        self.assertEqual((self.home / "report.html").read_bytes(), body)

    def test_a_plan_is_told_before_anything_is_drawn(self):
        comfyui, _ = self.comfyui()
        daemon = self.daemon(comfyui["port"])
        begun = self.begin(daemon)
        status, plan = daemon.post("/api/quality-test/plan", ORDER)
        self.assertEqual(status, 200, plan)
        for key in ("imagesMax", "secondsMax", "secondsLimit", "marginPoints", "reference", "prompts"):
            self.assertEqual(plan[key], begun[key], key)
        self.assertEqual([c["setting"] for c in plan["candidates"]], [c["setting"] for c in begun["candidates"]])
        self.assertEqual(plan["peakBytesMax"], max(c["forecastPeakBytes"] for c in plan["candidates"] if not c["leftOut"]))
        self.assertEqual(len(daemon.get("/api/quality-sessions")[1]["sessions"]), 1)
        asked = ("quality", "quick", "--model", ORDER["model"], "--prompt", ORDER["prompt"], "--simulate", "--speed", 0, "--dry-run")
        self.assertEqual(self.run_json(*asked), plan)
        self.assertIn(f"at most {plan['imagesMax']} pictures", self.run_plimsoll(*asked)[0])
        self.assertEqual(len(self.run_json("quality", "status")["sessions"]), 1)
        self.assertEqual(daemon.post("/api/quality-test/plan", {**ORDER, "model": "no-such-model"})[0], 404)

    def vote(self, daemon, session):
        status, pair = daemon.get(f"/api/quality-test/{session}/pair")
        self.assertEqual(status, 200, pair)
        self.assertEqual(pair["left"]["block"], pair["right"]["block"])
        self.assertNotEqual(pair["left"]["candidate"], pair["right"]["candidate"])
        cells = {side: {key: pair[side][key] for key in ("candidate", "block")} for side in ("left", "right")}
        ballot = {**cells, "preferred": "left", "voteId": str(uuid.uuid4())}
        for _ in range(2):  # the same vote twice counts once
            status, votes = daemon.post(f"/api/quality-test/{session}/votes", ballot)
            self.assertEqual((status, votes["votes"], votes["isEnough"]), (200, 1, False))
        # The next one asks about another pair.
        self.assertNotEqual(daemon.get(f"/api/quality-test/{session}/pair")[1]["left"], pair["left"])
        wrong = {**ballot, "right": {"candidate": cells["left"]["candidate"], "block": cells["left"]["block"]}}
        self.assertEqual(daemon.post(f"/api/quality-test/{session}/votes", wrong)[0], 400)

    def test_pause_resume_cancel_and_two_at_once(self):
        comfyui, _ = self.comfyui()
        daemon = self.daemon(comfyui["port"])
        one = self.begin(daemon)["sessionId"]
        two = self.begin(daemon, {**ORDER, "seed": 12})["sessionId"]
        self.until(daemon, one, lambda now: now["drawn"] >= 1)
        self.assertEqual(daemon.post(f"/api/quality-test/{one}/pause", {})[0], 200)
        paused = self.until(daemon, one, lambda now: now["state"] == "paused")
        # The other has its turn while the first is paused.
        self.until(daemon, two, lambda now: now["drawn"] >= 2)
        self.assertEqual(self.status(daemon, one)["drawn"], paused["drawn"])
        self.assertEqual(daemon.post(f"/api/quality-test/{one}/pause", {})[0], 400)
        self.assertEqual(daemon.post(f"/api/quality-test/{two}/cancel", {})[0], 200)
        self.until(daemon, two, lambda now: now["state"] == "cancelled")
        self.assertEqual(daemon.post(f"/api/quality-test/{two}/resume", {})[0], 400)
        self.assertEqual(daemon.post(f"/api/quality-test/{one}/resume", {})[0], 200)
        self.until(daemon, one, lambda now: now["drawn"] > paused["drawn"])
        listed = daemon.get("/api/quality-sessions")[1]["sessions"]
        self.assertEqual({row["sessionId"] for row in listed}, {one, two})

    def test_comfyui_gone_in_the_middle_is_waited_for_and_nothing_is_lost(self):
        comfyui, process = self.comfyui()
        daemon = self.daemon(comfyui["port"])
        session = self.begin(daemon)["sessionId"]
        before = self.until(daemon, session, lambda now: now["drawn"] >= 2)
        process.send_signal(signal.SIGKILL)
        away = self.until(daemon, session, lambda now: now["state"] == "paused" or now["waitsFor"] == "ComfyUI", seconds=100)
        self.assertGreaterEqual(away["drawn"], before["drawn"])
        self.assertEqual(daemon.get("/api/health")[0], 200)
        # It is back, and remembers nothing: the session goes on by itself.
        self.comfyui(port=comfyui["port"])
        done = self.until(daemon, session, lambda now: now["state"] in OVER)
        self.assertEqual(done["state"], "done", done["why"])
        self.assertGreater(done["drawn"], away["drawn"])

    def test_what_cannot_be_is_told(self):
        comfyui, _ = self.comfyui()
        daemon = self.daemon(comfyui["port"])
        known = self.begin(daemon)["sessionId"]
        status, answer = daemon.get(f"/api/quality-test?sessionId={uuid.uuid4()}")
        self.assertEqual(status, 404)
        self.assertIn(known, json.dumps(answer["error"]["details"]))
        self.assertIn(known, answer["error"]["message"])
        self.assertEqual(daemon.get("/api/quality-test?sessionId=1")[0], 400)
        self.assertEqual(daemon.get("/api/quality-test")[0], 400)
        for body, status in (({"model": "sdxl-base"}, 400), ({**ORDER, "testType": "slow"}, 400), ({**ORDER, "speed": 1}, 400),
                             ({**ORDER, "model": "no-such-model"}, 404), ({**ORDER, "model": "gone.safetensors"}, 404),
                             ({**ORDER, "prompts": []}, 400), ({**ORDER, "minutes": 1}, 413)):
            found, answer = daemon.post("/api/quality-test", body)
            self.assertEqual(found, status, (body, answer))


if __name__ == "__main__":
    unittest.main()
