# SPDX-License-Identifier: Apache-2.0
"""`plimsoll generate` when ComfyUI misbehaves: each time a clear error, the right exit code, and nothing lost."""
import json
import os
import signal
import socket
import subprocess
import time
import unittest

import support
from scripted_comfyui import ScriptedComfyUi, tiny_png
from support import FunctionalTest

DRAGON = ("generate", "a dragon", "--model", "sdxl-base")


class Hazard(FunctionalTest):
    def comfyui(self):
        comfyui = ScriptedComfyUi()
        comfyui.__enter__()
        self.addCleanup(comfyui.__exit__)
        return comfyui

    def generate(self, comfyui, *flags, code=0, **env):
        out, _ = self.run_plimsoll(*DRAGON, *flags, "--json", code=code, COMFYUI_PORT=comfyui.port, **env)
        return json.loads(out)

    def last_run(self):
        return self.run_json("history")["runs"][0]


class Reaching(Hazard):
    def test_nothing_listens(self):
        with socket.socket() as held:  # bound, not listening: nobody else takes the port
            held.bind(("127.0.0.1", 0))
            out, _ = self.run_plimsoll(*DRAGON, "--json", code=4, COMFYUI_PORT=held.getsockname()[1])
        message = json.loads(out)["error"]["message"]
        self.assertIn("connection refused", message)
        self.assertIn("COMFYUI_PORT", message)
        self.assertEqual(self.run_json("history")["runs"], [])

    def test_a_web_page_instead_of_comfyui(self):
        comfyui = self.comfyui()
        comfyui.html = True
        message = self.generate(comfyui, code=4)["error"]["message"]
        self.assertIn("a web page, not JSON", message)

    def test_a_program_that_accepts_and_says_nothing(self):
        comfyui = self.comfyui()
        comfyui.silent = {"/system_stats"}
        message = self.generate(comfyui, code=4)["error"]["message"]
        self.assertIn("no answer in time", message)

    def test_a_model_that_comfyui_does_not_have(self):
        comfyui = self.comfyui()
        comfyui.checkpoints = ["sd_xl_base_0.9.safetensors", "dreamshaper_8.safetensors"]
        message = self.generate(comfyui, code=1)["error"]["message"]
        self.assertIn("no checkpoint sd_xl_base_1.0.safetensors", message)
        self.assertIn("sd_xl_base_0.9.safetensors", message)
        self.assertEqual(comfyui.submitted, [])

    def test_a_checkpoint_in_a_subfolder_is_found(self):
        comfyui = self.comfyui()
        comfyui.checkpoints = ["xl\\sd_xl_base_1.0.safetensors"]
        self.assertEqual(self.generate(comfyui)["outcome"], "done")
        self.assertIn("xl\\\\sd_xl_base_1.0.safetensors", comfyui.submitted[0])

    def test_a_refused_workflow_tells_comfyuis_reasons(self):
        comfyui = self.comfyui()
        comfyui.refusal = (400, {"error": {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation",
                                           "details": "", "extra_info": {}},
                                 "node_errors": {"3": {"class_type": "KSampler", "dependent_outputs": ["9"], "errors": [
                                     {"type": "value_not_in_list", "message": "Value not in list", "details": "sampler_name: 'magic'",
                                      "extra_info": {}}]}}})
        message = self.generate(comfyui, "--sampler", "magic", code=2)["error"]["message"]
        self.assertIn("magic", message)
        self.assertEqual(self.last_run()["outcome"], "failed")


class Running(Hazard):
    def test_a_job_goes_well(self):
        comfyui = self.comfyui()
        answer = self.generate(comfyui, "--seed", 18446744073709551615)
        self.assertEqual(answer["outcome"], "done")
        with open(answer["images"][0], "rb") as picture:
            self.assertEqual(picture.read(), comfyui.image)
        self.assertIn("18446744073709551615", comfyui.submitted[0])
        self.assertEqual(self.last_run()["runId"], answer["runs"][0]["runId"])
        self.assertEqual(self.last_run()["settings"]["seed"], "18446744073709551615")

    def test_pictures_of_one_name_do_not_replace_each_other(self):
        comfyui = self.comfyui()
        comfyui.image_name = "../../evil\x1b/plimsoll_00001_.png"
        first = self.generate(comfyui)["images"]
        comfyui.image = tiny_png(16, 16)
        second = self.generate(comfyui)["images"]
        self.assertNotEqual(first, second)
        for image in first + second:
            self.assertEqual(os.path.dirname(image), str(self.home / "output"))

    def test_a_websocket_that_drops_is_opened_again(self):
        comfyui = self.comfyui()
        comfyui.drops = 1
        self.assertEqual(self.generate(comfyui)["outcome"], "done")

    def test_a_restart_in_the_middle_is_a_lost_job_that_is_recorded(self):
        comfyui = self.comfyui()
        comfyui.forgetful = True
        answer = self.generate(comfyui, code=1)
        self.assertEqual(answer["outcome"], "lost")
        self.assertIn("run the job again", answer["why"])
        self.assertEqual(self.last_run()["outcome"], "lost")

    def test_out_of_memory_is_told_apart(self):
        comfyui = self.comfyui()
        comfyui.failure = ("torch.OutOfMemoryError", "Allocation on device ")
        answer = self.generate(comfyui, code=1)
        self.assertEqual(answer["outcome"], "out_of_memory")
        self.assertIn("node 3 (KSampler)", answer["why"])

    def test_an_error_of_a_node_is_passed_on(self):
        comfyui = self.comfyui()
        comfyui.failure = ("ValueError", "the lora is broken")
        self.assertIn("the lora is broken", self.generate(comfyui, code=1)["why"])

    def test_the_timeout_interrupts_the_job(self):
        comfyui = self.comfyui()
        comfyui.endless = True
        answer = self.generate(comfyui, code=1, COMFYUI_TIMEOUT=1000)
        self.assertEqual(answer["outcome"], "timed_out")
        self.assertIn("COMFYUI_TIMEOUT", answer["why"])
        self.assertIn("POST /interrupt", comfyui.requests)

    def test_a_picture_that_is_cut_off_is_no_picture(self):
        comfyui = self.comfyui()
        comfyui.cut_image = True
        answer = self.generate(comfyui, code=1)
        self.assertEqual(answer["images"], [])
        self.assertEqual(answer["imagesLeft"], ["plimsoll_00001_.png"])
        self.assertIn("still in ComfyUI's output folder", " ".join(answer["warnings"]))
        self.assertEqual(list((self.home / "output").iterdir()), [])


class Interrupting(Hazard):
    def start(self, comfyui, *flags):
        process = self.start_plimsoll(*DRAGON, *flags, COMFYUI_PORT=comfyui.port)
        self.assertTrue(comfyui.sampling.wait(30))
        return process

    def test_ctrl_c_interrupts_the_job_on_the_server(self):
        comfyui = self.comfyui()
        comfyui.endless = True
        process = self.start(comfyui, "--json")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 1)
        self.assertEqual(json.loads(out)["outcome"], "cancelled")
        self.assertIn("POST /interrupt", comfyui.requests)
        self.assertEqual(self.last_run()["outcome"], "cancelled")

    def test_a_second_ctrl_c_leaves_at_once(self):
        comfyui = self.comfyui()
        comfyui.endless = True
        process = self.start(comfyui)
        comfyui.silent = {"/interrupt", "/queue"}  # it will never confirm
        process.send_signal(signal.SIGINT)
        while "Ctrl-C again" not in process.stdout.readline():
            self.assertIsNone(process.poll())
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        self.assertEqual(process.returncode, -signal.SIGINT)

    def test_kill_9_leaves_a_run_that_is_seen_to_have_begun(self):
        comfyui = self.comfyui()
        comfyui.endless = True
        process = self.start(comfyui)
        process.kill()
        process.communicate()
        self.assertEqual(self.last_run()["outcome"], "running")


class Storage(Hazard):
    def test_a_home_that_cannot_be_written_is_told_before_anything_runs(self):
        comfyui = self.comfyui()
        (self.home / "file").write_text("")
        message = self.generate(comfyui, code=2, PLIMSOLL_HOME=self.home / "file" / "home")["error"]["message"]
        self.assertIn("--output-dir", message)
        self.assertEqual(comfyui.submitted, [])

    def test_without_a_history_the_picture_is_drawn_and_it_is_said(self):
        comfyui = self.comfyui()
        (self.home / "history.db").mkdir()
        out, err = self.run_plimsoll(*DRAGON, "--json", COMFYUI_PORT=comfyui.port)
        answer = json.loads(out)
        self.assertEqual(answer["outcome"], "done")
        self.assertFalse(answer["recorded"])
        self.assertIn("history.db", err)

    def test_with_a_damaged_history_the_run_is_recorded_in_a_new_one_and_the_damaged_one_is_kept(self):
        comfyui = self.comfyui()
        (self.home / "history.db").write_text("this is no database, whoever wrote it")
        out, err = self.run_plimsoll(*DRAGON, "--json", COMFYUI_PORT=comfyui.port)
        self.assertTrue(json.loads(out)["recorded"])
        self.assertIn("was moved to", err)
        kept, = self.home.glob("history.db.damaged-*")
        self.assertEqual(kept.read_text(), "this is no database, whoever wrote it")

    def test_a_full_disk_while_saving_keeps_no_half_picture(self):
        comfyui = self.comfyui()
        comfyui.image = b"\x89PNG" + bytes(3 << 20)
        # No file may grow above 1 MiB: what writing to a full disk is, without a disk to fill.
        done = subprocess.run(
            ["sh", "-c", 'ulimit -f 2048; trap "" XFSZ; exec "$@"', "sh", support.BINARY, *DRAGON, "--json"],
            capture_output=True, text=True, timeout=120, check=False, cwd=self.home,
            env=support.environment(self.home, COMFYUI_PORT=comfyui.port))
        self.assertEqual(done.returncode, 1, done.stderr)
        answer = json.loads(done.stdout)
        self.assertEqual(answer["imagesLeft"], ["plimsoll_00001_.png"])
        self.assertEqual(list((self.home / "output").iterdir()), [])
        self.assertEqual(self.last_run()["outcome"], "done")

    def test_two_processes_share_one_history_and_one_folder(self):
        comfyui = [self.comfyui(), self.comfyui()]
        processes = [self.start_plimsoll(*DRAGON, "--json", COMFYUI_PORT=one.port) for one in comfyui for _ in range(3)]
        for process in processes:
            out, err = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0, err)
            self.assertTrue(json.loads(out)["recorded"])
        self.assertEqual(len(self.run_json("history")["runs"]), len(processes))
        self.assertEqual(len(list((self.home / "output").iterdir())), len(processes))


if __name__ == "__main__":
    unittest.main()
