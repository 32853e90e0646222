# SPDX-License-Identifier: Apache-2.0
"""The tour of `./dev demo` comes true: it checks itself and says so by its exit code."""
import pathlib
import shutil
import subprocess
import sys
import unittest

import support
from support import FunctionalTest


class Tour(FunctionalTest):
    def test_everything_that_the_tour_shows_comes_true(self):
        # Its pictures and history go beside the program: here into a folder of the test's.
        program = self.home / "build" / "bin" / "plimsoll"
        program.parent.mkdir(parents=True)
        shutil.copy2(support.BINARY, program)
        done = subprocess.run([sys.executable, "-B", str(support.SOURCE / "tools/demo.py"), str(program)], capture_output=True, text=True,
                              timeout=150, check=False, env=support.environment(self.home))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for words in ("forecast\n", "load line  4352 MiB (5120 MiB less 15 %)", "plan: fits with changes", "running\n", "saved      ",
                      " recorded in ", "observed MiB", "the card was full: ", "out of memory: "):
            self.assertIn(words, done.stdout)
        pictures = list((pathlib.Path(program).parent.parent / "demo" / "output").glob("*.png"))
        self.assertEqual(len(pictures), 9)


if __name__ == "__main__":
    unittest.main()
