# SPDX-License-Identifier: Apache-2.0
"""What clients send through the gateway is kept, fitted, held, rescued: an unchanged client against the simulator with faults."""
import unittest

from guarded import GuardedComfyUi, Socket, graph, new_id, wait_until
from support import FunctionalTest


class Held(FunctionalTest):
    def guarded(self, *flags, **options):
        guarded = GuardedComfyUi(self.home, *flags, **options)
        self.addCleanup(guarded.stop)
        return guarded

    def pause(self, guarded):
        self.assertEqual(guarded.daemon.post("/api/gateway/pause", {})[0], 200)

    def resume(self, guarded):
        self.assertEqual(guarded.daemon.post("/api/gateway/resume", {})[0], 200)

    def finish(self, guarded, ids):
        for prompt_id in ids:
            wait_until(lambda prompt_id=prompt_id: guarded.outcome(prompt_id) == "success", what=f"{prompt_id}: {guarded.gateway()}")

    def test_every_job_of_a_burst_runs_once_and_is_always_to_be_seen(self):
        guarded = self.guarded()
        ids = [new_id() for _ in range(6)]
        for number, prompt_id in enumerate(ids):
            status, answer = guarded.prompt(graph(seed=number), prompt_id)
            self.assertEqual((status, answer["prompt_id"]), (200, prompt_id))
        for prompt_id in ids:
            # At no moment is it neither waiting nor done.
            self.assertTrue(guarded.is_listed(prompt_id) or guarded.outcome(prompt_id) or guarded.is_listed(prompt_id))
        self.finish(guarded, ids)
        wait_until(lambda: guarded.gateway()["counts"]["done"] == 6)
        self.assertEqual(len(guarded.ask_comfyui("GET", "/history")[1]), 6)

    def test_held_jobs_show_and_go_by_comfyuis_own_calls(self):
        guarded = self.guarded()
        self.pause(guarded)
        ids = [new_id() for _ in range(4)]
        for number, prompt_id in enumerate(ids):
            guarded.prompt(graph(seed=number), prompt_id)
        self.assertEqual(guarded.ask("GET", "/prompt")[1], {"exec_info": {"queue_remaining": 4}})
        pending = guarded.ask("GET", "/api/queue")[1]["queue_pending"]
        self.assertEqual([item[1] for item in pending], ids)
        self.assertEqual(pending[0][3]["client_id"], "client")
        self.assertEqual(pending[0][4], ["9"])
        self.assertEqual(guarded.ask_comfyui("GET", "/queue")[1], {"queue_running": [], "queue_pending": []})
        self.assertEqual(guarded.ask("POST", "/queue", {"delete": [ids[1]]})[0], 200)
        self.assertFalse(guarded.is_listed(ids[1]))
        self.assertEqual(guarded.ask("POST", "/queue", {"clear": True})[0], 200)
        self.assertEqual(guarded.ask("GET", "/prompt")[1], {"exec_info": {"queue_remaining": 0}})
        self.assertEqual(guarded.gateway()["counts"]["cancelled"], 4)

    def test_priority_and_order_can_be_changed(self):
        guarded = self.guarded()
        self.pause(guarded)
        ids = [new_id() for _ in range(3)]
        for number, prompt_id in enumerate(ids):
            guarded.prompt(graph(seed=number), prompt_id)
        first, second, third = ids
        status, _, _ = guarded.daemon.ask("PATCH", f"/api/gateway/jobs/{third}", {"priority": 5})
        self.assertEqual(status, 200)
        guarded.daemon.ask("PATCH", f"/api/gateway/jobs/{second}", {"before": first})
        order = [job["promptId"] for job in guarded.gateway()["jobs"]]
        self.assertEqual(order, [third, second, first])
        self.assertEqual(guarded.daemon.ask("PATCH", f"/api/gateway/jobs/{first}", {"priority": 1000})[0], 400)
        self.assertEqual(guarded.daemon.ask("PATCH", "/api/gateway/jobs/none", {"priority": 1})[0], 404)
        self.resume(guarded)
        self.finish(guarded, ids)
        self.assertEqual(list(guarded.ask_comfyui("GET", "/history")[1]), [third, second, first])

    def test_killed_gateway_loses_and_doubles_nothing(self):
        guarded = self.guarded()
        self.pause(guarded)
        ids = [new_id() for _ in range(20)]
        for number, prompt_id in enumerate(ids):
            guarded.prompt(graph(seed=number), prompt_id)
        guarded.kill_daemon()
        guarded.start_daemon()  # not paused any more
        self.finish(guarded, ids[:3])
        guarded.kill_daemon()
        guarded.start_daemon()
        self.finish(guarded, ids)
        history = guarded.ask_comfyui("GET", "/history")[1]
        self.assertEqual(sorted(history), sorted(ids))
        # ComfyUI numbers what it is sent: none was sent twice.
        self.assertEqual(len({entry["prompt"][0] for entry in history.values()}), 20)
        self.assertEqual(max(entry["prompt"][0] for entry in history.values()), 19)

    def test_killed_comfyui_gets_its_jobs_again(self):
        guarded = self.guarded(speed=30)
        ids = [new_id() for _ in range(3)]
        for number, prompt_id in enumerate(ids):
            guarded.prompt(graph(seed=number, steps=30, width=1024, height=1024), prompt_id)
        wait_until(lambda: guarded.held(ids[0])["state"] in ("sent", "running"))
        guarded.kill_comfyui()
        status, answer = guarded.prompt(graph(seed=9), ids[0] + "-late")
        self.assertEqual((status, answer["prompt_id"]), (200, ids[0] + "-late"))
        self.assertEqual(guarded.ask("GET", "/queue")[0], 200)
        guarded.start_comfyui()
        wait_until(lambda: guarded.gateway()["counts"]["done"] == 4)

    def test_out_of_memory_is_tried_again_and_only_the_tail_is_computed(self):
        guarded = self.guarded()
        guarded.faults(oom_at_node="8")
        prompt_id = new_id()
        guarded.prompt(graph(), prompt_id)
        self.finish(guarded, [prompt_id])
        wait_until(lambda: guarded.gateway()["counts"]["done"] == 1)
        self.assertEqual(guarded.gateway()["counts"]["retried"], 1)
        entry = guarded.ask_comfyui("GET", f"/history/{prompt_id}")[1][prompt_id]
        cached = next(data["nodes"] for name, data in entry["status"]["messages"] if name == "execution_cached")
        self.assertIn("3", cached)  # the sampler

    def test_out_of_memory_without_end_is_quarantined_and_the_queue_goes_on(self):
        guarded = self.guarded("--policy", "advise")
        guarded.faults(oom_at_node="8", oom_times=2)
        bad, good = new_id(), new_id()
        listener = Socket(guarded.gateway_port, "client")
        self.addCleanup(listener.close)
        guarded.prompt(graph(seed=1), bad)
        guarded.prompt(graph(seed=2, width=640), good)
        wait_until(lambda: guarded.gateway()["counts"]["quarantined"] == 1)
        self.finish(guarded, [good])
        self.assertEqual(guarded.outcome(bad), "error")
        job = guarded.held(bad)
        self.assertEqual(job["state"], "failed")
        self.assertIn("out of memory", job["why"])
        # The same shape is not sent into the same wall again.
        status, answer = guarded.prompt(graph(seed=3), new_id())
        self.assertEqual(status, 400, answer)
        self.assertIn("ran out of memory before", answer["error"]["details"])
        self.assertIn("dependent_outputs", next(iter(answer["node_errors"].values())))
        again = new_id()
        status, _ = guarded.prompt(graph(seed=3), again, headers={"X-Plimsoll-Run-Anyway": "1"})
        self.assertEqual(status, 200)
        self.finish(guarded, [again])

    def test_a_job_that_does_not_fit_is_changed_warned_about_or_refused(self):
        guarded = self.guarded()
        large = graph(width=2048, height=2048, steps=2)
        self.pause(guarded)
        for policy, wanted in (("advise", 200), ("fit", 200)):
            prompt_id = new_id()
            status, answer = guarded.prompt(large, prompt_id, headers={"X-Plimsoll-Policy": policy})
            self.assertEqual(status, wanted, answer)
            edits = guarded.held(prompt_id)["edits"]
            self.assertEqual(bool(edits), policy == "fit", edits)
        pending = guarded.ask("GET", "/queue")[1]["queue_pending"]
        self.assertEqual(pending[0][2], large)
        self.assertNotEqual(pending[1][2], large)
        self.assertEqual(pending[1][2]["3"]["inputs"]["seed"], large["3"]["inputs"]["seed"])

    def test_a_wrong_prompt_is_refused_by_comfyui_itself(self):
        guarded = self.guarded()
        for body in (b"", b"no json", b"[]", b'{"prompt": {}}', b'{"prompt": {"1": {"class_type": "Nothing", "inputs": {}}}}'):
            self.assertEqual(guarded.ask("POST", "/prompt", body), guarded._ask(guarded.comfyui_port, "POST", "/prompt", body), body)

    def test_another_programs_memory_is_waited_for(self):
        guarded = self.guarded()
        guarded.faults(outside_bytes=5200 << 20)
        # Nothing has looked at the card yet where the daemon has just started.
        wait_until(lambda: any(card["usedBytes"] > 5000 << 20 for card in guarded.daemon.get("/api/devices")[1]["devices"]))
        prompt_id = new_id()
        status, _ = guarded.prompt(graph(width=1024, height=1024), prompt_id)
        self.assertEqual(status, 200)
        wait_until(lambda: guarded.held(prompt_id)["waitsFor"] == "room")
        guarded.faults(outside_bytes=-(5200 << 20))
        self.finish(guarded, [prompt_id])


if __name__ == "__main__":
    unittest.main()
