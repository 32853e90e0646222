# SPDX-License-Identifier: Apache-2.0
"""Drives the built program against the built simulator. Ports are chosen at run time; nothing outlives a test."""
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

BINARY = os.environ["PLIMSOLL_BINARY"]
SOURCE = pathlib.Path(os.environ["PLIMSOLL_SOURCE"])
SETTINGS = ("COMFYUI_SERVER_URL", "COMFYUI_PORT", "COMFYUI_TIMEOUT", "MAX_VRAM_MB", "MAX_DURATION_MIN", "SAFETY_MARGIN")


class Simulator:
    """`plimsoll simulate` as a process; the first line of its JSON output names the port."""

    def __init__(self, home, *flags, card="rtx3050-6gb", seed=1, speed=0):
        self.process = subprocess.Popen(
            [BINARY, "simulate", "--card", card, "--port", "0", "--seed", str(seed), "--speed", str(speed), "--json", *flags],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(home))
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the simulator did not start: " + self.process.stderr.read())
        self.port = json.loads(line)["port"]

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


def environment(home, **extra):
    kept = {k: v for k, v in os.environ.items() if k not in SETTINGS and not k.startswith("PLIMSOLL_")}
    return {**kept, "PLIMSOLL_HOME": str(home), "HOME": str(home), **{k: str(v) for k, v in extra.items()}}


class FunctionalTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="plimsoll-test-")
        self.addCleanup(folder.cleanup)
        self.home = pathlib.Path(folder.name)

    def simulator(self, *flags, **options):
        simulator = Simulator(self.home, *flags, **options)
        self.addCleanup(simulator.stop)
        return simulator

    def run_plimsoll(self, *args, code=0, stdin=None, cwd=None, timeout=120, **env):
        """Runs to the end and checks the exit code; returns (stdout, stderr)."""
        done = subprocess.run([BINARY, *map(str, args)], input=stdin, capture_output=True, text=True, timeout=timeout,
                              cwd=cwd or self.home, env=environment(self.home, **env))
        self.assertEqual(done.returncode, code, f"{args}\nstdout: {done.stdout}\nstderr: {done.stderr}")
        return done.stdout, done.stderr

    def run_json(self, *args, **options):
        out, _ = self.run_plimsoll(*args, "--json", **options)
        return json.loads(out)
