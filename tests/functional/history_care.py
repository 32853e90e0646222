# SPDX-License-Identifier: Apache-2.0
"""The history as a file: export, backup, restore, check, retention, and what happens when it is damaged."""
import csv
import io
import json
import os
import random
import unittest

from daemon import Daemon
from scripted_comfyui import ScriptedComfyUi
from support import FunctionalTest

SDXL = {"model": "sdxl-base", "width": 512, "height": 512, "steps": 8}


class Care(FunctionalTest):
    def draw(self, number, *flags):
        """`number` runs; returns their ids, oldest first."""
        with ScriptedComfyUi() as comfyui:
            return [self.run_json("generate", f"a dragon, number {n}", "--model", "sdxl-base", *flags, COMFYUI_PORT=comfyui.port)["runs"][-1]["runId"]
                    for n in range(number)]

    def daemon(self, **env):
        daemon = Daemon(self.home, "--simulate", "--card", "rtx3050-6gb", "--speed", 0, **env)
        self.addCleanup(daemon.stop)
        return daemon

    @property
    def file(self):
        return self.home / "history.db"

    def aside(self):
        return sorted(path for path in self.home.glob("history.db.damaged-*") if path.name[-4:] not in ("-wal", "-shm"))

    def test_a_backup_is_taken_lost_runs_come_back_from_it(self):
        ids = self.draw(3)
        copy = self.home / "copy.db"
        self.assertEqual(self.run_json("history", "backup", copy)["runs"], 3)
        for path in self.home.glob("history.db*"):
            path.unlink()
        self.assertEqual(self.run_json("history")["runs"], [])
        self.assertEqual(self.run_json("history", "restore", copy)["runs"], 3)
        self.assertEqual([run["runId"] for run in self.run_json("history")["runs"]], ids[::-1])
        self.assertEqual(self.run_json("history", "restore", copy)["runsKnown"], 3)
        photo = self.home / "photo.png"
        photo.write_bytes(b"a photo")
        self.run_plimsoll("history", "backup", photo, code=2)
        self.assertEqual(photo.read_bytes(), b"a photo")
        self.run_plimsoll("history", "backup", self.file, code=2)
        self.run_plimsoll("history", "restore", self.home / "none.db", code=1)

    def test_a_check_finds_damage_and_repair_keeps_the_damaged_file(self):
        self.draw(2)
        self.assertTrue(self.run_json("history", "check")["sound"])
        garbage = os.urandom(9000)
        for path in self.home.glob("history.db-*"):
            path.unlink()
        self.file.write_bytes(garbage)
        report = self.run_json("history", "check", code=1)
        self.assertFalse(report["sound"])
        _, err = self.run_plimsoll("history", code=1)
        self.assertIn("history check --repair", err)
        report = self.run_json("history", "check", "--repair")
        self.assertTrue(report["sound"])
        self.assertIn(str(self.aside()[0]), report["repaired"])
        self.assertEqual(self.aside()[0].read_bytes(), garbage)

    def test_generate_and_the_daemon_go_on_with_a_damaged_file_and_say_so(self):
        self.draw(1)
        for path in self.home.glob("history.db-*"):
            path.unlink()
        self.file.write_bytes(b"x" * 9000)
        with ScriptedComfyUi() as comfyui:
            _, err = self.run_plimsoll("generate", "a dragon", "--model", "sdxl-base", COMFYUI_PORT=comfyui.port)
        self.assertIn("was moved to", err)
        self.assertIn("a new one was started", err)
        self.assertEqual(len(self.run_json("history")["runs"]), 1)
        self.assertEqual(len(self.aside()), 1)
        # While the daemon has it open: everything but the first two pages is overwritten.
        daemon = self.daemon()
        self.assertEqual(daemon.get("/api/history")[0], 200)
        size = self.file.stat().st_size
        with open(self.file, "r+b") as file:
            file.seek(8192)
            file.write(random.Random(1).randbytes(size - 8192))
        for prompt in ("a castle", "a lighthouse"):  # by the first one's record or list at the latest the damage is met
            job = daemon.post("/api/generate", {**SDXL, "prompt": prompt})[1]
            self.assertEqual(daemon.wait_for_job(job["jobId"])["state"], "done")
            status, page = daemon.get("/api/history")
            self.assertEqual(status, 200, page)
        self.assertEqual(len(self.aside()), 2)
        status, page = daemon.get("/api/history?text=lighthouse")
        self.assertEqual((status, len(page["runs"])), (200, 1), page)
        status, doctor = daemon.get("/api/doctor")
        self.assertTrue(any("moved here" in finding["text"] for finding in doctor["findings"]), doctor)

    def test_a_newer_schema_is_refused_and_nothing_is_touched(self):
        import sqlite3
        database = sqlite3.connect(self.file)
        database.execute("CREATE TABLE runs (x)")
        database.execute("PRAGMA user_version = 999")
        database.commit()
        database.close()
        before = self.file.read_bytes()
        for args in (("history",), ("presets", "save", "x", "--width", 512), ("history", "check", "--repair")):
            _, err = self.run_plimsoll(*args, code=2)
            self.assertIn("newer Plimsoll", err)
        status, answer = self.daemon().get("/api/history")
        self.assertGreaterEqual(status, 400)
        self.assertIn("newer Plimsoll", answer["error"]["message"])
        self.assertEqual(self.file.read_bytes(), before)
        self.assertEqual(self.aside(), [])

    def test_everything_is_exported_the_same_at_both_doors(self):
        ids = self.draw(5)
        out, _ = self.run_plimsoll("history", "export")
        self.assertEqual([json.loads(line)["runId"] for line in out.splitlines()], ids)
        rows, _ = self.run_plimsoll("history", "export", "--format", "csv", "--text", "dragon")
        table = list(csv.DictReader(io.StringIO(rows)))
        self.assertEqual([row["runId"] for row in table], ids)
        self.assertEqual(table[0]["prompt"], "a dragon, number 0")
        target = self.home / "runs.csv"
        self.assertEqual(self.run_json("history", "export", "--format", "csv", "--output", target)["runs"], 5)
        daemon = self.daemon()
        status, headers, body = daemon.ask("GET", "/api/history/export?format=csv")
        self.assertEqual((status, headers["Content-Type"]), (200, "text/csv; charset=utf-8"))
        self.assertIn("plimsoll-history.csv", headers["Content-Disposition"])
        self.assertEqual(body, target.read_bytes())
        _, _, lines = daemon.ask("GET", "/api/history/export")
        self.assertEqual(lines.decode(), out)
        self.assertEqual(daemon.ask("HEAD", "/api/history/export")[0], 200)
        self.assertEqual(daemon.ask("GET", "/api/history/export?format=xml")[0], 400)
        self.assertEqual(daemon.ask("GET", "/api/history/export?model=none")[2], b"")

    def test_two_runs_and_trends_are_the_same_at_both_doors(self):
        first, = self.draw(1, "--steps", 8)
        second, = self.draw(1, "--steps", 12)
        daemon = self.daemon()
        status, answer = daemon.get(f"/api/history/compare?left={first}&right={second}")
        self.assertEqual(status, 200, answer)
        steps = [one for one in answer["differences"] if one["field"] == "settings.steps"]
        self.assertEqual(steps, [{"field": "settings.steps", "left": 8, "right": 12, "change": 4}])
        self.assertEqual(self.run_json("history", "compare", first, second)["differences"], answer["differences"])
        self.assertIn("settings.steps", self.run_plimsoll("history", "compare", first, second)[0])
        self.assertEqual(daemon.get("/api/history/compare?left=0000")[0], 400)
        self.assertEqual(daemon.get("/api/history/compare?left=0000&right=1")[0], 404)
        for by in ("day", "model", "card"):
            status, answer = daemon.get(f"/api/history/trends?by={by}")
            self.assertEqual((status, answer["trends"][0]["total"]["runs"]), (200, 2), answer)
            self.assertEqual(self.run_json("history", "trends", "--by", by), answer)
        self.assertIn("runs", self.run_plimsoll("history", "trends", "--by", "model")[0])

    def test_old_pictures_and_runs_go_when_that_is_asked_for(self):
        self.run_plimsoll("history", "prune", code=2)
        ids = self.draw(4)
        self.assertEqual(self.run_json("history", "prune", "--history-runs", 2)["runsRetired"], 2)
        self.assertEqual([run["runId"] for run in self.run_json("history")["runs"]], ids[:1:-1])
        self.assertEqual(self.run_json("history", "trends")["trends"][0]["total"]["runs"], 4)
        self.assertTrue(self.run_json("history", "check")["sound"])
        _, err = self.run_plimsoll("history", "prune", "--pictures-days", -1, code=2)
        self.assertIn("0 to 36500", err)


if __name__ == "__main__":
    unittest.main()
