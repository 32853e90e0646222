# SPDX-License-Identifier: Apache-2.0
"""What a client does the moment it hears of its job's end: it reads the history, sends the next prompt, and is told what ComfyUI would tell it."""
import unittest

from daemon import Daemon
from guarded import GuardedComfyUi, Socket, graph, new_id, wait_until
from scripted_comfyui import ScriptedComfyUi
from support import FunctionalTest

ROUNDS = 25  # a race of milliseconds: before it was mended one in four was lost


class DiesWithItsJobDone(ScriptedComfyUi):
    """Killed between its last node's output and its own word that it is done; it knows nothing when it is back."""

    def _run(self, job):
        if len(self.submitted) > 1:
            return super()._run(job)
        self.send(job, "execution_start", timestamp=1)
        self.send(job, "executing", node="3", display_node="3")
        self.send(job, "executing", node="9", display_node="9")
        self.send(job, "executed", node="9", display_node="9", output={"images": [{"filename": self.image_name, "subfolder": "", "type": "output"}]})
        with self._lock:
            self.running = None
        self.drop_socket(job)
        return None


def hear_end(listener, prompt_id):
    while True:
        message = listener.message()
        if message["type"] == "executing" and message["data"]["node"] is None and message["data"].get("prompt_id") == prompt_id:
            return


class Ends(FunctionalTest):
    def guarded(self, *flags):
        guarded = GuardedComfyUi(self.home, *flags)
        self.addCleanup(guarded.stop)
        return guarded

    def test_the_history_has_a_job_as_soon_as_its_end_is_heard(self):
        guarded = self.guarded()
        listener = Socket(guarded.gateway_port, "client")
        self.addCleanup(listener.close)
        for number in range(ROUNDS):
            prompt_id = new_id()
            self.assertEqual(guarded.prompt(graph(seed=number), prompt_id)[0], 200)
            hear_end(listener, prompt_id)
            self.assertIn(prompt_id, guarded.ask("GET", f"/history/{prompt_id}")[1])
            self.assertFalse(guarded.is_listed(prompt_id))

    def test_the_next_prompt_is_checked_by_comfyui_itself(self):
        guarded = self.guarded()
        listener = Socket(guarded.gateway_port, "client")
        self.addCleanup(listener.close)
        wrong = graph(seed=1)
        wrong["3"]["inputs"]["sampler_name"] = "no such sampler"
        for number in range(ROUNDS):
            prompt_id = new_id()
            self.assertEqual(guarded.prompt(graph(seed=number), prompt_id)[0], 200)
            hear_end(listener, prompt_id)
            status, answer = guarded.prompt(wrong, new_id())
            self.assertEqual(status, 400, f"held, to fail later: {answer}")
            self.assertIn("3", answer["node_errors"])

    def test_a_page_of_the_history_has_what_was_asked_for(self):
        guarded = self.guarded()
        self.assertEqual(guarded.daemon.post("/api/gateway/pause", {})[0], 200)
        wrong = graph(seed=1)
        wrong["3"]["inputs"]["sampler_name"] = "no such sampler"
        failed = new_id()
        self.assertEqual(guarded.prompt(wrong, failed)[0], 200)  # it waits, and is refused when its turn comes
        self.assertEqual(guarded.daemon.post("/api/gateway/resume", {})[0], 200)
        wait_until(lambda: guarded.gateway()["counts"]["failed"] == 1)
        done = [new_id() for _ in range(3)]
        for number, prompt_id in enumerate(done):
            guarded.prompt(graph(seed=number), prompt_id)
            wait_until(lambda prompt_id=prompt_id: guarded.outcome(prompt_id))

        def page(query):
            return list(guarded.ask("GET", f"/history{query}")[1])
        self.assertEqual(page(""), [*done, failed])
        self.assertEqual(page("?max_items=2"), [done[2], failed])
        self.assertEqual(page("?max_items=0"), [])
        self.assertEqual(page("?offset=1&max_items=1"), [done[1]])
        self.assertEqual(page("?offset=0"), page(""))
        self.assertEqual(page("?offset=2"), [done[2], failed])
        self.assertEqual(page("?offset=2&max_items=5"), [done[2], failed])
        self.assertEqual(page("?offset=50"), [])

    def test_a_job_whose_outputs_were_all_told_is_not_done_twice(self):
        with DiesWithItsJobDone() as comfyui:
            daemon = Daemon(self.home, "--upstream", f"http://127.0.0.1:{comfyui.port}")
            self.addCleanup(daemon.stop)
            port = daemon.start["gatewayPort"]
            listener = Socket(port, "client")
            self.addCleanup(listener.close)
            status, _ = GuardedComfyUi._ask(port, "POST", "/prompt", {"prompt": graph(seed=1), "client_id": "client", "prompt_id": new_id()})
            self.assertEqual(status, 200)
            wait_until(lambda: daemon.get("/api/gateway")[1]["counts"]["done"] == 1, what=f"{daemon.get('/api/gateway')[1]}")
            self.assertEqual(len(comfyui.submitted), 1)


if __name__ == "__main__":
    unittest.main()
