# SPDX-License-Identifier: Apache-2.0
"""`plimsoll forecast`: whatever names the job, the numbers come, and odd workflows are forecast as far as they are understood."""
import json
import unittest

import support
from support import FunctionalTest

CARD = ("--card", "rtx3050-6gb")
FIELDS = ("verdict", "loadLineBytes", "peakBytes", "floorBytes", "comfortBytes", "seconds", "phases", "warnings")


class Forecast(FunctionalTest):
    def test_every_promised_field_is_there_and_adds_up(self):
        answer = self.run_json("forecast", "--family", "sdxl", *CARD)
        for field in FIELDS:
            self.assertIn(field, answer)
        self.assertEqual(answer["loadLineBytes"], 4352 << 20)
        self.assertIn(answer["verdict"], ("fits", "fits_slowly", "will_not_fit", "unknown"))
        kinds = [phase["kind"] for phase in answer["phases"]]
        self.assertIn("sample", kinds)
        self.assertIn("vae_decode", kinds)
        self.assertEqual(answer["peakBytes"], max(phase["peakBytes"] for phase in answer["phases"]))
        self.assertAlmostEqual(answer["seconds"], sum(phase["seconds"] for phase in answer["phases"]), places=6)
        for phase in answer["phases"]:
            self.assertLessEqual(phase["floorBytes"], phase["peakBytes"])

    def test_every_number_of_the_table_is_in_the_json(self):
        job = ("--family", "sdxl", *CARD, "--width", 768)
        text, _ = self.run_plimsoll("forecast", *job)
        for phase in self.run_json("forecast", *job)["phases"]:
            row = next(line for line in text.splitlines() if line.startswith("  " + phase["kind"].replace("_", " ")))
            mib = phase["peakBytes"] / 2**20
            shown = "0" if phase["peakBytes"] == 0 else f"{mib:.1f}" if mib < 100 else f"{mib:.0f}"
            self.assertIn(shown, row.split())
            self.assertIn(f"{phase['seconds']:.2f}", row.split())

    def test_the_text_says_line_verdict_and_phases_within_80_columns_and_without_colours(self):
        out, _ = self.run_plimsoll("forecast", "--model", "sdxl-base", "--explain", *CARD)
        self.assertIn("load line  4352 MiB (5120 MiB less 15 %)", out)
        self.assertIn("verdict    ", out)
        self.assertIn("peak MiB", out)
        self.assertNotIn("\x1b", out)
        for line in out.splitlines():
            self.assertLessEqual(len(line), 80, line)

    def test_explain_names_the_peak_and_the_largest_tensors(self):
        out, _ = self.run_plimsoll("forecast", "--family", "sdxl", "--explain", *CARD)
        self.assertIn("largest live tensors at the peak", out)
        self.assertIn("peak of the activations in", out)
        plain, _ = self.run_plimsoll("forecast", "--family", "sdxl", *CARD)
        self.assertNotIn("largest live tensors", plain)

    def test_a_workflow_file_and_a_comfyui_picture_are_jobs(self):
        data = support.SOURCE / "tests/data/workflow"
        answer = self.run_json("forecast", data / "sdxlturbo.api.json", *CARD)
        self.assertEqual(answer["family"], "sdxl")
        picture = self.run_json("forecast", data / "txt2img_ComfyUI_00001_.png", *CARD)
        self.assertIn("sample", [phase["kind"] for phase in picture["phases"]])

    def test_the_size_of_an_input_is_said_or_read_from_its_file(self):
        graph = support.text_to_image()
        graph["5"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["10", 0], "vae": ["4", 2]}}
        graph["10"] = {"class_type": "LoadImage", "inputs": {"image": "photo.png"}}
        workflow = self.home / "img2img.json"
        workflow.write_text(json.dumps(graph))

        def sampled(*flags, code=None):
            answer = self.run_json("forecast", workflow, *CARD, *flags, code=code)
            phase = next(phase for phase in answer["phases"] if phase["kind"] == "sample")
            return phase["activationsBytes"], " ".join(answer["warnings"])

        assumed, warnings = sampled()
        self.assertIn("the size of photo.png is not known", warnings)
        small, warnings = sampled("--input", "photo.png=512x768")
        self.assertNotIn("is not known", warnings)
        self.assertLess(small, assumed)
        # The header of a picture of that size says the same.
        picture = self.home / "somewhere else.png"
        picture.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (512).to_bytes(4, "big") + (768).to_bytes(4, "big") + bytes(40))
        self.assertEqual(sampled("--input", f"photo.png={picture}")[0], small)
        # Several inputs; of one name the last counts.
        self.assertEqual(sampled("--input", "photo.png=64x64", "--input", "other.png=64x64", "--input", "photo.png=512x768")[0], small)
        out, error = self.run_plimsoll("forecast", workflow, *CARD, "--input", "photo.png=large", code=2)
        self.assertIn("neither a size", out + error)

    def test_the_host_is_said_beside_the_card(self):
        answer = self.run_json("forecast", "--family", "sdxl", *CARD)
        self.assertEqual(answer["hostBytes"], max(phase["hostBytes"] for phase in answer["phases"]))
        for phase in answer["phases"]:
            host = phase["host"]
            self.assertEqual(phase["hostBytes"], host["weightsBytes"] + host["lorasBytes"] + host["outputsBytes"])
            self.assertGreaterEqual(phase["reservedBytes"], phase["peakBytes"])
        # A card of 6 GB cannot hold SDXL's networks at once: the rest waits in the machine's memory.
        self.assertGreater(answer["hostBytes"], 5 << 30)
        out, _ = self.run_plimsoll("forecast", "--family", "sdxl", *CARD)
        self.assertIn("held in the machine's memory", out.replace("\n           ", " "))

    def test_a_model_file_is_read_and_its_numbers_stand(self):
        model = self.home / "model.safetensors"
        support.write_model(model)
        answer = self.run_json("forecast", "--model-file", model, *CARD)
        self.assertEqual(answer["family"], "sd15")
        self.assertEqual(answer["settings"]["width"], 512)
        self.assertNotIn("catalogue", " ".join(answer["warnings"]))

    def test_a_larger_picture_needs_more_and_another_card_changes_the_answer(self):
        small = self.run_json("forecast", "--family", "sd15", "--width", 512, "--height", 512, *CARD)
        large = self.run_json("forecast", "--family", "sd15", "--width", 1024, "--height", 1024, *CARD)
        self.assertGreater(large["floorBytes"], small["floorBytes"])
        self.assertGreater(large["seconds"], small["seconds"])
        big_card = self.run_json("forecast", "--family", "sdxl", "--card", "rtx4090")
        self.assertGreater(big_card["cardLimitBytes"], 20 << 30)

    def test_vram_mb_asks_about_a_card_of_that_size_without_a_server(self):
        answer = self.run_json("forecast", "--family", "sdxl", "--vram-mb", 4096)
        self.assertLess(answer["cardLimitBytes"], 4096 << 20)
        self.assertIn("times are those of rtx3050-6gb", " ".join(answer["warnings"]))

    def test_what_does_not_fit_exits_with_3_and_still_answers(self):
        out, _ = self.run_plimsoll("forecast", "--family", "sdxl", "--batch", 64, "--width", 1536, "--height", 1536, *CARD,
                                   "--json", code=3)
        self.assertEqual(json.loads(out)["verdict"], "will_not_fit")


class OddWorkflows(FunctionalTest):
    def forecast(self, change):
        workflow = support.text_to_image()
        change(workflow)
        path = self.home / "odd.json"
        path.write_text(json.dumps(workflow))
        return self.run_json("forecast", path, *CARD)

    def test_an_unknown_node_makes_its_phase_unknown_and_the_rest_is_forecast(self):
        def change(workflow):
            workflow["50"] = {"class_type": "MyMysteryNode", "inputs": {"images": ["8", 0]}}
            workflow["9"]["inputs"]["images"] = ["50", 0]
        answer = self.forecast(change)
        self.assertIn("MyMysteryNode", " ".join(answer["unknownNodes"]))
        self.assertIn("sample", [phase["kind"] for phase in answer["phases"]])

    def test_a_network_that_nobody_knows_is_bounded_by_its_file(self):
        # Its layers are called as no other network's: exact weights, both bounds and why, and no verdict.
        models = self.home / "models"
        models.mkdir()
        header, offset = {}, 0
        for block in range(20):
            for name, shape in (("mix_in", [8192, 2048]), ("mix_out", [2048, 8192])):
                header[f"novel.{block}.{name}.weight"] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + 2 * shape[0] * shape[1]]}
                offset += 2 * shape[0] * shape[1]
        support.write_safetensors(models / "novel.safetensors", header, offset)

        def change(workflow):
            workflow["20"] = {"class_type": "UNETLoader", "inputs": {"unet_name": "novel.safetensors", "weight_dtype": "default"}}
            workflow["3"]["inputs"]["model"] = ["20", 0]
        workflow = support.text_to_image()
        change(workflow)
        path = self.home / "novel.json"
        path.write_text(json.dumps(workflow))
        answer = self.run_json("forecast", path, *CARD, PLIMSOLL_MODELS_DIR=models)
        self.assertEqual(answer["verdict"], "unknown")
        bound = next(phase["bound"] for phase in answer["phases"] if phase["kind"] == "unknown")
        self.assertEqual(bound["weightsBytes"], offset)
        self.assertGreater(bound["lowerBytes"], 2 * 8192 * 2048)
        self.assertGreater(bound["upperBytes"], bound["weightsBytes"])
        self.assertIn("8192", bound["reason"])
        self.assertGreaterEqual(answer["bound"]["upperBytes"], bound["upperBytes"])
        text, _ = self.run_plimsoll("forecast", path, *CARD, "--explain", PLIMSOLL_MODELS_DIR=models)
        words = " ".join(text.split())  # lines are as wide as the terminal
        self.assertIn("at least", words)
        self.assertIn("exactly", words)

    def test_a_cycle_is_told_and_no_crash(self):
        def change(workflow):
            workflow["3"]["inputs"]["latent_image"] = ["3", 0]
        answer = self.forecast(change)
        self.assertEqual(answer["verdict"], "unknown")

    def test_a_dangling_link_is_told_and_no_crash(self):
        def change(workflow):
            workflow["3"]["inputs"]["model"] = ["999", 0]
        answer = self.forecast(change)
        self.assertEqual(answer["verdict"], "unknown")

    def test_files_that_are_no_workflow_are_errors_that_name_them(self):
        for name, text in (("empty.json", ""), ("broken.json", '{"3": {'), ("list.json", "[1, 2]"), ("deep.json", "[" * 100_000),
                           ("nan.json", '{"3": NaN}')):
            (self.home / name).write_text(text)
            out, _ = self.run_plimsoll("forecast", self.home / name, *CARD, "--json", code=None)
            self.assertIn(name, json.loads(out)["error"]["message"])
        _, err = self.run_plimsoll("forecast", self.home / "absent.json", *CARD, code=1)
        self.assertIn("absent.json", err)

    def test_escape_sequences_in_a_workflow_do_not_reach_the_terminal(self):
        def change(workflow):
            workflow["50"] = {"class_type": "Evil\x1b]0;title\x07Node", "inputs": {"images": ["8", 0]}}
            workflow["9"]["inputs"]["images"] = ["50", 0]
        workflow = support.text_to_image()
        change(workflow)
        (self.home / "evil.json").write_text(json.dumps(workflow))
        out, err = self.run_plimsoll("forecast", self.home / "evil.json", *CARD, "--explain")
        self.assertNotIn("\x1b", out + err)
        self.assertNotIn("\x07", out + err)


class Usage(FunctionalTest):
    def refused(self, *args, code=2):
        out, _ = self.run_plimsoll(*args, "--json", code=code)
        return json.loads(out)["error"]["message"]

    def test_flags_out_of_range_name_the_range(self):
        for flag, value, words in (("--width", 511, "512 to 1536"), ("--width", 516, "steps of 8"), ("--height", "tall", "512 to 1536"),
                                   ("--steps", 7, "8 to 50"), ("--steps", -1, "8 to 50"), ("--cfg", 0.5, "1 to 15"), ("--cfg", "nan", "1 to 15"),
                                   ("--batch", 0, "1 to 64"), ("--quality", "best", "draft, optimized, high, ultra"),
                                   ("--frames", 16, "1 to 1"), ("--seed", "-1", "0 to 18446744073709551615"),
                                   ("--vram-mb", 10, "1024 to 1048576"), ("--max-vram-mb", 12, "1024 to 1048576"),
                                   ("--safety-margin", 1, "0 to 0.9"), ("--max-duration-min", 0, "0.1 to 1440"),
                                   ("--memory-policy", "magic", "estimate or dynamic"), ("--comfyui-port", 0, "1 to 65535"),
                                   ("--comfyui-timeout", 1, "1000 to 86400000")):
            message = self.refused("forecast", "--family", "sdxl", *CARD, flag, value)
            self.assertIn(words, message, (flag, value))
            self.assertIn(flag.lstrip("-").split("-")[0], message)

    def test_names_that_are_not_known_list_the_nearest(self):
        self.assertIn("sdxl-base", self.refused("forecast", "--model", "sdxl-bas", *CARD, code=1))
        self.assertIn("rtx3050-6gb", self.refused("forecast", "--family", "sdxl", "--card", "rtx3050-6g", code=1))
        self.assertIn("sdxl", self.refused("forecast", "--family", "sdxxl", *CARD, code=1))
        self.assertIn("did you mean --width", self.refused("forecast", "--widht", 512))
        self.assertIn("did you mean forecast", self.refused("forcast"))

    def test_a_job_is_named_once(self):
        self.assertIn("exactly one of", self.refused("forecast", *CARD))
        self.assertIn("exactly one of", self.refused("forecast", "--family", "sdxl", "--model", "sdxl-base", *CARD))
        workflow = support.SOURCE / "tests/data/workflow/sdxlturbo.api.json"
        self.assertIn("a workflow brings its own", self.refused("forecast", workflow, "--width", 512, *CARD))

    def test_every_command_has_help_with_an_example(self):
        for command in ("forecast", "plan", "largest", "generate", "presets", "history", "simulate", "doctor", "trace", "residency",
                        "presets save", "presets load", "presets list", "presets remove", "history list", "history show"):
            out, _ = self.run_plimsoll(*command.split(), "--help")
            self.assertIn("Example:\n  ", out, command)
            self.assertIn("--json", out, command)
            self.assertIn(f"Usage: plimsoll {command}", out)

    def test_version_and_bare_calls(self):
        out, _ = self.run_plimsoll("--version")
        self.assertRegex(out, r"^plimsoll \d+\.\d+\.\d+\n$")
        self.assertEqual(self.run_json("--version"), {"version": out.split()[1]})
        _, err = self.run_plimsoll(code=2)
        self.assertIn("Usage: plimsoll", err)

    def test_a_full_disk_behind_standard_output_is_an_error(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            code, err = self.run_into(full, "forecast", "--family", "sd15", *CARD)
        self.assertEqual(code, 1)
        self.assertIn("standard output cannot be written", err)


if __name__ == "__main__":
    unittest.main()
