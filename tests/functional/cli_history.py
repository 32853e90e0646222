# SPDX-License-Identifier: Apache-2.0
"""History and presets: what was run can be listed, filtered and shown; settings are kept under names."""
import json
import unittest

from scripted_comfyui import ScriptedComfyUi
from support import FunctionalTest


def rounded(value):
    """Numbers that went through a text may differ in their last digit."""
    if isinstance(value, dict):
        return {key: rounded(member) for key, member in value.items()}
    if isinstance(value, list):
        return [rounded(member) for member in value]
    return round(value, 9) if isinstance(value, float) else value


class History(FunctionalTest):
    def draw(self, comfyui, *flags, code=0):
        return self.run_json("generate", "a dragon", *flags, code=code, COMFYUI_PORT=comfyui.port)["runs"][-1]

    def test_runs_are_listed_newest_first_in_pages_and_by_filter(self):
        self.assertEqual(self.run_json("history"), {"runs": [], "nextCursor": None})
        with ScriptedComfyUi() as comfyui:
            ids = [self.draw(comfyui, "--model", model)["runId"] for model in ("sdxl-base", "3d-cartoon", "sdxl-base")]
            comfyui.failure = ("ValueError", "no")
            ids.append(self.draw(comfyui, "--model", "sdxl-base", code=1)["runId"])
        self.assertEqual([run["runId"] for run in self.run_json("history")["runs"]], ids[::-1])
        first = self.run_json("history", "--limit", 3)
        second = self.run_json("history", "list", "--limit", 3, "--cursor", first["nextCursor"])
        self.assertEqual([run["runId"] for run in first["runs"] + second["runs"]], ids[::-1])
        self.assertIsNone(second["nextCursor"])
        self.assertEqual([run["runId"] for run in self.run_json("history", "--model", "3d-cartoon")["runs"]], [ids[1]])
        self.assertEqual([run["runId"] for run in self.run_json("history", "--outcome", "failed")["runs"]], [ids[3]])
        self.assertEqual(len(self.run_json("history", "--card", "rtx3050-6gb")["runs"]), 4)
        self.assertEqual(len(self.run_json("history", "--since", "2020-01-01")["runs"]), 4)
        self.assertEqual(len(self.run_json("history", "--before", "2020-01-01")["runs"]), 0)

    def test_one_run_is_shown_with_forecast_beside_observed(self):
        with ScriptedComfyUi() as comfyui:
            run = self.draw(comfyui, "--model", "sdxl-base", "--width", 832, "--height", 1216, "--seed", 7)
        shown = self.run_json("history", "show", run["runId"][:8])
        self.assertEqual(rounded(shown), rounded(run))
        self.assertEqual((shown["settings"]["width"], shown["settings"]["height"], shown["settings"]["seed"]), (832, 1216, "7"))
        self.assertEqual(shown["prompt"], "a dragon")
        out, _ = self.run_plimsoll("history", "show", run["runId"])
        for words in ("forecast MiB", "observed MiB", "forecast s", "observed s", "832 x 1216", "a dragon", run["images"][0][:40]):
            self.assertIn(words, out)
        listed, _ = self.run_plimsoll("history")
        self.assertIn("832x1216", listed)

    def test_what_does_not_exist_and_what_cannot_be(self):
        self.run_plimsoll("history", "show", "00000000", code=1)
        for flags, words in ((("--limit", 0), "1 to 1000"), (("--outcome", "great"), "out_of_memory"), (("--since", "yesterday"), "2025-11-25"),
                             (("--cursor", "x"), "no cursor")):
            out, _ = self.run_plimsoll("history", *flags, "--json", code=2)
            self.assertIn(words, json.loads(out)["error"]["message"])


class Presets(FunctionalTest):
    def test_saved_listed_loaded_used_and_removed(self):
        self.assertEqual(self.run_json("presets"), {"presets": []})
        self.run_plimsoll("presets", "save", "portrait", "--model", "sdxl-base", "--width", 832, "--height", 1216, "--cfg", 5.5)
        loaded = self.run_json("presets", "load", "portrait")
        self.assertEqual(loaded["settings"], {"model": "sdxl-base", "width": 832, "height": 1216, "cfg": 5.5})
        self.assertEqual([preset["name"] for preset in self.run_json("presets", "list")["presets"]], ["portrait"])
        answer = self.run_json("forecast", "--preset", "portrait", "--height", 512, "--card", "rtx3050-6gb")
        self.assertEqual((answer["settings"]["width"], answer["settings"]["height"], answer["settings"]["cfg"]), (832, 512, 5.5))
        out, _ = self.run_plimsoll("presets")
        self.assertIn("portrait", out)
        self.assertIn("width 832", out)
        self.assertEqual(self.run_json("presets", "remove", "portrait"), {"removed": "portrait"})
        self.assertEqual(self.run_json("presets"), {"presets": []})

    def test_saving_again_replaces(self):
        for width in (512, 640):
            self.run_plimsoll("presets", "save", "small", "--width", width)
        self.assertEqual(self.run_json("presets", "load", "small")["settings"], {"width": 640})

    def test_what_cannot_be_is_refused_with_reasons(self):
        self.run_plimsoll("presets", "save", "portrait", "--width", 832)
        out, _ = self.run_plimsoll("presets", "load", "portait", "--json", code=1)
        self.assertIn("portrait", json.loads(out)["error"]["message"])
        self.run_plimsoll("presets", "remove", "other", code=1)
        for args, words in ((("save", "../evil", "--width", 512), "letters, digits"), (("save", "empty"), "--width"),
                            (("save", "x", "--width", 5), "512 to 1536"), (("save",), "name is required")):
            out, _ = self.run_plimsoll("presets", *args, "--json", code=2)
            self.assertIn(words, json.loads(out)["error"]["message"])

    def test_a_history_that_cannot_be_written_loses_nothing(self):
        (self.home / "file").write_text("")
        _, err = self.run_plimsoll("presets", "save", "x", "--width", 512, code=1, PLIMSOLL_HOME=self.home / "file" / "home")
        self.assertIn("PLIMSOLL_HOME", err)


if __name__ == "__main__":
    unittest.main()
