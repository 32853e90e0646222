# SPDX-License-Identifier: Apache-2.0
"""`plimsoll plan` and `plimsoll largest`: the least change with its price, pins stay, and how far a job can go."""
import json
import unittest

import support
from support import FunctionalTest

CARD = ("--card", "rtx3050-6gb")
TOO_BIG = ("--model", "sdxl-base", "--width", 1536, "--height", 1536, "--batch", 4)


class Plan(FunctionalTest):
    def test_each_change_has_a_price(self):
        answer = self.run_json("plan", *TOO_BIG, *CARD)
        self.assertTrue(answer["changes"])
        for change in answer["changes"] + answer["environment"]:
            self.assertIsInstance(change["savesBytes"], int)
            self.assertIsInstance(change["secondsDelta"], (int, float))
            self.assertTrue(change["what"])
            self.assertTrue(change["qualityWords"])
        self.assertEqual(answer["before"]["verdict"], "will_not_fit")
        self.assertTrue(answer["runAnyway"])
        self.assertTrue(answer["workflows"])

    def test_the_text_shows_every_change_with_gib_seconds_and_quality(self):
        out, _ = self.run_plimsoll("plan", *TOO_BIG, *CARD)
        for change in self.run_json("plan", *TOO_BIG, *CARD)["changes"]:
            self.assertIn(change["what"].split()[0], out)
            self.assertIn(f"{-change['savesBytes'] / 2**30:+.2f} GiB", out)
        self.assertIn("quality: ", out)
        self.assertIn("run anyway: ", out)
        for line in out.splitlines():
            self.assertLessEqual(len(line), 80, line)

    def test_the_servers_flag_is_advice_for_a_server_that_is_not_ours(self):
        answer = self.run_json("plan", "--model", "sdxl-base", *CARD)
        self.assertEqual(answer["verdict"], "fits_parked")
        self.assertEqual(answer["changes"], [])
        self.assertEqual([change["kind"] for change in answer["environment"]], ["reserve_vram"])
        self.assertTrue(answer["environment"][0]["needsRestart"])
        out, _ = self.run_plimsoll("plan", "--model", "sdxl-base", *CARD)
        self.assertIn("--reserve-vram", out)
        self.assertIn("is advice", out)

    def test_a_pinned_value_is_never_touched(self):
        free = self.run_json("plan", *TOO_BIG, *CARD)
        kinds = {change["kind"] for change in free["changes"]}
        self.assertIn("tile_vae", kinds)
        pinned = self.run_json("plan", *TOO_BIG, *CARD, "--pin", "vae,batch", code=None)
        self.assertFalse({"tile_vae", "split_batch"} & {change["kind"] for change in pinned["changes"]})
        self.assertIn("pinned", " ".join(pinned["refused"]))
        out, _ = self.run_plimsoll("plan", *TOO_BIG, *CARD, "--pin", "colour", "--json", code=2)
        self.assertIn("steps", json.loads(out)["error"]["message"])

    def test_nothing_fits_is_said_with_3(self):
        out, _ = self.run_plimsoll("plan", *TOO_BIG, *CARD, "--max-vram-mb", 1024, "--pin", "size,batch,vae,width,height", "--json", code=3)
        self.assertEqual(json.loads(out)["verdict"], "nothing_fits")

    def test_the_changed_workflow_keeps_every_other_byte(self):
        source = support.text_to_image_text(width=1536, height=1536, batch=1, seed=18446744073709551615)
        path = self.home / "job.json"
        path.write_text(source)
        out_path = self.home / "fits.json"
        self.run_plimsoll("plan", path, *CARD, "--output", out_path)
        written = out_path.read_text()
        self.assertIn("18446744073709551615", written)
        self.assertIn('"cfg":   5.0', written)  # spacing and 5.0 as in the source
        graph = json.loads(written)
        self.assertEqual(graph["8"]["class_type"], "VAEDecodeTiled")
        streamed, _ = self.run_plimsoll("plan", path, *CARD, "--output", "-")
        self.assertEqual(streamed, written)

    def test_a_split_batch_is_written_as_numbered_workflows(self):
        job = ("--model", "sdxl-base", "--width", 1024, "--height", 1024, "--batch", 40, *CARD, "--pin", "size", "--max-duration-min", 600)
        answer = self.run_json("plan", *job)
        runs = len(answer["workflows"])
        self.assertGreater(runs, 1)
        self.assertIn("split_batch", [change["kind"] for change in answer["changes"]])
        self.run_plimsoll("plan", *job, "--output", self.home / "part.json")
        written = [json.loads(path.read_text()) for path in sorted(self.home.glob("part.*.json"))]
        self.assertEqual(len(written), runs)
        lengths = [node["inputs"]["length"] for graph in written for node in graph.values() if node["class_type"] == "LatentFromBatch"]
        self.assertEqual(sum(lengths), 40)

    def test_an_output_that_cannot_be_written_is_an_error(self):
        _, err = self.run_plimsoll("plan", "--model", "sdxl-base", *CARD, "--output", "/proc/nowhere/x.json", code=1)
        self.assertIn("/proc/nowhere/x.json", err)


class Largest(FunctionalTest):
    def test_the_next_value_fails_and_the_named_one_fits(self):
        for knob, step in (("width", 8), ("height", 8), ("batch", 1)):
            answer = self.run_json("largest", knob, "--model", "sdxl-base", *CARD)
            self.assertEqual(answer["knob"], knob)
            self.assertGreaterEqual(answer["value"], 1)
            self.assertEqual(answer["value"] % step, 0)
            self.assertTrue(answer["nextValueFailsBecause"] or answer["value"] in (4096, 64))

    def test_a_larger_card_and_line_go_further(self):
        small = self.run_json("largest", "batch", "--model", "sdxl-base", *CARD)["value"]
        large = self.run_json("largest", "batch", "--model", "sdxl-base", "--card", "rtx4090", "--max-vram-mb", 24000)["value"]
        self.assertGreater(large, small)

    def test_an_unknown_knob_lists_the_knobs(self):
        out, _ = self.run_plimsoll("largest", "depth", "--model", "sdxl-base", *CARD, "--json", code=2)
        self.assertIn("width, height, batch", json.loads(out)["error"]["message"])


if __name__ == "__main__":
    unittest.main()
