# SPDX-License-Identifier: Apache-2.0
"""`plimsoll generate` against the simulated ComfyUI: the picture, the line in what is observed, and the opposite case."""
import json
import pathlib
import unittest

from support import FunctionalTest

DRAGON = ("generate", "cute dragon character", "--model", "sdxl-base")
SMALL = (*DRAGON, "--width", 512, "--height", 512, "--steps", 8)


class OnAServerOfTheUsers(FunctionalTest):
    def test_a_picture_is_saved_recorded_and_compared(self):
        simulator = self.simulator()
        answer = self.run_json(*SMALL, "--seed", 42, COMFYUI_PORT=simulator.port)
        self.assertEqual(answer["outcome"], "done")
        picture = pathlib.Path(answer["images"][0]).read_bytes()
        self.assertTrue(picture.startswith(b"\x89PNG\r\n\x1a\n"))
        self.assertIn(b"IEND", picture[-12:])
        run = self.run_json("history")["runs"][0]
        self.assertEqual(run["runId"], answer["runs"][0]["runId"])
        self.assertEqual(run["card"], "rtx3050-6gb")
        self.assertEqual(run["comfyuiVersion"], "0.3.64")
        self.assertGreater(run["forecastPeakBytes"], 0)
        self.assertGreater(run["observedPeakBytes"], 0)
        self.assertEqual(run["settings"]["seed"], "42")
        # The picture holds its workflow: it is a job again.
        again = self.run_json("forecast", answer["images"][0], "--card", "rtx3050-6gb")
        self.assertEqual(again["family"], "sdxl")

    def test_the_same_seed_draws_the_same_picture_and_another_another(self):
        simulator = self.simulator()

        def draw(seed):
            answer = self.run_json(*SMALL, "--seed", seed, "--batch", 1, COMFYUI_PORT=simulator.port)
            return pathlib.Path(answer["images"][0]).read_bytes()
        first = draw(1)
        self.assertNotEqual(first, draw(2))

    def test_the_servers_flag_stays_advice_and_the_workflow_runs_as_it_is(self):
        simulator = self.simulator()
        answer = self.run_json(*DRAGON, "--steps", 8, COMFYUI_PORT=simulator.port)
        self.assertEqual(answer["plan"]["verdict"], "fits_parked")
        self.assertEqual(answer["runs"][0]["changes"], [])
        self.assertEqual(answer["outcome"], "done")

    def test_a_workflow_of_the_users_own_is_run(self):
        simulator = self.simulator()
        drawn = self.run_json(*SMALL, "--seed", 3, COMFYUI_PORT=simulator.port)
        answer = self.run_json("generate", "--workflow", drawn["images"][0], COMFYUI_PORT=simulator.port)
        self.assertEqual(answer["outcome"], "done")
        self.assertEqual(answer["runs"][0]["settings"]["steps"], 8)
        self.assertIn("dragon", answer["runs"][0]["prompt"])

    def test_a_batch_gives_that_many_pictures(self):
        simulator = self.simulator()
        answer = self.run_json(*SMALL, "--batch", 3, COMFYUI_PORT=simulator.port)
        self.assertEqual(len(set(answer["images"])), 3)

    def test_a_preset_is_used_and_flags_go_over_it(self):
        simulator = self.simulator()
        self.run_plimsoll("presets", "save", "small", "--model", "sdxl-base", "--width", 512, "--height", 640, "--steps", 8)
        answer = self.run_json("generate", "a boat", "--preset", "small", "--height", 512, COMFYUI_PORT=simulator.port)
        settings = answer["runs"][0]["settings"]
        self.assertEqual((settings["width"], settings["height"], settings["steps"]), (512, 512, 8))

    def test_without_a_terminal_each_phase_is_one_line(self):
        simulator = self.simulator(speed=60)
        out, _ = self.run_plimsoll(*SMALL, COMFYUI_PORT=simulator.port)
        self.assertNotIn("\x1b", out)
        self.assertNotIn("\r", out)
        for words in ("forecast\n", "load line  4352 MiB", "plan: ", "running\n", "saved      ", " recorded in ", "observed MiB", "  sample  "):
            self.assertIn(words, out)
        for line in out.splitlines():
            if "saved" not in line and "recorded" not in line and not line.startswith(" " * 11):  # paths may be long
                self.assertLessEqual(len(line), 80, line)


class OnAServerOfOurs(FunctionalTest):
    def test_the_line_holds_in_what_is_observed(self):
        answer = self.run_json(*DRAGON, "--quality", "draft", "--simulate", "--card", "rtx3050-6gb", "--speed", 40)
        self.assertEqual(answer["outcome"], "done")
        self.assertEqual(answer["plan"]["verdict"], "fits_changed")
        run = answer["runs"][0]
        self.assertIn("reserve_vram", [change["knob"] for change in run["changes"]])
        self.assertLessEqual(run["forecastPeakBytes"], run["loadLineBytes"])
        self.assertLessEqual(run["observedPeakBytes"], run["loadLineBytes"])
        # It was not under the line by being idle.
        self.assertGreater(run["observedPeakBytes"], run["loadLineBytes"] // 2)
        self.assertEqual(run["card"], "rtx3050-6gb (simulated)")

    def test_without_the_plan_the_same_job_is_above_the_line(self):
        answer = self.run_json(*DRAGON, "--quality", "draft", "--simulate", "--speed", 40, "--run-anyway")
        run = answer["runs"][0]
        self.assertEqual(run["changes"], [])
        self.assertGreater(run["observedPeakBytes"], run["loadLineBytes"])

    def test_seconds_are_those_of_the_simulated_card(self):
        answer = self.run_json(*SMALL, "--simulate", "--speed", 20)
        run = answer["runs"][0]
        self.assertGreater(run["observedSeconds"], 0.3 * run["forecastSeconds"])
        self.assertLess(run["observedSeconds"], 3 * run["forecastSeconds"])
        timeless = self.run_json(*SMALL, "--simulate", "--speed", 0)["runs"][0]
        self.assertIsNone(timeless["observedSeconds"])

    def test_a_job_that_does_not_fit_is_changed_and_runs(self):
        changed = self.run_json(*DRAGON, "--width", 1536, "--height", 1536, "--batch", 4, "--quality", "draft", "--simulate", "--speed", 0)
        self.assertEqual(changed["outcome"], "done")
        self.assertEqual(changed["plan"]["before"]["verdict"], "will_not_fit")
        self.assertTrue(changed["plan"]["changes"])
        self.assertEqual(len(changed["images"]), 4)

    def test_run_anyway_a_large_decode_fills_the_card(self):
        answer = self.run_json(*DRAGON, "--width", 1536, "--height", 1536, "--batch", 4, "--quality", "draft", "--simulate", "--speed", 60,
                               "--run-anyway")
        run = answer["runs"][0]
        self.assertEqual((answer["outcome"], run["changes"]), ("done", []))
        self.assertEqual(run["observedUsedBytes"], run["cardTotalBytes"])

    def test_run_anyway_the_card_runs_out_of_memory(self):
        out, _ = self.run_plimsoll(*DRAGON, "--width", 1536, "--height", 1536, "--batch", 16, "--quality", "draft", "--simulate", "--speed", 0,
                                   "--run-anyway", "--json", code=1)
        anyway = json.loads(out)
        self.assertEqual(anyway["outcome"], "out_of_memory")
        self.assertIn("out of memory", anyway["why"])
        self.assertEqual(anyway["images"], [])
        self.assertEqual(self.run_json("history")["runs"][0]["outcome"], "out_of_memory")

    def test_what_no_change_can_save_is_not_submitted(self):
        out, _ = self.run_plimsoll(*DRAGON, "--simulate", "--speed", 0, "--max-vram-mb", 1024, "--pin", "size,width,height,vae,batch,steps",
                                   "--json", code=3)
        self.assertEqual(json.loads(out)["outcome"], "does_not_fit")
        self.assertEqual(self.run_json("history")["runs"], [])

    def test_cards_that_cannot_be_simulated_list_those_that_can(self):
        out, _ = self.run_plimsoll(*SMALL, "--simulate", "--card", "rtx3050-6g", "--json", code=1)
        self.assertIn("rtx3050-6gb", json.loads(out)["error"]["message"])


if __name__ == "__main__":
    unittest.main()
