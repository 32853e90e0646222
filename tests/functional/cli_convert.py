# SPDX-License-Identifier: Apache-2.0
"""plimsoll convert, and workflows in UI format where a workflow is asked for: with a saved object_info, with a running ComfyUI, with neither."""
import gzip
import json
import pathlib
import time
import unittest

import support
from support import FunctionalTest

DATA = pathlib.Path(support.SOURCE) / "tests" / "data"
INFO = DATA / "convert" / "object_info_0.3.64.json.gz"
UI = DATA / "workflow" / "sd15_bypassed_lora.ui.json"
CARD = ("--card", "rtx3050-6gb")


class Convert(FunctionalTest):
    def test_prints_what_the_front_end_submits(self):
        out, _ = self.run_plimsoll("convert", UI, "--object-info", INFO)
        self.assertEqual(json.loads(out), json.loads(UI.with_name("sd15_bypassed_lora.api.json").read_text()))

    def test_writes_a_file_and_says_so(self):
        path = self.home / "api.json"
        answer = self.run_json("convert", UI, "--object-info", INFO, "--output", path)
        self.assertEqual(answer, {"output": str(path), "nodes": len(json.loads(path.read_text()))})
        out, _ = self.run_plimsoll("convert", path, "--object-info", INFO, code=2)
        self.assertEqual(out, "")

    def test_reads_compressed_and_plain_files(self):
        plain = self.home / "object_info.json"
        plain.write_bytes(gzip.decompress(INFO.read_bytes()))
        packed = self.home / "ui.json.gz"
        packed.write_bytes(gzip.compress(UI.read_bytes()))
        out, _ = self.run_plimsoll("convert", packed, "--object-info", plain)
        self.assertIn("class_type", out)

    def test_asks_the_running_comfyui(self):
        simulator = self.simulator()
        out, _ = self.run_plimsoll("convert", UI, COMFYUI_PORT=simulator.port)
        self.assertEqual(json.loads(out)["3"]["class_type"], "KSampler")
        answer = self.run_json("forecast", UI, *CARD, COMFYUI_PORT=simulator.port)
        self.assertEqual(answer["verdict"], "fits")

    def test_takes_ui_format_wherever_a_workflow_is_taken(self):
        for command in ("forecast", "plan"):
            with self.subTest(command):
                answer = self.run_json(command, UI, "--object-info", INFO, *CARD)
                self.assertNotIn("error", answer)

    def test_says_what_to_do_when_nobody_knows_the_nodes(self):
        for command in ("convert", "forecast", "plan"):
            with self.subTest(command):
                _, err = self.run_plimsoll(command, UI, code=2, COMFYUI_PORT=support.free_port())
                for word in ("UI format", "--object-info FILE", "Export (API)"):
                    self.assertIn(word, err)

    def test_refuses_what_is_no_object_info(self):
        for name, content, word in (("a", b"{}", "no object_info"), ("b", b"<html>", "not JSON"),
                                    ("c", b"\x1f\x8b\x08", "gzip"), ("d", b'{"A": 1}', "GET /object_info")):
            with self.subTest(name):
                path = self.home / name
                path.write_bytes(content)
                _, err = self.run_plimsoll("convert", UI, "--object-info", path, code=None)
                self.assertIn(word, err)

    def test_hostile_files_end_quickly(self):
        doubling = [{"id": "d0", "nodes": [{"id": 1, "type": "KSampler"}]}] + [
            {"id": f"d{i}", "nodes": [{"id": 1, "type": f"d{i - 1}"}, {"id": 2, "type": f"d{i - 1}"}]} for i in range(1, 60)]
        chain = [{"id": f"d{i}", "nodes": [{"id": 1, "type": f"d{i + 1}"}]} for i in range(3000)]
        ports = {"id": "p", "nodes": [], "inputs": [{"name": f"i{i}"} for i in range(3000)]}
        hosts = [{"id": i, "type": "p"} for i in range(20000)]
        cases = {"doubling": ([{"id": 1, "type": "d59"}], doubling, 1), "chain": ([{"id": 1, "type": "d0"}], chain, 1),
                 "ports": (hosts, [ports], 1), "loop": ([{"id": 1, "type": "l"}], [{"id": "l", "nodes": [{"id": 1, "type": "l"}]}], 2)}
        for name, (nodes, subgraphs, code) in cases.items():
            with self.subTest(name):
                path = self.home / f"{name}.json"
                path.write_text(json.dumps({"nodes": nodes, "links": [], "definitions": {"subgraphs": subgraphs}}))
                begin = time.monotonic()
                _, err = self.run_plimsoll("convert", path, "--object-info", INFO, code=code)
                self.assertIn(path.name, err)
                self.assertLess(time.monotonic() - begin, 20)

    def test_a_hundred_megabytes_are_read_or_refused(self):
        path = self.home / "large.json"
        node = json.dumps({"id": 1, "type": "KSampler", "widgets_values": ["x" * 50_000]})
        path.write_text('{"links": [], "nodes": [' + ",".join([node] * 1990) + "]}")
        out, _ = self.run_plimsoll("convert", path, "--object-info", INFO)
        self.assertIn("KSampler", out)
        path.write_text('{"links": [], "nodes": [' + ",".join([node] * 2200) + "]}")
        _, err = self.run_plimsoll("convert", path, "--object-info", INFO, code=1)
        self.assertIn("limit", err)


if __name__ == "__main__":
    unittest.main()
