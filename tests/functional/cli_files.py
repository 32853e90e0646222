# SPDX-License-Identifier: Apache-2.0
"""Model files that are truncated, oversized, lying or hostile: an error that says what is wrong, quickly and in little memory."""
import json
import os
import resource
import struct
import subprocess
import time
import unittest

import support
from support import FunctionalTest

CARD = ("--card", "rtx3050-6gb")


def header_file(text, data=b""):
    return struct.pack("<Q", len(text)) + text + data


class HostileFiles(FunctionalTest):
    def refused(self, name, content):
        path = self.home / name
        path.write_bytes(content)
        out, _ = self.run_plimsoll("forecast", "--model-file", path, *CARD, "--json", code=None)
        message = json.loads(out)["error"]["message"]
        self.assertIn(name, message)
        return message

    def test_safetensors(self):
        entry = b'{"a":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]}'
        cases = {
            "empty": b"",
            "truncated_length": b"\x10\x00\x00",
            "truncated_header": struct.pack("<Q", 1000) + b"{",
            "length_2_63": struct.pack("<Q", 1 << 63) + b"{}",
            "length_2_64": b"\xff" * 8 + b"{}",
            "oversized": struct.pack("<Q", 300_000_000) + b"{}",
            "not_json": header_file(b"x" * 32),
            "nested": header_file(b"[" * 10_000 + b"]" * 10_000),
            "nan": header_file(b'{"a":{"dtype":"F16","shape":[NaN],"data_offsets":[0,8]}}', bytes(8)),
            "overlap": header_file(entry + b',"b":{"dtype":"F16","shape":[2,2],"data_offsets":[4,12]}}', bytes(12)),
            "beyond_the_end": header_file(b'{"a":{"dtype":"F16","shape":[2,2],"data_offsets":[800000,800008]}}', bytes(8)),
            "lying_shape": header_file(b'{"a":{"dtype":"F16","shape":[4000000000,4000000000,4000000000],"data_offsets":[0,8]}}', bytes(8)),
            "negative_shape": header_file(b'{"a":{"dtype":"F16","shape":[-2,2],"data_offsets":[0,8]}}', bytes(8)),
            "backward": header_file(b'{"a":{"dtype":"F16","shape":[2,2],"data_offsets":[8,0]}}', bytes(8)),
        }
        for name, content in cases.items():
            with self.subTest(name):
                self.assertTrue(self.refused(name + ".safetensors", content))
        self.assertIn("limit", self.refused("oversized.safetensors", cases["oversized"] + bytes(300_000_000)[:0]))

    def test_gguf_and_pickles(self):
        cases = {
            "magic_only.gguf": b"GGUF",
            "many_tensors.gguf": b"GGUF" + struct.pack("<IQQ", 3, 1 << 62, 0),
            "long_key.gguf": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1 << 40),
            "not_a_zip.ckpt": b"PK\x03\x04" + bytes(40),
            "evil.ckpt": b"cos\nsystem\n(S'touch pwned'\ntR.",
            "text.ckpt": b"hello",
        }
        for name, content in cases.items():
            with self.subTest(name):
                self.refused(name, content)
        self.assertFalse((self.home / "pwned").exists())

    def test_a_gigabyte_of_json_is_refused_without_reading_it(self):
        path = self.home / "huge.safetensors"
        with open(path, "wb") as file:
            file.write(struct.pack("<Q", 1 << 30) + b"{")
            file.truncate((1 << 30) + 8)  # a hole: no space on disk
        begin = time.monotonic()
        process = subprocess.Popen([support.BINARY, "forecast", "--model-file", str(path), *CARD], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, env=support.environment(self.home))
        message = process.stderr.read().decode()
        process.stderr.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, 1)
        self.assertIn("huge.safetensors", message)
        self.assertLess(usage.ru_maxrss, 200 * 1024)
        self.assertLess(time.monotonic() - begin, 20)

    def test_folders_pipes_and_missing_files(self):
        fifo = self.home / "pipe.safetensors"
        os.mkfifo(fifo)
        for path in (self.home, fifo, self.home / "absent.safetensors", "/dev/zero"):
            out, _ = self.run_plimsoll("forecast", "--model-file", path, *CARD, "--json", code=None)
            self.assertIn(os.path.basename(path), json.loads(out)["error"]["message"])

    def test_a_file_without_a_diffusion_network_says_so(self):
        support.write_model(self.home / "vae.safetensors", parts=("kl_vae",))
        _, err = self.run_plimsoll("forecast", "--model-file", self.home / "vae.safetensors", *CARD, code=2)
        self.assertIn("no diffusion network", err)

    def test_model_folders_never_lead_outside(self):
        outside = self.home / "outside.safetensors"
        support.write_model(outside)
        models = self.home / "models"
        models.mkdir()
        workflow = support.text_to_image(checkpoint="../outside.safetensors")
        (self.home / "job.json").write_text(json.dumps(workflow))
        answer = self.run_json("forecast", self.home / "job.json", "--models-dir", models, *CARD)
        self.assertIn("not in a model folder", " ".join(answer["warnings"]))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    unittest.main()
