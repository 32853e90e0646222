# SPDX-License-Identifier: Apache-2.0
"""The running daemon against its own contract: thousands of generated requests, no 5xx, no undocumented answer, no hang."""
import os
import re
import subprocess
import unittest

from daemon import Daemon
from support import FunctionalTest, environment

TOOL = os.environ.get("PLIMSOLL_SCHEMATHESIS", "")
REQUESTS_MIN = 2000
# All but "a request that fits the schema is accepted": a contract's schema cannot say that two fields contradict each other; the
# documented 400 does.
CHECKS = ("not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
          "response_schema_conformance,negative_data_rejection,unsupported_method")


@unittest.skipUnless(TOOL, "PLIMSOLL_SCHEMATHESIS is not set: ./dev test installs it and sets it")
class Contract(FunctionalTest):
    def test_the_daemon_keeps_it(self):
        daemon = Daemon(self.home, "--simulate", "--card", "rtx3050-6gb", "--speed", 0)
        self.addCleanup(daemon.stop)
        url = daemon.start["url"]
        # The event stream has no end: its own tests are in serve_api.
        done = subprocess.run([TOOL, "run", url + "/openapi.json", "--url", url, "--checks", CHECKS, "--exclude-path", "/api/events",
                               "-n", "100", "--phases", "examples,coverage,fuzzing", "--request-timeout", "10", "--seed", "1", "--no-color"],
                              capture_output=True, text=True, timeout=170, cwd=self.home, env=environment(self.home), check=False)
        self.assertEqual(done.returncode, 0, done.stdout[-6000:] + done.stderr[-2000:])
        generated = re.search(r"(\d+) generated", done.stdout)
        self.assertIsNotNone(generated, done.stdout[-2000:])
        self.assertGreaterEqual(int(generated.group(1)), REQUESTS_MIN)
        print(generated.group(0), "requests")


class Examples(FunctionalTest):
    def test_every_call_has_one(self):
        daemon = Daemon(self.home, "--simulate", "--card", "rtx3050-6gb", "--speed", 0)
        self.addCleanup(daemon.stop)
        _, contract = daemon.get("/openapi.json")
        self.assertEqual(contract["openapi"][:3], "3.1")
        asked = 0
        for path, calls in contract["paths"].items():
            for method, call in calls.items():
                if method == "parameters":
                    continue
                asked += 1
                bodies = [call["requestBody"]] if "requestBody" in call else []
                bodies += [answer for status, answer in call["responses"].items() if status[0] == "2"]
                for body in bodies:
                    for kind, content in body.get("content", {}).items():
                        # A picture is not for a text, and the contract is its own.
                        if not kind.startswith("image/") and path != "/openapi.json":
                            self.assertTrue(content.get("example") is not None or content.get("examples"), f"{method} {path} {kind}")
        self.assertGreaterEqual(asked, 30)


if __name__ == "__main__":
    unittest.main()
