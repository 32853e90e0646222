#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: an installed copy is all that a program needs. Method: install into a folder, build the examples against it with
find_package(plimsoll), run them without a ComfyUI, with a refused port and with a scripted ComfyUI."""
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import unittest

import scripted_comfyui
import support

BUILD = pathlib.Path(os.environ["PLIMSOLL_BUILD"])


def run(*command, env=None, timeout=150):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, env=env, timeout=timeout)


def cached(name):
    """An entry of the build's CMake cache: the examples are built as the library was, sanitizers included."""
    found = re.search(rf"^{name}:\w+=(.*)$", (BUILD / "CMakeCache.txt").read_text(), re.MULTILINE)
    return found.group(1) if found else ""


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="plimsoll_install_"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.prefix, cls.examples = cls.folder / "prefix", cls.folder / "examples"
        kind = cached("CMAKE_BUILD_TYPE")
        cls.check(run("cmake", "--install", BUILD, "--prefix", cls.prefix))
        cls.check(run("cmake", "-S", support.SOURCE / "examples", "-B", cls.examples, "-G", "Ninja",
                      f"-DCMAKE_PREFIX_PATH={cls.prefix}", f"-DCMAKE_CXX_COMPILER={cached('CMAKE_CXX_COMPILER')}",
                      f"-DCMAKE_CXX_FLAGS={cached('CMAKE_CXX_FLAGS_' + kind.upper())}",
                      f"-DCMAKE_EXE_LINKER_FLAGS={cached('CMAKE_EXE_LINKER_FLAGS')}"))
        cls.check(run("cmake", "--build", cls.examples))

    @staticmethod
    def check(done):
        if done.returncode != 0:
            raise AssertionError(f"{done.args} failed:\n{done.stdout}\n{done.stderr}")

    def setUp(self):
        self.home = pathlib.Path(tempfile.mkdtemp(dir=self.folder))

    def example(self, name, *arguments, **environment):
        return run(self.examples / name, *arguments, env=support.environment(self.home, **environment))

    def test_installs_headers_library_package_and_program(self):
        for name in ("include/plimsoll/plimsoll.h", "include/plimsoll/error.h", "bin/plimsoll"):
            self.assertTrue((self.prefix / name).is_file(), name)
        self.assertEqual(len(list(self.prefix.glob("lib*/**/libplimsoll.so.*.*.*"))), 1)
        self.assertEqual(len(list(self.prefix.glob("lib*/**/cmake/plimsoll/plimsollConfig.cmake"))), 1)

    def test_headers_include_nothing_but_each_other_and_the_standard_library(self):
        for header in (self.prefix / "include/plimsoll").glob("*.h"):
            for name in re.findall(r"#\s*include\s+(.*)", header.read_text()):
                self.assertRegex(name, r"^<(plimsoll/\w+\.h|[a-z_]+)>$", f"in {header.name}")

    def test_the_library_shows_only_its_own_names(self):
        library = next(self.prefix.glob("lib*/**/libplimsoll.so.*.*.*"))
        shown = run("nm", "-DC", "--defined-only", library)
        self.check(shown)
        names = [line.split(maxsplit=2)[2] for line in shown.stdout.splitlines()]
        self.assertIn("plimsoll::library_version()", names)
        foreign = [name for name in names if not re.match(r"(typeinfo |vtable )?(name )?(for )?plimsoll::[A-Za-z_]+", name)
                   or re.match(r"plimsoll::(advisor|history|library|memory|modelfile|net|service|quality|timing|workflow)::", name)]
        self.assertEqual(foreign, [])

    def test_will_it_fit_forecasts_and_plans_without_any_file_or_server(self):
        done = self.example("will_it_fit", "sdxl", "rtx3050-6gb")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"sample +\d+ MiB, of these +\d+ MiB of weights")
        self.assertIn("load line 4352 MiB", done.stdout)
        self.assertRegex(done.stdout, r"largest batch that fits: \d+")

    def test_will_it_fit_says_what_is_wrong(self):
        for arguments, says in ((("no-such-family", "rtx3050-6gb"), "sdxl"), (("sdxl", "rtx3055"), "rtx3050"),
                                (("sdxl", "rtx3050-6gb", "100"), "512 to 1536")):
            done = self.example("will_it_fit", *arguments)
            self.assertEqual(done.returncode, 1, arguments)
            self.assertIn(says, done.stderr)

    def test_find_cheaper_setting_tests_a_model_and_its_answer_is_kept(self):
        simulator = support.Simulator(self.home)
        self.addCleanup(simulator.stop)
        where = {"COMFYUI_SERVER_URL": "http://127.0.0.1", "COMFYUI_PORT": simulator.port}
        done = self.example("find_cheaper_setting", "3d-cartoon", "a toy train", **where)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"[0-9a-f-]{36} done")
        self.assertRegex(done.stdout, r"\d+ steps +[\d.]+ s +[+-][\d.]+ points .* chosen")
        session = re.search(r"[0-9a-f-]{36}", done.stdout).group(0)
        known = run(support.BINARY, "quality", "status", session, "--json", env=support.environment(self.home))
        self.assertEqual(known.returncode, 0, known.stderr)
        self.assertEqual(json.loads(known.stdout)["state"], "done")

    def test_find_cheaper_setting_says_what_is_wrong(self):
        simulator = support.Simulator(self.home)
        self.addCleanup(simulator.stop)
        where = {"COMFYUI_SERVER_URL": "http://127.0.0.1", "COMFYUI_PORT": simulator.port}
        done = self.example("find_cheaper_setting", "no-such-model", **where)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("no-such-model", done.stderr)

    def test_make_pictures_tells_a_refused_port(self):
        with socket.socket() as probe:  # bound, not listening: nobody answers there
            probe.bind(("127.0.0.1", 0))
            done = self.example("make_pictures", "a dragon", COMFYUI_SERVER_URL="http://127.0.0.1",
                                COMFYUI_PORT=probe.getsockname()[1])
        self.assertEqual(done.returncode, 4, done.stdout + done.stderr)
        self.assertIn("127.0.0.1", done.stderr)

    def test_make_pictures_draws_records_and_remembers(self):
        with scripted_comfyui.ScriptedComfyUi() as comfyui:
            where = {"COMFYUI_SERVER_URL": "http://127.0.0.1", "COMFYUI_PORT": comfyui.port}
            first = self.example("make_pictures", "a dragon", **where)
            self.assertEqual(first.returncode, 0, first.stdout + first.stderr)
            self.assertIn("done", first.stdout)
            saved = re.search(r"^saved (.*)$", first.stdout, re.MULTILINE)
            self.assertTrue(pathlib.Path(saved.group(1)).read_bytes().startswith(b"\x89PNG"))
            self.assertEqual(len(comfyui.submitted), 1)
            self.assertIn("a dragon", comfyui.submitted[0])
            # The second time the history knows settings that did well.
            second = self.example("make_pictures", "a dragon", **where)
            self.assertEqual(second.returncode, 0, second.stdout + second.stderr)
            self.assertEqual(first.stdout.splitlines()[0], second.stdout.splitlines()[0])
            self.assertEqual(*(json.loads(body)["prompt"] for body in comfyui.submitted))
        presets = run(support.BINARY, "presets", "load", "make_pictures", "--json", env=support.environment(self.home))
        self.assertEqual(presets.returncode, 0, presets.stderr)
        self.assertIn('"sdxl-base"', presets.stdout)


if __name__ == "__main__":
    unittest.main()
