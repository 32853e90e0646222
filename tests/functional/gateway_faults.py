# SPDX-License-Identifier: Apache-2.0
"""A job that goes wrong on the card: stall, heat, a full disk, ComfyUI killed in the decode. Each is said,
acted upon by the policy, and the job ends once. The card's time runs 45 times as fast as ours."""
import json
import unittest

from guarded import GuardedComfyUi, Socket, graph, new_id, wait_until
from support import FunctionalTest

SPEED = 45


class Faults(FunctionalTest):
    def guarded(self, *flags, speed=SPEED, **options):
        pictures = self.home / "pictures"
        pictures.mkdir()
        guarded = GuardedComfyUi(self.home, *flags, speed=speed, simulator_flags=("--output-dir", str(pictures), "--comfyui-flags", "--reserve-vram 2.0"),
                                 **options)
        self.addCleanup(guarded.stop)
        # What happens in a job is heard where its owner listens.
        self.listener = Socket(guarded.gateway_port, "client")
        self.addCleanup(self.listener.close)
        return guarded

    def pictures(self, prompt_id):
        return sorted((self.home / "pictures").glob(f"{prompt_id}_*"))

    def post(self, guarded, seed=1, **settings):
        prompt_id = new_id()
        made = graph(seed=seed, **settings)
        made["9"]["inputs"]["filename_prefix"] = prompt_id
        status, answer = guarded.prompt(made, prompt_id)
        self.assertEqual(status, 200, answer)
        return prompt_id

    def wait_told(self, guarded, code, seconds=60):
        return wait_until(lambda: guarded.told(code), seconds, f"{code} was not said: {guarded.lines()[-5:]}")

    def finish(self, guarded, prompt_id):
        wait_until(lambda: guarded.outcome(prompt_id) == "success", what=f"{prompt_id}: {guarded.gateway()['jobs']}, {guarded.lines()[-6:]}")
        wait_until(lambda: guarded.held(prompt_id)["state"] == "done")
        self.assertEqual(len(self.pictures(prompt_id)), 1)

    def test_a_stall_is_said_and_the_job_is_sent_again_once(self):
        guarded = self.guarded()
        guarded.faults(drag_at_progress=3, drag=60)
        prompt_id = self.post(guarded, steps=20, width=1024, height=1024)
        self.wait_told(guarded, "job_stall")
        guarded.faults()
        self.finish(guarded, prompt_id)
        self.assertEqual(guarded.gateway()["counts"]["retried"], 1)
        self.assertEqual(len(guarded.told("job_stopped")), 1)

    def test_a_spill_is_said_within_five_steps_and_the_job_is_sent_again_once(self):
        guarded = self.guarded()
        guarded.faults(spill_at_progress=2, spill_bytes=4 << 30, drag=8)
        prompt_id = self.post(guarded, steps=20, width=1024, height=1024)
        # Slow are the steps from the third on.
        self.listener.until(lambda message: guarded.told("job_spill") or message["type"] == "progress" and message["data"]["value"] > 2 + 5)
        self.assertEqual(len(guarded.told("job_spill")), 1, f"{guarded.lines()[-5:]}")
        self.assertGreater(guarded.ask_comfyui("GET", "/plimsoll/card")[1]["spilled_bytes"], 0)
        wait_until(lambda: guarded.told("job_stopped"), 15, f"it was not stopped: {guarded.held(prompt_id)}, {guarded.lines()[-6:]}")
        self.assertIn("steps take", guarded.told("job_stopped")[0]["message"])
        guarded.give_back()
        self.finish(guarded, prompt_id)
        self.assertEqual(len(guarded.told("job_stopped")), 1)
        self.assertEqual(guarded.gateway()["counts"]["retried"], 1)

    def test_under_advise_it_is_only_said(self):
        guarded = self.guarded("--policy", "advise")
        guarded.faults(drag_at_progress=3, drag=60)
        prompt_id = self.post(guarded, steps=6, width=1024, height=1024)
        self.wait_told(guarded, "job_stall")
        guarded.faults()
        self.finish(guarded, prompt_id)
        self.assertEqual(guarded.told("job_stopped"), [])
        self.assertEqual(guarded.gateway()["counts"]["retried"], 0)

    def test_heat_stops_a_job_at_the_last_holds_the_next_and_teaches_nothing(self):
        guarded = self.guarded()
        running = self.post(guarded, steps=150, width=1024, height=1024)
        waiting = self.post(guarded, seed=2, steps=2)
        wait_until(lambda: guarded.held(running)["state"] == "running")
        self.assertGreater(guarded.celsius(), 20)
        guarded.faults(ambient_c=85)
        self.wait_told(guarded, "heat_critical")
        wait_until(lambda: guarded.told("job_stopped"))
        self.assertIn("too hot", guarded.told("job_stopped")[0]["message"])
        wait_until(lambda: guarded.held(waiting)["waitsFor"] == "heat", what=f"{guarded.held(waiting)}")
        self.assertIsNone(guarded.outcome(running))
        self.assertTrue(guarded.is_listed(running))
        guarded.faults(ambient_c=30)
        self.finish(guarded, running)
        self.finish(guarded, waiting)
        stopped = [run for run in guarded.daemon.get("/api/history?limit=50")[1]["runs"] if run["outcome"] == "cancelled"]
        self.assertEqual(len(stopped), 1)
        self.assertIsNone(stopped[0]["observedSeconds"])

    def test_a_target_temperature_holds_the_queue_below_the_cards_own(self):
        guarded = self.guarded(PLIMSOLL_TARGET_CELSIUS="55")
        running = self.post(guarded, steps=60, width=1024, height=1024)
        waiting = self.post(guarded, seed=2, steps=2)
        self.wait_told(guarded, "heat_hot")
        # What runs may end; what waits does so for the card to cool.
        self.finish(guarded, running)
        self.assertEqual(guarded.told("job_stopped"), [])
        self.finish(guarded, waiting)

    def test_a_full_disk_lets_prompts_through_untouched_and_says_so(self):
        guarded = self.guarded(speed=0)
        before = self.post(guarded)
        self.finish(guarded, before)
        guarded.limit_files(1024)
        prompt_id = new_id()
        made = graph(seed=12345678901234567890)
        made["9"]["inputs"]["filename_prefix"] = prompt_id
        body = json.dumps({"prompt": made, "client_id": "client", "prompt_id": prompt_id}).encode()
        self.assertEqual(guarded.ask("POST", "/prompt", body)[0], 200)
        wait_until(lambda: guarded.outcome(prompt_id) == "success")
        self.assertEqual(len(guarded.told("gateway_open")), 1)
        self.assertEqual(len(self.pictures(prompt_id)), 1)
        guarded.limit_files()
        after = self.post(guarded, seed=3)
        self.finish(guarded, after)
        self.assertEqual(len(guarded.told("gateway_open")), 1)

    def test_jobs_that_a_full_disk_does_not_take_are_sent_again_and_written_when_it_does(self):
        guarded = self.guarded()
        guarded.limit_files(1024)
        first = self.post(guarded, steps=60, width=1024, height=1024)
        second = self.post(guarded, seed=2)  # waits in ComfyUI, not here
        wait_until(lambda: len(guarded.told("gateway_open")) == 2)
        self.listener.until(lambda message: message["type"] == "progress" and message["data"]["value"] >= 2)
        guarded.kill_comfyui()
        guarded.limit_files()
        self.wait_told(guarded, "gateway_kept")
        # By now they survive the daemon, too.
        guarded.kill_daemon()
        guarded.start_daemon()
        guarded.start_comfyui()
        for prompt_id in (first, second):
            self.finish(guarded, prompt_id)

    def test_comfyui_killed_in_the_decode_draws_the_decode_alone_again(self):
        # The load line so that the decode comes near it, and so many steps that they take over a minute of the card's time.
        guarded = self.guarded(MAX_VRAM_MB="3800")
        guarded.celsius()  # until the card is known nothing is forecast
        prompt_id = self.post(guarded, steps=100)
        job = guarded.held(prompt_id)
        self.assertIn("save_latent", [edit["knob"] for edit in job["edits"]], job)
        heard = self.listener.until(lambda message: message["type"] == "executing" and message["data"]["node"] == "8")
        self.assertNotIn("plimsoll_latent", json.dumps([message for message in heard if message["type"] in ("executing", "executed")]))
        guarded.kill_comfyui()
        guarded.start_comfyui()
        self.finish(guarded, prompt_id)
        entry = guarded.ask_comfyui("GET", f"/history/{prompt_id}")[1][prompt_id]
        self.assertEqual(entry["prompt"][2]["plimsoll_latent"]["class_type"], "LoadLatent")
        # Its client sees what it asked for, and no node of ours among what was put out.
        self.assertEqual(list(guarded.ask("GET", f"/history/{prompt_id}")[1][prompt_id]["outputs"]), ["9"])
        self.assertEqual(list(guarded.ask("GET", "/history")[1][prompt_id]["outputs"]), ["9"])
        # Nobody will read that latent again, and the folder is on this machine.
        wait_until(lambda: not list((self.home / "pictures" / "plimsoll").iterdir()))
        self.assertEqual(guarded.told("latents_left"), [])


if __name__ == "__main__":
    unittest.main()
