# SPDX-License-Identifier: Apache-2.0
"""Configuration: flags over environment over plimsoll.toml over built-in, and where each value came from."""
import json
import unittest

from scripted_comfyui import ScriptedComfyUi
from support import FunctionalTest

FORECAST = ("forecast", "--family", "sd15", "--card", "rtx3050-6gb")
MIB = 1 << 20


class Precedence(FunctionalTest):
    def line(self, *flags, **env):
        return self.run_json(*FORECAST, *flags, **env)["loadLineBytes"] / MIB

    def test_each_place_beats_the_one_below(self):
        self.assertEqual(self.line(), 5120 * 0.85)
        (self.home / "plimsoll.toml").write_text("max_vram_mb = 2000\nsafety_margin = 0.5\n")
        self.assertEqual(self.line(), 1000)
        self.assertEqual(self.line(MAX_VRAM_MB=3000), 1500)
        self.assertEqual(self.line("--max-vram-mb", 4000, MAX_VRAM_MB=3000), 2000)
        self.assertEqual(self.line("--safety-margin", 0, MAX_VRAM_MB=3000, SAFETY_MARGIN=0.1), 3000)

    def test_the_file_of_the_working_folder_beats_that_of_the_home(self):
        (self.home / "plimsoll.toml").write_text("max_vram_mb = 2000\n")
        work = self.home / "work"
        work.mkdir()
        (work / "plimsoll.toml").write_text("max_vram_mb = 4000\n")
        answer = self.run_json(*FORECAST, cwd=work)
        self.assertEqual(answer["loadLineBytes"], 4000 * MIB * 85 // 100)

    def test_the_six_names_of_the_environment_are_all_read(self):
        with ScriptedComfyUi() as comfyui:
            checkup = self.run_json("doctor", code=None, COMFYUI_SERVER_URL="http://127.0.0.1", COMFYUI_PORT=comfyui.port,
                                    COMFYUI_TIMEOUT=90000, MAX_VRAM_MB=4096, MAX_DURATION_MIN=10, SAFETY_MARGIN=0.25)
        self.assertTrue(checkup["comfyuiAnswers"])
        settings = {line["key"]: line for line in checkup["settings"]}
        for key, value, name in (("comfyui_server_url", "http://127.0.0.1", "COMFYUI_SERVER_URL"),
                                 ("comfyui_port", str(comfyui.port), "COMFYUI_PORT"), ("comfyui_timeout", "90000 ms", "COMFYUI_TIMEOUT"),
                                 ("max_vram_mb", "4096 MiB", "MAX_VRAM_MB"), ("max_duration_min", "10 min", "MAX_DURATION_MIN"),
                                 ("safety_margin", "0.25", "SAFETY_MARGIN")):
            self.assertEqual((settings[key]["value"], settings[key]["source"]), (value, name))

    def test_a_bad_value_names_its_place_and_the_range(self):
        for env in ({"MAX_VRAM_MB": "lots"}, {"COMFYUI_PORT": 99999}, {"SAFETY_MARGIN": "-1"}, {"MAX_DURATION_MIN": "nan"},
                    {"COMFYUI_TIMEOUT": "1.5"}, {"COMFYUI_SERVER_URL": "https://example.org"}):
            name = next(iter(env))
            out, _ = self.run_plimsoll(*FORECAST, "--json", code=2, **env)
            self.assertIn(name, json.loads(out)["error"]["message"])
        (self.home / "plimsoll.toml").write_text('max_vram_mb = "lots"\n')
        out, _ = self.run_plimsoll(*FORECAST, "--json", code=2)
        self.assertIn("plimsoll.toml", json.loads(out)["error"]["message"])

    def test_a_broken_file_names_its_line_and_an_unknown_key_the_nearest(self):
        (self.home / "plimsoll.toml").write_text("max_vram_mb = 4096\nsafety margin = 1\n")
        _, err = self.run_plimsoll(*FORECAST, code=1)
        self.assertIn("line 2", err)
        (self.home / "plimsoll.toml").write_text("max_vram = 4096\n")
        _, err = self.run_plimsoll(*FORECAST)
        self.assertIn("did you mean max_vram_mb?", err)

    def test_profiles_of_the_users_own(self):
        (self.home / "plimsoll.toml").write_text(
            '[[profile]]\nname = "mine"\ncheckpoint = "mine_v3.safetensors"\nfamily = "sd15"\nnative_side = 512\nbest_cfg = 5.5\n'
            'style_words = "ink drawing"\n')
        answer = self.run_json("forecast", "--model", "mine", "--card", "rtx3050-6gb")
        self.assertEqual((answer["family"], answer["settings"]["cfg"], answer["settings"]["width"]), ("sd15", 5.5, 512))
        (self.home / "plimsoll.toml").write_text('[[profile]]\nname = "mine"\ncheckpoint = "x.safetensors"\nbest_cfg = 99\n')
        out, _ = self.run_plimsoll("forecast", "--model", "mine", "--card", "rtx3050-6gb", "--json", code=2)
        self.assertIn("best_cfg must be a number from 1 to 15", json.loads(out)["error"]["message"])


class Doctor(FunctionalTest):
    def test_without_comfyui_it_says_so_with_the_way_out_and_exits_with_4(self):
        out, _ = self.run_plimsoll("doctor", code=4, COMFYUI_PORT=1)
        self.assertIn("-> start ComfyUI, or name its address", out)

    def test_dead_and_contradictory_flags_are_found(self):
        with ScriptedComfyUi() as comfyui:
            comfyui.argv = ["main.py", "--normalvram", "--lowvram", "--highvram"]
            checkup = self.run_json("doctor", code=1, COMFYUI_PORT=comfyui.port)
        flags = [finding for finding in checkup["findings"] if finding["area"] == "flags"]
        self.assertTrue([f for f in flags if "--normalvram" in f["text"]], flags)
        self.assertTrue([f for f in flags if "--lowvram" in f["text"] and "--highvram" in f["text"] and f["health"] == "problem"], flags)
        for finding in checkup["findings"]:
            self.assertTrue(finding["health"] == "good" or finding["advice"], finding)

    def test_it_reports_version_card_models_disk_history_and_every_setting(self):
        with ScriptedComfyUi() as comfyui:
            out, _ = self.run_plimsoll("doctor", COMFYUI_PORT=comfyui.port)
            checkup = self.run_json("doctor", COMFYUI_PORT=comfyui.port)
        self.assertLessEqual({"ComfyUI", "flags", "card", "driver", "models", "disk", "history", "configuration"},
                             {finding["area"] for finding in checkup["findings"]})
        self.assertIn("version 0.3.64", out)
        self.assertIn("rtx3050-6gb", out)
        self.assertIn("profile anime-sprite: ComfyUI lacks animagine-xl-3.1.safetensors", out.replace("\n         ", " "))
        self.assertEqual(len(checkup["settings"]), 25)
        for line in out.splitlines():
            self.assertLessEqual(len(line), 80, line)

    def test_a_page_of_html_and_a_damaged_history_are_problems(self):
        (self.home / "history.db").write_text("no database at all, but long enough to look at")
        with ScriptedComfyUi() as comfyui:
            comfyui.html = True
            out, _ = self.run_plimsoll("doctor", code=4, COMFYUI_PORT=comfyui.port)
        self.assertIn("web page", out)
        self.assertIn("history.db", out)


if __name__ == "__main__":
    unittest.main()
