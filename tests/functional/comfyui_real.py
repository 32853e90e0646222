# SPDX-License-Identifier: Apache-2.0
"""An unchanged ComfyUI serves `plimsoll generate` and `plimsoll doctor`.

Runs where PLIMSOLL_COMFYUI_DIR names a checkout (0.3.64 or later) with at least one checkpoint in it, and PLIMSOLL_COMFYUI_PYTHON the Python that
runs it; skipped elsewhere. `--cpu` is enough. PLIMSOLL_COMFYUI_CHECKPOINT chooses the checkpoint, the first one is taken otherwise.
"""
import json
import os
import pathlib
import signal
import subprocess
import time
import unittest
import urllib.error
import urllib.request

import support
from support import FunctionalTest

FOLDER, PYTHON = os.environ.get("PLIMSOLL_COMFYUI_DIR"), os.environ.get("PLIMSOLL_COMFYUI_PYTHON")
START_SECONDS_MAX, DRAW_SECONDS_MAX = 300, 1800  # a slow machine's CPU


@unittest.skipUnless(FOLDER and PYTHON, "PLIMSOLL_COMFYUI_DIR and PLIMSOLL_COMFYUI_PYTHON are not set: no real ComfyUI here")
class RealComfyUi(FunctionalTest):
    def setUp(self):
        super().setUp()
        self.port = support.free_port()
        self.log = open(self.home / "comfyui.log", "wb")
        self.addCleanup(self.log.close)
        self.server = subprocess.Popen(
            [PYTHON, "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(self.port), "--disable-auto-launch",
             "--output-directory", str(self.home), "--temp-directory", str(self.home)],
            cwd=FOLDER, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        self.addCleanup(self.stop)
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.answers():
            self.assertIsNone(self.server.poll(), "ComfyUI ended: " + (self.home / "comfyui.log").read_text()[-2000:])
            self.assertLess(time.monotonic(), deadline, "ComfyUI does not answer")
            time.sleep(0.5)  # nothing tells when a foreign program is ready

    def stop(self):
        self.server.send_signal(signal.SIGINT)
        try:
            self.server.wait(30)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return json.load(answer)

    def answers(self):
        try:
            return bool(self.get("/system_stats"))
        except (urllib.error.URLError, OSError, ValueError):
            return False

    def test_doctor_knows_it_and_generate_draws(self):
        checkup = self.run_json("doctor", code=None, COMFYUI_PORT=self.port)
        self.assertTrue(checkup["comfyuiAnswers"])
        checkpoint = os.environ.get("PLIMSOLL_COMFYUI_CHECKPOINT") or next(iter(self.get("/models/checkpoints")), None)
        if checkpoint is None:
            self.skipTest("this ComfyUI has no checkpoint")
        answer = self.run_json("generate", "a lighthouse", "--model", checkpoint, "--width", 512, "--height", 512, "--steps", 8, "--seed", 1,
                               "--models-dir", pathlib.Path(FOLDER) / "models", timeout=DRAW_SECONDS_MAX, COMFYUI_PORT=self.port,
                               COMFYUI_TIMEOUT=DRAW_SECONDS_MAX * 1000)
        self.assertEqual(answer["outcome"], "done", answer["why"])
        self.assertTrue(pathlib.Path(answer["images"][0]).read_bytes().startswith(b"\x89PNG"))
        run = self.run_json("history")["runs"][0]
        self.assertEqual(run["outcome"], "done")
        self.assertGreater(run["observedSeconds"], 0)


if __name__ == "__main__":
    unittest.main()
