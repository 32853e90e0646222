# SPDX-License-Identifier: Apache-2.0
"""The forecast of seconds against public measurements: cards in the fit, cards left out, and the fit is what the repository holds."""
import os
import pathlib
import subprocess
import sys
import unittest

SOURCE = pathlib.Path(os.environ["PLIMSOLL_SOURCE"])
COSTS = pathlib.Path(os.environ["PLIMSOLL_BUILD"]) / "bin" / "fit_costs"


@unittest.skipUnless(COSTS.exists(), "built without PLIMSOLL_BENCH: no fit_costs")
class TimingFit(unittest.TestCase):
    def test_median_errors_keep_their_promises_and_the_coefficients_are_the_fits(self):
        # Two parts: half of the cards forecast the other half. Leaving out one at a time takes a minute: ./dev bench timing.
        run = subprocess.run([sys.executable, "-B", "tools/fit_timing.py", "--summary", "--folds", "2", "--costs", str(COSTS)],
                             cwd=SOURCE, capture_output=True, text=True, timeout=150)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertEqual(run.stdout.count("met "), 2, run.stdout)


if __name__ == "__main__":
    unittest.main()
