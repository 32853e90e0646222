# SPDX-License-Identifier: Apache-2.0
"""docs/accuracy.md is what tools/accuracy.py writes, and the tool says so where a recording and our answer differ."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ["PLIMSOLL_SOURCE"])
BINARIES = pathlib.Path(os.environ["PLIMSOLL_BUILD"]) / "bin"
TRACES = SOURCE / "tests/data/traces"


def recorded(file, **wanted):
    lines = [json.loads(line) for line in (TRACES / file).read_text().splitlines()]
    return next(line for line in lines if all(line.get(key) == value for key, value in wanted.items()))


@unittest.skipUnless((BINARIES / "comfyui_estimates").exists(), "built without PLIMSOLL_BENCH: no comfyui_estimates")
class AccuracyPage(unittest.TestCase):
    def page(self, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            output = pathlib.Path(folder) / "page.md"
            run = subprocess.run([sys.executable, "-B", "tools/accuracy.py", *arguments, "--output", output, "--bin", BINARIES],
                                 cwd=SOURCE, capture_output=True, text=True, timeout=120)
            self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
            return output.read_text()

    def page_of(self, lines):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "some.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            return self.page(folder)

    def test_the_page_in_the_repository_is_what_a_new_run_writes(self):
        # Seconds are left out: medians of floating-point sums, which functional.timing_fit holds.
        fresh, kept = (text.split("\n## Seconds")[0] for text in (self.page(), (SOURCE / "docs/accuracy.md").read_text()))
        self.assertEqual(fresh.splitlines(), kept.splitlines(), "docs/accuracy.md is old: run ./dev accuracy and commit it")

    def test_equal_and_unknown_lines_are_counted_apart(self):
        sdxl = recorded("ldm.jsonl", family="sdxl", phase="unet_step", variant="base", call="apply_model")
        page = self.page_of([sdxl, sdxl, {**sdxl, "id": "made", "family": "no_such_network"}])
        self.assertIn("2 lines: 1 equal, 0 different, 1 unknown.", page)
        self.assertIn('| unet_step no_such_network base | 1 | family "no_such_network"', page)

    def test_a_peak_that_is_off_names_the_tensor_that_only_the_recording_has(self):
        sdxl = recorded("ldm.jsonl", family="sdxl", phase="unet_step", variant="base", call="apply_model")
        more = {"bytes": 1 << 30, "shape": [1024, 1024, 256], "dtype": "fp32", "op": "bmm", "module": "made.up"}
        page = self.page_of([{**sdxl, "peak_bytes": sdxl["peak_bytes"] + (1 << 30), "top_live": [more]}])
        self.assertIn("1 lines: 0 equal, 1 different, 0 unknown.", page)
        self.assertIn("Only on record: 1073741824 B, [1024 x 1024 x 256] fp32, `bmm` in `made.up`.", page)

    def test_comfyuis_estimate_is_area_times_bytes_times_factor(self):
        sdxl = recorded("ldm.jsonl", family="sdxl", phase="unet_step", variant="base", call="apply_model")
        estimate = 128 * 96 * 2 * 2 * 0.01 * 0.8 * 2**20
        page = self.page_of([{**sdxl, "width": 1024, "height": 768, "batch": 2, "dtype": "fp16", "peak_bytes": round(estimate / 3)}])
        self.assertIn("| ComfyUI's estimate | 1 | 200 % | 200 % | 200 % | 3.00 to 3.00 | 0 % |", page)


if __name__ == "__main__":
    unittest.main()
