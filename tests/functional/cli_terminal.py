# SPDX-License-Identifier: Apache-2.0
"""On a terminal: colours and one live line; NO_COLOR, TERM=dumb and narrow windows are honoured."""
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import unittest

import support
from support import FunctionalTest

FORECAST = ("forecast", "--model", "sdxl-base", "--card", "rtx3050-6gb")
GENERATE = ("generate", "a dragon", "--model", "sdxl-base", "--width", "512", "--height", "512", "--steps", "20", "--simulate", "--speed", "20")


class Terminal(FunctionalTest):
    def on_terminal(self, *args, columns=80, **env):
        """Runs on a pseudo terminal of so many columns; returns what it wrote there."""
        main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        environment = support.environment(self.home, **{"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **env})
        if "NO_COLOR" not in env:
            environment.pop("NO_COLOR", None)
        process = subprocess.Popen([support.BINARY, *map(str, args)], stdin=side, stdout=side, stderr=side, env=environment, cwd=self.home)
        os.close(side)
        written = b""
        while True:
            try:
                piece = os.read(main, 65536)
            except OSError:  # the other side is closed
                break
            if not piece:
                break
            written += piece
        os.close(main)
        self.assertEqual(process.wait(60), 0, written.decode())
        return written.decode()

    def test_colours_are_there_and_can_be_turned_off(self):
        self.assertIn("\x1b[", self.on_terminal(*FORECAST))
        self.assertNotIn("\x1b[", self.on_terminal(*FORECAST, NO_COLOR=1))
        self.assertNotIn("\x1b[", self.on_terminal(*FORECAST, TERM="dumb"))
        self.assertIn("\x1b[", self.on_terminal(*FORECAST, NO_COLOR=""))  # as no-color.org wants it

    def test_lines_fit_windows_of_80_and_60_columns(self):
        for columns in (80, 60):
            text = re.sub(r"\x1b\[[0-9;]*[mK]", "", self.on_terminal(*FORECAST, "--explain", columns=columns))
            for line in text.split("\r\n"):
                # A row of numbers is never cut, nor is a word.
                is_row = re.match(r"  (phase|load|text|sample|vae|whole)", line)
                if not is_row and max(map(len, line.split()), default=0) < columns - 12:
                    self.assertLessEqual(len(line), columns, line)

    def test_block_characters_only_where_the_locale_has_them(self):
        self.assertIn("█", self.on_terminal(*FORECAST))
        plain = self.on_terminal(*FORECAST, LC_ALL="C")
        self.assertNotIn("█", plain)
        self.assertIn("##", plain)

    def test_one_live_line_shows_step_vram_and_line_and_goes_away(self):
        text = self.on_terminal(*GENERATE)
        live = [piece for piece in re.split(r"\r(?!\n)", text) if "VRAM" in piece and "\x1b[K" in piece]
        self.assertGreater(len(live), 3)
        steps = re.findall(r"sample +(\d+)/20", "".join(live))
        self.assertGreater(len(set(steps)), 2)
        self.assertRegex("".join(live), r"VRAM \d+/4352 MiB")
        for piece in live:
            shown = re.sub(r"\x1b\[[0-9;]*[mK]", "", piece.split("\x1b[K")[0])
            self.assertLess(len(shown), 80, shown)
        # What stays on the screen: a line for each phase, none of the live ones.
        stays = [re.sub(r"\x1b\[[0-9;]*m", "", line.split("\r")[-1].split("\x1b[K")[-1]) for line in text.split("\r\n")]
        self.assertTrue([line for line in stays if re.match(r"  sample +20/20", line)], stays)
        self.assertFalse([line for line in stays if "VRAM" in line and "/4352 MiB" in line], stays)


if __name__ == "__main__":
    unittest.main()
