# SPDX-License-Identifier: Apache-2.0
"""A job that is rescued is no failure for its client: clients that wait for their outcome as Krita, SwarmUI, ComfyUI's own example and
a client that polls do (reference of the protocol, section 9) end with their picture; one that cannot be rescued ends with its error."""
import threading
import unittest

from guarded import GuardedComfyUi, Socket, graph, new_id, wait_until
from support import FunctionalTest


def krita(guarded, made, prompt_id):
    """One socket, an id of its own; the first message that ends a job is its outcome."""
    listener = Socket(guarded.gateway_port, "krita")
    guarded.prompt(made, prompt_id, client_id="krita")
    try:
        last = listener.until(lambda message: message.get("data", {}).get("prompt_id") == prompt_id
                              and (message["type"] in ("execution_error", "execution_interrupted")
                                   or (message["type"] == "executing" and message["data"]["node"] is None)))[-1]
        if last["type"] != "executing":
            return last["type"], []
        return "done", pictures_of(guarded.ask("GET", f"/history/{prompt_id}")[1], prompt_id)
    finally:
        listener.close()


def swarm(guarded, made, prompt_id):
    """Waits for its start, passes over errors, and asks the history after the end."""
    listener = Socket(guarded.gateway_port, "swarm")
    guarded.prompt(made, prompt_id, client_id="swarm")
    try:
        listener.until(lambda message: message["type"] == "execution_start" and message["data"]["prompt_id"] == prompt_id)
        listener.until(lambda message: message["type"] == "executing" and message["data"]["node"] is None
                       and message["data"]["prompt_id"] == prompt_id)
        history = guarded.ask("GET", f"/history/{prompt_id}")[1]
        errors = [data for name, data in history.get(prompt_id, {}).get("status", {}).get("messages", []) if name == "execution_error"]
        return ("execution_error" if errors else "done"), pictures_of(history, prompt_id)
    finally:
        listener.close()


def poller(guarded, made, prompt_id):
    """No socket: done when it is in neither list of the queue, and then it must be in the history."""
    guarded.prompt(made, prompt_id, client_id="poller")
    wait_until(lambda: not guarded.is_listed(prompt_id))
    history = guarded.ask("GET", "/history?max_items=200")[1]
    if prompt_id not in history:
        return "missing", []
    status = history[prompt_id]["status"]["status_str"]
    return ("done" if status == "success" else "execution_error"), pictures_of(history, prompt_id)


def pictures_of(history, prompt_id):
    return [image for output in history.get(prompt_id, {}).get("outputs", {}).values() for image in output.get("images", [])]


class Rescue(FunctionalTest):
    def guarded(self, *flags, **options):
        guarded = GuardedComfyUi(self.home, *flags, **options)
        self.addCleanup(guarded.stop)
        return guarded

    def test_every_client_of_a_rescued_job_ends_with_its_picture(self):
        guarded = self.guarded(speed=200)
        for number, client in enumerate((krita, swarm, poller)):
            for node in ("3", "8"):
                with self.subTest(client=client.__name__, node=node):
                    guarded.faults(oom_at_node=node)
                    prompt_id = new_id()
                    outcome, pictures = client(guarded, graph(seed=10 * number + int(node)), prompt_id)
                    self.assertEqual(outcome, "done")
                    self.assertEqual(len(pictures), 1)
        self.assertEqual(guarded.gateway()["counts"]["retried"], 6)

    def test_every_client_of_a_job_that_is_put_aside_ends_with_its_error(self):
        for number, client in enumerate((krita, swarm, poller)):
            with self.subTest(client=client.__name__):
                guarded = self.guarded("--policy", "advise", speed=200)
                guarded.faults(oom_at_node="8", oom_times=2)
                # Of a size of its own: what met its wall is not sent again, by the next daemon neither.
                outcome, pictures = client(guarded, graph(seed=number, width=512 + 64 * number), new_id())
                self.assertEqual((outcome, pictures), ("execution_error", []))

    def test_another_error_is_told_at_once_and_untouched(self):
        guarded = self.guarded()
        direct, through = [], []
        for port, heard in ((guarded.comfyui_port, direct), (guarded.gateway_port, through)):
            made = graph()
            made["9"]["inputs"]["images"] = "no picture"
            listener = Socket(port, "client")
            self.addCleanup(listener.close)
            prompt_id = new_id()
            guarded._ask(port, "POST", "/prompt", {"prompt": made, "client_id": "client", "prompt_id": prompt_id})
            all_of_it = listener.until(lambda message: message["type"] == "executing" and message["data"]["node"] is None)
            heard += [message["type"] for message in all_of_it if message["type"].startswith("execut")]
        self.assertIn("execution_error", direct)
        self.assertEqual(through, direct)

    def test_others_hear_what_they_always_heard(self):
        """Two clients at once: one is rescued, the other's messages are those of a run alone."""
        guarded = self.guarded(speed=200)
        guarded.faults(oom_at_node="8")
        outcomes = {}

        def run(name, client, seed):
            outcomes[name] = client(guarded, graph(seed=seed, width=640), new_id())
        threads = [threading.Thread(target=run, args=("krita", krita, 1)), threading.Thread(target=run, args=("swarm", swarm, 2))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for name, (outcome, pictures) in outcomes.items():
            self.assertEqual((outcome, len(pictures)), ("done", 1), name)

    def test_a_picture_that_was_written_before_comfyui_died_is_not_drawn_again(self):
        """ComfyUI dies between the file and its message; its history is empty when it is back. Whole batches and folders below the
        output are found, and a job that died before its picture is drawn again."""
        pictures = self.home / "pictures"
        pictures.mkdir()
        guarded = self.guarded(simulator_flags=("--output-dir", str(pictures)))
        for number, (folder, batch) in enumerate((("", 1), ("", 2), ("below/", 1))):
            with self.subTest(folder=folder, batch=batch):
                prompt_id = new_id()
                made = graph(seed=number, batch=batch)
                made["9"]["inputs"]["filename_prefix"] = folder + prompt_id
                guarded.faults(restart_after_node="9")
                outcome, told = poller(guarded, made, prompt_id)
                self.assertEqual(outcome, "done")
                there = sorted(file.name for file in (pictures / folder).glob(f"{prompt_id}_*"))
                self.assertEqual(len(there), batch)
                self.assertEqual(sorted(image["filename"] for image in told), there)
                self.assertEqual(guarded.ask_comfyui("GET", "/history")[1], {})
                self.assertEqual(guarded.held(prompt_id)["state"], "done")
        self.assertEqual(len(guarded.told("job_untold")), 3)
        self.assertEqual(guarded.gateway()["counts"]["retried"], 0)
        prompt_id = new_id()
        made = graph(seed=9)
        made["9"]["inputs"]["filename_prefix"] = prompt_id
        guarded.faults(restart_after_node="8")
        self.assertEqual(poller(guarded, made, prompt_id)[0], "done")
        self.assertEqual(len(list(pictures.glob(f"{prompt_id}_*"))), 1)
        self.assertEqual(len(guarded.told("job_untold")), 3)


if __name__ == "__main__":
    unittest.main()
