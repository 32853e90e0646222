# SPDX-License-Identifier: Apache-2.0
"""`plimsoll trace` and `plimsoll residency`: one answer for each line, in order and at once; a bad line is an error object, never a crash."""
import gzip
import json
import subprocess
import unittest

import support
from support import FunctionalTest

QUESTION = {"family": "sdxl", "variant": "base", "phase": "unet_step", "width": 512, "height": 512, "frames": 1, "batch": 2, "dtype": "fp16",
            "tokens": 77, "call": "apply_model"}
BAD = ("no json", "[1, 2]", '{"family": ', "\x00\x01", "[" * 100_000)


class Lines(FunctionalTest):
    command = "trace"
    good = json.dumps(QUESTION)

    def answers(self, text, code):
        out, _ = self.run_plimsoll(self.command, stdin=text, code=code)
        return [json.loads(line) for line in out.splitlines()]

    def test_answers_come_in_order_and_bad_lines_are_answered_in_their_place(self):
        answers = self.answers("\n".join([self.good, BAD[0], "", self.good, *BAD[1:]]) + "\n", code=1)
        self.assertEqual(["error" in answer for answer in answers], [False, True, False, True, True, True, True])
        self.assertIn("line 2:", answers[1]["error"]["message"])
        self.assertEqual(answers[1]["error"]["code"], "corrupt")

    def test_only_good_lines_and_a_last_one_without_its_end(self):
        self.assertEqual(len(self.answers(self.good + "\n" + self.good, code=0)), 2)
        self.assertEqual(self.answers("", code=0), [])

    def test_an_answer_follows_its_question_at_once(self):
        process = self.start_plimsoll(self.command)
        for _ in range(3):
            process.stdin.write(self.good + "\n")
            process.stdin.flush()
            self.assertNotIn("error", json.loads(process.stdout.readline()))
        process.stdin.close()
        self.assertEqual(process.wait(30), 0)

    def test_a_line_without_end_takes_no_memory_and_is_refused(self):
        answers = self.answers("x" * (20 << 20) + "\n" + self.good + "\n", code=1)
        self.assertEqual(answers[0]["error"]["code"], "limit_exceeded")
        self.assertNotIn("error", answers[1])

    def test_a_reader_that_goes_away_ends_it_quietly(self):
        process = subprocess.Popen([support.BINARY, self.command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, env=support.environment(self.home))
        process.stdout.close()
        try:
            process.stdin.write((self.good + "\n") * 200)
            process.stdin.close()
        except BrokenPipeError:
            pass
        self.assertEqual(process.wait(30), 1)
        self.assertEqual(process.stderr.read(), "")
        process.stderr.close()


class Trace(Lines):
    def test_the_recorded_peaks_come_out(self):
        recorded = [json.loads(line) for line in (support.SOURCE / "tests/data/traces/ldm.jsonl").read_text().splitlines()]
        recorded = recorded[::max(1, len(recorded) // 40)]
        # The recorded numbers are taken away, so that they cannot come back by themselves.
        numbers = ("peak_bytes", "weights_bytes", "params", "flops")
        questions = [{key: value for key, value in line.items() if key not in (*numbers, "bytes_moved", "kernels", "top_live")} for line in recorded]
        answers = self.answers("".join(json.dumps(line) + "\n" for line in questions), code=0)
        self.assertEqual(len(answers), len(recorded))
        for truth, answer in zip(recorded, answers):
            self.assertEqual(answer["params"], truth["params"], truth.get("id"))
            self.assertAlmostEqual(answer["peak_bytes"] / truth["peak_bytes"], 1, delta=0.001, msg=truth.get("id"))

    def test_a_network_that_is_not_simulated_is_unknown_with_a_reason(self):
        answer = self.answers(json.dumps({**QUESTION, "family": "wan"}) + "\n", code=0)[0]
        self.assertEqual(answer["verdict"], "unknown")
        self.assertTrue(answer["reason"])


class Residency(Lines):
    command = "residency"

    @classmethod
    def setUpClass(cls):
        path = next((support.SOURCE / "tests/data/residency").glob("*.gz"))
        cls.lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        cls.good = cls.lines[0]

    def test_every_recorded_line_has_an_answer(self):
        lines = self.lines[:60]
        answers = self.answers("\n".join(lines) + "\n", code=0)
        self.assertEqual(len(answers), len(lines))
        for line, answer in zip(lines, answers):
            self.assertEqual(json.loads(line)["step"], answer["step"])
            self.assertTrue("resident" in answer or answer.get("verdict") == "unknown", answer)


del Lines  # only its children run

if __name__ == "__main__":
    unittest.main()
