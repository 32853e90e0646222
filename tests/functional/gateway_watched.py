# SPDX-License-Identifier: Apache-2.0
"""A job whose memory is not as forecast, and a card that gets too hot under one: each is said within five steps, to the page, to
`plimsoll gateway` and to `plimsoll top`, and acted upon where the policy allows it. The card's time is granted step by step where
steps are counted, so that a slow machine sees the same."""
import re
import threading
import unittest

from cli_top import Top
from guarded import GuardedComfyUi, Socket, graph, new_id, wait_until
from support import FunctionalTest

SPEED = 20
MIB = 1 << 20
LINE = 5120 * 0.85 * MIB


class Listener:
    """A client's socket, read all the time."""

    def __init__(self, port, client_id):
        self.socket, self.messages = Socket(port, client_id), []
        self.thread = threading.Thread(target=self._listen)
        self.thread.start()

    def _listen(self):
        try:
            while True:
                self.messages.append(self.socket.message())
        except OSError:
            pass  # it was closed

    def steps(self):
        """Progress messages of the sampler, all tries."""
        return sum(message["type"] == "progress" and message["data"]["node"] == "3" for message in list(self.messages))

    def types(self):
        return {message["type"] for message in list(self.messages)}

    def close(self):
        self.socket.cut()
        self.thread.join()
        self.socket.close()


class Watched(FunctionalTest):
    def guarded(self, *flags, speed=SPEED, comfyui="--reserve-vram 2.0", **options):
        pictures = self.home / "pictures"
        pictures.mkdir()
        guarded = GuardedComfyUi(self.home, *flags, speed=speed, simulator_flags=("--output-dir", str(pictures), "--comfyui-flags", comfyui),
                                 **options)
        self.addCleanup(guarded.stop)
        self.listener = Listener(guarded.gateway_port, "client")
        self.addCleanup(self.listener.close)
        self.most, self.ended = 0, threading.Event()
        # Nobody is held to the line of a card that is not known yet.
        guarded.celsius()
        return guarded

    def watch_line(self, guarded):
        """The most that is allocated from now on, at every moment."""
        def look():
            while not self.ended.wait(0.02):
                self.most = max(self.most, guarded.card_itself()["active_bytes"])
        thread = threading.Thread(target=look)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.ended.set)

    def post(self, guarded, headers=None, **settings):
        prompt_id = new_id()
        made = graph(**settings)
        made["9"]["inputs"]["filename_prefix"] = prompt_id
        status, answer = guarded.prompt(made, prompt_id, headers=headers)
        self.assertEqual(status, 200, answer)
        return prompt_id

    def told(self, guarded, code, seconds=60):
        return wait_until(lambda: guarded.told(code), seconds, f"{code} was not said: {guarded.lines()[-5:]}")[0]

    def first_step(self, guarded):
        """Lets time pass to somewhere within the second step, where it stands still."""
        self.next_step(guarded, piece=2)

    def next_step(self, guarded, piece=1):
        before = self.listener.steps()
        while self.listener.steps() == before:
            until = guarded.card_itself()["simulated_seconds"] + piece - 1e-6
            guarded.grant(piece)
            wait_until(lambda: self.listener.steps() > before or guarded.card_itself()["simulated_seconds"] >= until)
        # The guard has seen what this step takes.
        wait_until(lambda: self.seen_bytes(guarded) == guarded.card_itself()["active_bytes"], what="the card was not looked at")

    @staticmethod
    def seen_bytes(guarded):
        """What was allocated when the daemon looked last."""
        text = guarded.daemon.ask("GET", "/metrics")[2].decode()
        return int(re.search(r"^plimsoll_gpu_memory_allocated_bytes\S* (\d+)$", text, re.M).group(1))

    def finish(self, guarded, prompt_id):
        wait_until(lambda: guarded.held(prompt_id)["state"] == "done", what=f"{prompt_id}: {guarded.gateway()['jobs']}, {guarded.lines()[-6:]}")
        self.assertEqual(guarded.outcome(prompt_id), "success")
        self.assertEqual(len(list((self.home / "pictures").glob(f"{prompt_id}_*"))), 1)
        self.assertFalse(self.listener.types() & {"execution_error", "execution_interrupted"}, "its client heard of a failure")

    def assert_said_everywhere(self, guarded, prompt_id, code):
        """On the stream that the page draws, on the page of the terminal, and beside the job."""
        sentence = guarded.told(code)[-1]["message"]
        for _, event, data in guarded.daemon.stream(headers={"Last-Event-ID": self.before}):
            if event == "warning" and data["code"] == code:
                self.assertEqual(data["jobId"], prompt_id)
                self.assertTrue(data["message"])
                break
        if prompt_id:
            self.assertIn(sentence, guarded.held(prompt_id)["events"])
        listed = self.run_plimsoll("gateway", "--url", f"http://127.0.0.1:{guarded.daemon.port}")
        words = sentence.split()[:5]
        self.assertIn(" ".join(words), " ".join(listed[0].split()))

    # --- drift -----------------------------------------------------------------------------------

    # A card of 24 GiB with a wide margin, whose line is at 5600 MiB, and no model stays where it is not used. Forecast: 3730 MiB for the
    # sampler, 5280 for the decode. Three tenths more activations than forecast are under the line in the sampler and far above it in the decode.
    WIDE = {"card": "rtx3090", "comfyui": "--disable-smart-memory", "MAX_VRAM_MB": "20000", "SAFETY_MARGIN": "0.72"}
    WIDE_LINE = 5600 * MIB
    DRIFTS = {"steps": 20, "width": 2048, "height": 2048, "checkpoint": "v1-5-pruned-emaonly.safetensors"}

    def test_a_drift_is_said_in_the_second_step_and_the_decode_never_goes_over_the_line(self):
        guarded = self.guarded(**self.WIDE)
        self.before = next(guarded.daemon.stream())[0]
        guarded.faults(drift=1.3)
        guarded.grant(0)
        self.watch_line(guarded)
        prompt_id = self.post(guarded, **self.DRIFTS)
        self.assertEqual(guarded.held(prompt_id)["edits"], [], "it fits as it is")
        self.first_step(guarded)
        self.assertIn("were forecast for this node", self.told(guarded, "job_drift")["message"])
        self.assertLessEqual(self.listener.steps(), 5)
        self.told(guarded, "job_stopped")
        self.assert_said_everywhere(guarded, prompt_id, "job_drift")
        guarded.grant()
        self.finish(guarded, prompt_id)
        self.ended.set()
        job = guarded.held(prompt_id)
        self.assertEqual((job["planLevel"], guarded.gateway()["counts"]["retried"], len(guarded.told("job_stopped"))), (1, 1, 1))
        self.assertIn("tile_vae", [edit["knob"] for edit in job["edits"]])
        self.assertGreaterEqual(guarded.gateway()["counts"]["freed"], 1)
        self.assertLessEqual(self.most, self.WIDE_LINE)

    def test_under_advise_a_drift_is_said_and_the_decode_goes_over_the_line(self):
        guarded = self.guarded("--policy", "advise", **self.WIDE)
        guarded.faults(drift=1.3)
        self.watch_line(guarded)
        prompt_id = self.post(guarded, **self.DRIFTS)
        self.told(guarded, "job_drift")
        self.finish(guarded, prompt_id)
        self.ended.set()
        self.assertEqual((guarded.gateway()["counts"]["retried"], guarded.told("job_stopped"), guarded.held(prompt_id)["edits"]), (0, [], []))
        # What the rule above keeps from happening.
        self.assertGreater(self.most, self.WIDE_LINE)

    # --- creep -----------------------------------------------------------------------------------

    def creep(self, guarded):
        guarded.faults(creep_at_progress=2, creep_bytes=80 * MIB)
        guarded.grant(0)
        self.watch_line(guarded)
        prompt_id = self.post(guarded, steps=25, width=1024, height=1024)
        self.first_step(guarded)
        while not guarded.told("job_creep") and self.listener.steps() < 20:
            self.next_step(guarded)
        self.assertIn("every step leaves more in memory", self.told(guarded, "job_creep", 1)["message"])
        # It creeps from the second step on.
        self.assertLessEqual(self.listener.steps(), 2 + 5)
        return prompt_id

    def test_a_creep_is_said_within_five_steps_and_the_job_is_drawn_on_a_freed_card(self):
        guarded = self.guarded()
        self.before = next(guarded.daemon.stream())[0]
        prompt_id = self.creep(guarded)
        self.told(guarded, "job_stopped")
        self.assert_said_everywhere(guarded, prompt_id, "job_creep")
        guarded.grant()
        self.finish(guarded, prompt_id)
        self.ended.set()
        job = guarded.held(prompt_id)
        # As it is: a smaller picture leaves as much behind.
        self.assertEqual((job["planLevel"], job["edits"], guarded.gateway()["counts"]["retried"]), (0, [], 1))
        self.assertEqual(guarded.card_itself()["left_behind_bytes"], 0)
        self.assertLessEqual(self.most, LINE)

    def test_under_advise_a_creep_is_only_said(self):
        guarded = self.guarded("--policy", "advise")
        prompt_id = self.creep(guarded)
        guarded.grant()
        self.finish(guarded, prompt_id)
        self.ended.set()
        self.assertEqual((guarded.gateway()["counts"]["retried"], guarded.told("job_stopped")), (0, []))
        self.assertGreater(self.most, LINE)

    # --- heat ------------------------------------------------------------------------------------

    def test_a_card_that_overheats_under_a_job_is_left_to_cool_before_it_comes_back(self):
        guarded = self.guarded(speed=45)
        self.before = next(guarded.daemon.stream())[0]
        top = Top(self.home, "--url", f"http://127.0.0.1:{guarded.daemon.port}", columns=120, rows=40)
        self.addCleanup(top.close)
        guarded.faults(overheat_at_progress=5)
        running = self.post(guarded, steps=60, width=1024, height=1024)
        waiting = self.post(guarded, seed=2, steps=2)
        self.assertIn("°C", self.told(guarded, "heat_critical")["message"])
        self.assertIn("too hot", self.told(guarded, "job_stopped")["message"])
        top.wait_for("too hot")
        for prompt_id in (running, waiting):
            wait_until(lambda prompt_id=prompt_id: guarded.held(prompt_id)["waitsFor"] == "heat", what=f"{guarded.gateway()}")
            self.assertTrue(guarded.is_listed(prompt_id))
        limit = guarded.card_itself()["limit_c"]
        # Nothing is sent while it is hot, nor when it is a little cooler.
        while guarded.gateway()["heat"] in ("hot", "critical"):
            self.assertFalse(any(guarded.ask_comfyui("GET", "/queue")[1].values()))
            celsius = guarded.card_itself()["temperature_c"]
            self.ended.wait(0.02)
        self.assertLess(celsius, limit - 1 - 7)  # HOT is a degree below it, and ends eight below that
        self.finish(guarded, running)
        self.finish(guarded, waiting)
        self.assertEqual(len(guarded.told("job_stopped")), 1)
        stopped = [run for run in guarded.daemon.get("/api/history?limit=50")[1]["runs"] if run["outcome"] == "cancelled"]
        self.assertEqual([(run["observedSeconds"], run["observedPeakBytes"]) for run in stopped], [(None, None)])

    def test_under_advise_a_card_that_overheats_is_said_and_the_job_goes_on(self):
        guarded = self.guarded("--policy", "advise", speed=45)
        guarded.faults(overheat_at_progress=5)
        prompt_id = self.post(guarded, steps=60, width=1024, height=1024)
        self.told(guarded, "heat_critical")
        self.finish(guarded, prompt_id)
        self.assertEqual(guarded.told("job_stopped"), [])

    def test_what_is_only_observed_is_not_touched_by_heat(self):
        guarded = self.guarded(speed=45)
        guarded.faults(overheat_at_progress=5)
        prompt_id = self.post(guarded, headers={"X-Plimsoll-Policy": "observe"}, steps=60, width=1024, height=1024)
        self.told(guarded, "heat_critical")
        wait_until(lambda: guarded.outcome(prompt_id))
        self.assertEqual(guarded.outcome(prompt_id), "success")
        self.assertEqual(guarded.told("job_stopped"), [])

    def test_a_run_on_a_card_that_slowed_itself_down_is_marked_and_teaches_nothing(self):
        guarded = self.guarded(speed=45)
        # Above where the clock falls, below where a job is interrupted.
        guarded.faults(overheat_at_progress=5, overheat_c=85)
        prompt_id = self.post(guarded, steps=100, width=1024, height=1024)
        self.told(guarded, "heat_hot")
        self.finish(guarded, prompt_id)
        self.assertEqual((guarded.told("heat_critical"), guarded.told("job_stopped")), ([], []))
        run = guarded.run_of(prompt_id)
        self.assertEqual((run["outcome"], run["observedSeconds"], run["observedPeakBytes"]), ("done", None, None))
        kept = guarded.daemon.get(f"/api/history/{run['runId']}")[1]
        self.assertIn("slowed itself down", str(kept))


if __name__ == "__main__":
    unittest.main()
