# SPDX-License-Identifier: Apache-2.0
"""`plimsoll simulate`: one line when it listens, ComfyUI's routes, a clean end."""
import json
import signal
import unittest
import urllib.request

from support import FunctionalTest


class Simulate(FunctionalTest):
    def start(self, *flags):
        process = self.start_plimsoll("simulate", "--port", 0, "--speed", 0, *flags)
        return process, process.stdout.readline()

    def test_the_first_line_says_where_it_listens(self):
        _, line = self.start("--card", "rtx3050-6gb", "--seed", 5, "--json")
        start = json.loads(line)
        self.assertEqual((start["card"], start["seed"], start["speed"]), ("rtx3050-6gb", 5, 0))
        self.assertEqual(start["url"], f"http://127.0.0.1:{start['port']}")
        with urllib.request.urlopen(start["url"] + "/system_stats", timeout=10) as answer:
            stats = json.load(answer)
        self.assertEqual(stats["system"]["comfyui_version"], "0.3.64")
        self.assertIn("RTX 3050", stats["devices"][0]["name"])

    def test_the_text_says_it_too(self):
        _, line = self.start()
        self.assertRegex(line, r"^simulated ComfyUI with a rtx3050-6gb at http://127\.0\.0\.1:\d+, as fast as it can; Ctrl-C stops it$")

    def test_signals_end_it_cleanly(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            process, _ = self.start()
            process.send_signal(number)
            _, err = process.communicate(timeout=30)
            self.assertEqual((process.returncode, err), (0, ""))

    def test_flags_of_comfyui_are_shown_as_its_own(self):
        _, line = self.start("--comfyui-flags", "--reserve-vram 1.5", "--json")
        with urllib.request.urlopen(json.loads(line)["url"] + "/system_stats", timeout=10) as answer:
            argv = json.load(answer)["system"]["argv"]
        self.assertIn("--reserve-vram", argv)

    def test_what_cannot_be_is_refused(self):
        _, line = self.start("--json")
        taken = json.loads(line)["port"]
        out, _ = self.run_plimsoll("simulate", "--port", taken, "--json", code=1)
        self.assertIn(str(taken), json.loads(out)["error"]["message"])
        out, _ = self.run_plimsoll("simulate", "--card", "rtx9999", "--port", 0, "--json", code=1)
        self.assertIn("rtx", json.loads(out)["error"]["message"])
        for flag, value, words in (("--port", 70000, "0 to 65535"), ("--speed", -1, "0 to 1000"), ("--seed", "x", "0 to ")):
            out, _ = self.run_plimsoll("simulate", flag, value, "--json", code=2)
            self.assertIn(words, json.loads(out)["error"]["message"])


if __name__ == "__main__":
    unittest.main()
