# SPDX-License-Identifier: Apache-2.0
"""Scorers of the user's: a program and a server, real and broken, in a test from the command line."""
import base64
import http.server
import json
import pathlib
import subprocess
import sys
import threading
import unittest
import zlib

from support import BINARY, FunctionalTest, environment

# A small real scorer: how many colours a picture has, by its PNG's bytes alone. Reads a question, prints a score.
PROGRAM = """
import json, struct, sys, zlib
question = json.load(sys.stdin)
bytes_ = open(question["picture"]["file"], "rb").read()
assert bytes_.startswith(b"\\x89PNG"), "no PNG"
assert question["prompt"] and "reference" in question
at, data = 8, b""
while at < len(bytes_):
    size, kind = struct.unpack(">I4s", bytes_[at:at + 8])
    if kind == b"IDAT":
        data += bytes_[at + 8:at + 8 + size]
    at += 12 + size
print(json.dumps({"score": len(zlib.compress(zlib.decompress(data), 1)) / 1e5}))
"""


class Server(http.server.BaseHTTPRequestHandler):
    asked = []

    def do_POST(self):
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        picture = base64.b64decode(question["picture"]["base64"])
        Server.asked.append(question["prompt"])
        body = json.dumps({"score": zlib.crc32(picture) % 100 / 100}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Scorers(FunctionalTest):
    def test_a_program_and_a_server_score_each_picture_and_broken_ones_are_named(self):
        program = pathlib.Path(self.home) / "colours.py"
        program.write_text(PROGRAM)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        ran = subprocess.run(
            [BINARY, "quality", "quick", "--simulate", "--speed", "0", "--model", "3d-cartoon", "--prompt", "a toy train", "--seed", "3",
             "--json", "--scorer", f"colours,margin:1000={sys.executable} {program}",
             "--scorer", f"http=http://127.0.0.1:{server.server_port}/score",
             "--scorer", "nan=echo {\'score\':NaN}", "--scorer", "hangs,deadline:0.1=sleep 600", "--scorer", "gone=/nowhere/scorer"],
            capture_output=True, text=True, env=environment(self.home), timeout=170)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        answer = json.loads(ran.stdout)
        self.assertEqual(answer["state"], "done")
        drawn = [p for p in answer["pictures"] if p["state"] == "drawn"]
        self.assertGreater(len(drawn), 10)
        self.assertEqual(len(Server.asked), len(drawn))
        self.assertTrue(all("a toy train" in prompt for prompt in Server.asked))
        for picture in drawn:
            self.assertEqual(set(picture["scores"]), {"colours", "http"})
            self.assertEqual(set(picture["unscored"]), {"nan", "hangs", "gone"})
        part = {one["name"]: one for one in answer["scorers"]}
        self.assertTrue(part["colours"]["decides"])
        self.assertFalse(part["http"]["decides"])
        for name, why in (("nan", "no JSON"), ("hangs", "within 0.1 s"), ("gone", "no program")):
            self.assertEqual(part[name]["scored"], 0)
            self.assertIn(why, part[name]["whyFailed"])
        columns = {one["scorer"]: one for one in answer["candidates"][answer["reference"]]["scorers"]}
        self.assertEqual(columns["colours"]["toReference"]["difference"], 0)
        self.assertIsNone(columns["nan"]["toReference"])
        self.assertIsNotNone(answer["answer"]["chosen"], answer["answer"]["words"])

        self.what_is_over_stays_over(answer["sessionId"])

    def what_is_over_stays_over(self, session):
        def quality(*arguments):
            return subprocess.run([BINARY, "quality", *arguments, "--json"], capture_output=True, text=True, env=environment(self.home), timeout=60)

        self.assertIn("done already", quality("cancel", session).stdout)
        self.assertIn(session, quality("cancel", "no-such-session").stdout)  # the known ones are listed
        self.assertIn("only a proposed one", quality("accept", session).stdout)
        self.assertEqual(json.loads(quality("proposals").stdout), {"proposals": []})
        self.assertEqual(json.loads(quality("status", session).stdout)["state"], "done")

    def test_a_scorer_that_cannot_be_is_refused_before_anything_is_drawn(self):
        for wrong in ("pick", "a b=x", "p,margin:0=x", "p=https://localhost/x"):
            ran = subprocess.run([BINARY, "quality", "quick", "--simulate", "--model", "sdxl-base", "--scorer", wrong],
                                 capture_output=True, text=True, env=environment(self.home), timeout=60)
            self.assertEqual(ran.returncode, 2, ran.stderr)


if __name__ == "__main__":
    unittest.main()
