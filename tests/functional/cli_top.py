# SPDX-License-Identifier: Apache-2.0
"""`plimsoll top` on a pseudo terminal beside a real daemon: it draws, follows the window, comes back, and leaves the terminal as it was."""
import codecs
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unittest

import support
from daemon import Daemon
from support import FunctionalTest

JOB = {"model": "sdxl-base", "width": 768, "height": 768, "steps": 30, "prompt": "a lighthouse", "seed": 1}
PATIENCE_S = 30


class Top:
    """The program on a terminal of its own; `screen` is what a person would see."""

    def __init__(self, home, *args, columns=80, rows=24, **env):
        self.main, side = pty.openpty()
        self.side = side  # kept open: the terminal's state is looked at after the end
        self.before = termios.tcgetattr(side)
        self.resize(columns, rows)
        environment = support.environment(home, **{"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **env})
        if "NO_COLOR" not in env:
            environment.pop("NO_COLOR", None)
        self.process = subprocess.Popen([support.BINARY, "top", *map(str, args)], stdin=side, stdout=side, stderr=side, env=environment,
                                        cwd=home, start_new_session=True)
        self.written = ""
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a read may end within a character
        self.screen = []

    def resize(self, columns, rows):
        self.columns, self.rows = columns, rows
        fcntl.ioctl(self.main, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if hasattr(self, "process"):
            self.process.send_signal(signal.SIGWINCH)  # it is no session leader's terminal here: the kernel sends none

    def press(self, keys):
        os.write(self.main, keys)

    def read(self, seconds):
        if select.select([self.main], [], [], seconds)[0]:
            self.written += self.decoder.decode(os.read(self.main, 65536))
        text = self.written.rpartition("\x1b[2J")[2]
        self.screen = [""] * self.rows
        for row, line in re.findall(r"\x1b\[(\d+);1H(.*?)\x1b\[0m\x1b\[K", text, re.S):
            if int(row) <= self.rows:
                self.screen[int(row) - 1] = line
        return self.plain()

    def plain(self):
        return "\n".join(re.sub(r"\x1b\[[0-9;]*m", "", row) for row in self.screen)

    def wait_for(self, expression):
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            if re.search(expression, self.read(0.1)):
                return self.plain()
        raise AssertionError(f"no {expression!r} on the screen:\n{self.plain()}\n{self.written[-500:]!r}")

    def end(self):
        code = self.process.wait(PATIENCE_S)
        while select.select([self.main], [], [], 0.1)[0]:
            self.written += self.decoder.decode(os.read(self.main, 65536))
        return code

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.side)
        os.close(self.main)


class TopTest(FunctionalTest):
    def daemon(self, *flags, speed=8, **options):
        daemon = Daemon(self.home, "--simulate", "--card", "rtx3050-6gb", "--speed", speed, *flags, **options)
        self.addCleanup(daemon.stop)
        return daemon

    def top(self, daemon, *args, **options):
        top = Top(self.home, "--url", f"http://127.0.0.1:{daemon.port}", *args, **options)
        self.addCleanup(top.close)
        return top

    def assert_given_back(self, top):
        self.assertEqual(termios.tcgetattr(top.side), top.before)
        for sequence in ("\x1b[?1049l", "\x1b[?25h", "\x1b[?7h"):  # the shell's screen, its cursor, its line breaks
            self.assertIn(sequence, top.written)
        self.assertGreater(top.written.rindex("\x1b[?1049l"), top.written.rindex("\x1b[?1049h"))

    def test_a_job_is_followed_and_the_window_too(self):
        daemon = self.daemon()
        top = self.top(daemon)
        top.wait_for("P─⊖─L")
        job_id = daemon.post("/api/generate", JOB)[1]["jobId"]
        daemon.post("/api/generate", {**JOB, "prompt": "the next"})
        text = top.wait_for(r"sample +\d+/30")
        for words in (job_id[:8], "a lighthouse", "load line", "4.25 GiB", "1 waiting", "the next", "temperature", "∙∙∙"):
            self.assertIn(words, text)
        top.wait_for(r"████[^\n]*∙∙∙∙|∙∙∙∙[^\n]*████|▇▇▇▇[^\n]*∙∙∙∙")  # the live curve beside what is forecast
        for columns, rows in ((120, 40), (60, 12), (80, 24)):
            top.resize(columns, rows)
            text = top.wait_for("the window is 60 x 12" if columns == 60 else "q quit")
            self.assertTrue(all(len(line) <= columns for line in text.split("\n")), text)
        top.wait_for(f"job {job_id[:8]} done")
        top.press(b"h")
        top.wait_for("the load line: MAX_VRAM_MB less SAFETY_MARGIN")
        top.press(b"\x1b[B\x1b")
        top.wait_for("events")
        top.press(b"q")
        self.assertEqual(top.end(), 0)
        self.assert_given_back(top)

    def test_it_comes_back_when_the_daemon_does(self):
        daemon = self.daemon()
        top = self.top(daemon)
        top.wait_for("✓ live")
        port = daemon.port
        daemon.stop()
        top.wait_for("no connection")
        again = self.daemon(listen=f"127.0.0.1:{port}")
        self.assertEqual(again.port, port)
        top.wait_for("✓ live")
        top.wait_for("connected again")
        job_id = again.post("/api/generate", JOB)[1]["jobId"]
        top.wait_for(job_id[:8])

    def test_the_terminal_is_given_back_however_it_ends(self):
        daemon = self.daemon()
        for sent in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGABRT, b"\x03", b"q"):
            with self.subTest(sent=sent):
                top = self.top(daemon)
                top.wait_for("✓ live")
                if isinstance(sent, bytes):
                    top.press(sent)
                else:
                    top.process.send_signal(sent)
                self.assertEqual(top.end(), -signal.SIGABRT if sent == signal.SIGABRT else 0)
                self.assert_given_back(top)

    def test_ctrl_z_gives_it_back_and_takes_it_again(self):
        top = self.top(self.daemon())
        top.wait_for("✓ live")
        top.press(b"\x1a")
        until = time.monotonic() + PATIENCE_S
        while os.waitid(os.P_PID, top.process.pid, os.WSTOPPED | os.WNOHANG) is None:
            self.assertLess(time.monotonic(), until)
            top.read(0.05)
        top.read(0.05)
        self.assert_given_back(top)
        drawn = len(top.written)
        top.process.send_signal(signal.SIGCONT)
        top.wait_for("✓ live")
        until = time.monotonic() + PATIENCE_S
        while "\x1b[?1049h" not in top.written[drawn:]:
            self.assertLess(time.monotonic(), until)
            top.read(0.05)

    def test_no_colours_where_none_are_wanted_and_plain_characters_where_the_locale_has_no_others(self):
        daemon = self.daemon()
        coloured = self.top(daemon)
        coloured.wait_for("✓ live")
        self.assertRegex(coloured.written, "\x1b\\[32m")
        plain = self.top(daemon, NO_COLOR=1, LC_ALL="C")
        plain.wait_for(r"P-\(-\)-L")
        self.assertNotRegex(plain.written, "\x1b\\[[1-9][0-9]*m")
        self.assertTrue(plain.written.isascii())

    def test_one_frame_and_its_numbers_as_json(self):
        daemon = self.daemon(speed=0)
        daemon.wait_for_job(daemon.post("/api/generate", JOB)[1]["jobId"])
        url = f"http://127.0.0.1:{daemon.port}"
        out, _ = self.run_plimsoll("top", "--url", url, "--once", LC_ALL="C.UTF-8")
        self.assertIn("P─⊖─L", out)
        self.assertRegex(out, r"job [0-9a-f]{8} done \(sdxl-base\), peak \d+ MiB of \d+ MiB forecast")
        self.assertNotIn("\x1b", out)
        self.assertTrue(all(len(line) <= 80 for line in out.splitlines()), out)
        said = self.run_json("top", "--url", url)
        self.assertEqual(said["telemetry"]["loadLineBytes"], 4352 << 20)
        self.assertEqual([job["state"] for job in said["jobs"]], ["done"])
        self.assertTrue(said["health"]["simulated"])

    def test_it_says_who_is_not_there_and_which_token_is_missing(self):
        port = support.free_port()
        _, error = self.run_plimsoll("top", "--url", f"http://127.0.0.1:{port}", "--once", code=1)
        self.assertIn("is `plimsoll serve` running?", error)
        self.run_plimsoll("top", "--url", "ftp://x", "--once", code=2)
        daemon = Daemon(self.home, "--simulate", "--card", "rtx3050-6gb", PLIMSOLL_TOKEN="0123456789abcdef")
        self.addCleanup(daemon.stop)
        url = f"http://127.0.0.1:{daemon.port}"
        _, error = self.run_plimsoll("top", "--url", url, "--once", code=2)
        self.assertIn("401", error)
        said = self.run_json("top", "--url", url, PLIMSOLL_TOKEN="0123456789abcdef")
        self.assertNotIn("0123456789abcdef", json.dumps(said))


if __name__ == "__main__":
    unittest.main()
