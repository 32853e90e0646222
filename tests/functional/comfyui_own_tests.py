# SPDX-License-Identifier: Apache-2.0
"""ComfyUI's own execution tests pass through the gateway as they pass without it.

Runs where PLIMSOLL_COMFYUI_DIR names a checkout that has its tests (tests/execution) and PLIMSOLL_COMFYUI_PYTHON a Python that has ComfyUI's
requirements, pytest and websocket-client; skipped elsewhere. PLIMSOLL_COMFYUI_TESTS chooses others than all of tests/execution: paths in the
checkout, spaces between them.

The tests start `python main.py --port P` themselves and speak to P. In the second run the first `python` on their path is ours, which starts
ComfyUI on another port, and the gateway listens on P: neither the tests nor ComfyUI are changed. What differs is run once more, both ways: some of
the tests measure time.
"""
import os
import pathlib
import shlex
import subprocess
import sys
import unittest
import xml.etree.ElementTree

import support
from daemon import Daemon
from support import FunctionalTest

FOLDER, PYTHON = os.environ.get("PLIMSOLL_COMFYUI_DIR"), os.environ.get("PLIMSOLL_COMFYUI_PYTHON")
TESTS = os.environ.get("PLIMSOLL_COMFYUI_TESTS", "tests/execution").split()
RUN_SECONDS_MAX = 1500  # measured: 4 minutes on two cores that others use too
HERE = pathlib.Path(__file__).resolve().parent

STARTER = """#!{ours}
import os, sys
words = sys.argv[1:]
if words[:1] == ["main.py"]:
    port = os.environ.get("COMFYUI_BEHIND")
    if port:
        words[words.index("--port") + 1] = port
    words += {flags!r}  # the checkout stays as it was
os.execv({theirs!r}, [{theirs!r}, *words])
"""


def why_not():
    if not (FOLDER and PYTHON):
        return "PLIMSOLL_COMFYUI_DIR and PLIMSOLL_COMFYUI_PYTHON are not set: no real ComfyUI here"
    missing = [path for path in TESTS if not pathlib.Path(FOLDER, path).exists()]
    if missing:
        return f"this ComfyUI comes without {', '.join(missing)}"
    if subprocess.run([PYTHON, "-c", "import pytest, websocket"], stderr=subprocess.DEVNULL, check=False).returncode:
        return f"{PYTHON} lacks pytest or websocket-client"
    return None


def read_results(report):
    """{test: "passed", "failed" or "skipped"} of a JUnit report; one that broke outside its own lines has failed."""
    results = {}
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        broken = case.find("failure") is not None or case.find("error") is not None
        skipped = case.find("skipped") is not None
        name = f"{case.get('classname')}::{case.get('name')}"
        outcome = "failed" if broken else "skipped" if skipped else "passed"
        if results.get(name) != "failed":  # a second entry tells what broke at its end
            results[name] = outcome
    return results


@unittest.skipIf(why_not(), why_not())
class OwnTests(FunctionalTest):
    def setUp(self):
        super().setUp()
        self.runs = 0
        self.bin = self.home / "bin"
        self.bin.mkdir()
        for name in ("user", "temp", "output"):
            (self.home / name).mkdir()
        flags = ["--user-directory", str(self.home / "user"), "--temp-directory", str(self.home / "temp"), "--database-url", "sqlite:///:memory:"]
        starter = self.bin / "python"
        starter.write_text(STARTER.format(ours=sys.executable, theirs=PYTHON, flags=flags), encoding="utf-8")
        starter.chmod(0o755)

    def run_tests(self, port, behind=None, only=None):
        """What each test came to, and the end of what was said."""
        self.runs += 1
        report = self.home / f"report{self.runs}.xml"
        own_options = pathlib.Path(FOLDER, "tests/conftest.py").read_text(encoding="utf-8")
        command = [PYTHON, "-m", "pytest", *TESTS, "-q", "-p", "no:cacheprovider", "-p", "patience", "--port", str(port),
                   "--output_dir", str(self.home / "output"), f"--junitxml={report}"]
        if "--skip-timing-checks" in own_options:  # they themselves call those unfit for busy machines
            command.append("--skip-timing-checks")
        if only:
            command += ["-k", " or ".join(sorted({name.rpartition("::")[2].partition("[")[0] for name in only}))]
        # The packages that the tests' own Python has, and ours for the plugin.
        paths = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
        if behind:
            environment["COMFYUI_BEHIND"] = str(behind)
        log = self.home / f"run{self.runs}.log"
        with open(log, "wb") as out:
            subprocess.run(command, cwd=FOLDER, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, check=False,
                           timeout=RUN_SECONDS_MAX)
        said = log.read_text(encoding="utf-8", errors="replace")[-4000:]
        self.assertTrue(report.exists(), f"pytest did not come to an end: {shlex.join(command)}\n{said}")
        return read_results(report), said

    def run_straight(self, only=None):
        return self.run_tests(support.free_port(), only=only)

    def run_through(self, only=None):
        port, behind = support.free_port(), support.free_port()
        daemon = Daemon(self.home, "--upstream", f"http://127.0.0.1:{behind}", "--gateway-listen", f"127.0.0.1:{port}")
        try:
            results = self.run_tests(port, behind, only)
            self.assertIsNone(daemon.process.poll(), "the daemon ended meanwhile")
            return results
        finally:
            daemon.stop()

    def test_they_pass_through_the_gateway_as_they_pass_without(self):
        straight, said = self.run_straight()
        passed = sorted(name for name, outcome in straight.items() if outcome == "passed")
        self.assertTrue(passed, f"none of them passes without the gateway, so they tell nothing:\n{said}")
        through, said = self.run_through()
        self.assertEqual(sorted(through), sorted(straight), "not the same tests ran")
        different = sorted(name for name in straight if straight[name] != through[name])
        if different:
            straight.update(self.run_straight(different)[0])
            again, said = self.run_through(different)
            through.update(again)
        differences = {name: (straight[name], through[name]) for name in straight if straight[name] != through[name]}
        count = {outcome: sum(one == outcome for one in through.values()) for outcome in ("passed", "failed", "skipped")}
        print(f"\nComfyUI's own tests through the gateway: {count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped, "
              f"{len(differences)} otherwise than without it ({len(different)} at the first try)")
        self.assertEqual(differences, {}, f"without the gateway, through it:\n{said}")


if __name__ == "__main__":
    unittest.main()
