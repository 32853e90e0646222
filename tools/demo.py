#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The tour: what a user with a 6 GB card does, for real, on the simulated ComfyUI inside `plimsoll generate --simulate`.

Everything between the titles is printed by the commands themselves. Exit 0 when all of it came true: the first job ran and its highest
sample stayed under the load line; the one that does not fit was changed and ran; run anyway it filled the card; one that the card cannot hold at all
ran out of memory.
"""
import json
import os
import pathlib
import subprocess
import sys
import time

PROMPT = "cute dragon character"
DRAGON = ("generate", PROMPT, "--model", "sdxl-base")
FITS = (*DRAGON, "--width", "1024", "--height", "1024", "--quality", "high")
TOO_BIG = (*DRAGON, "--width", "1536", "--height", "1536", "--batch", "4", "--quality", "draft")
# Four at a time fill the card and crowd out all else, but torch's kernels do with less workspace and ComfyUI's loader streams nearly the whole
# UNet before either gives up. What kills a job on 6 GB are the activations of a larger batch.
FAR_TOO_BIG = (*DRAGON, "--width", "1536", "--height", "1536", "--batch", "16", "--quality", "draft")
# The simulated card works so many times faster than a real one, so that the tour takes seconds.
SPEED, SPEED_OF_THE_BIG = "12", "100"


class Tour:
    def __init__(self, plimsoll, home):
        self.plimsoll, self.home = plimsoll, home
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("COMFYUI_", "PLIMSOLL_", "MAX_", "SAFETY_"))}
        self.environment["PLIMSOLL_HOME"] = str(home)
        self.missed = []

    def title(self, text):
        print(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)

    def run(self, *args, expect=0):
        print("$ plimsoll " + " ".join(f'"{arg}"' if " " in arg else arg for arg in args), flush=True)
        code = subprocess.run([self.plimsoll, *args], env=self.environment, cwd=self.home, check=False).returncode
        self.check(code == expect, f"plimsoll {args[0]} exits with {code}, not {expect}")

    def last_run(self):
        done = subprocess.run([self.plimsoll, "history", "--limit", "1", "--json"], env=self.environment, cwd=self.home, check=True,
                              capture_output=True, text=True)
        return json.loads(done.stdout)["runs"][0]

    def check(self, came_true, otherwise):
        if not came_true:
            self.missed.append(otherwise)


def main():
    plimsoll = pathlib.Path(sys.argv[1]).resolve()
    home = plimsoll.parent.parent / "demo"
    home.mkdir(exist_ok=True)
    tour = Tour(str(plimsoll), home)
    card = ("--simulate", "--card", "rtx3050-6gb")
    began = time.monotonic()

    tour.title("A job that fits: held under the load line")
    tour.run(*FITS, *card, "--speed", SPEED)
    run = tour.last_run()
    tour.check(run["outcome"] == "done", "the first job did not end well")
    tour.check(run["observedPeakBytes"] <= run["loadLineBytes"], "the first job was seen above the load line")

    tour.title("The opposite: 1536 x 1536, four at a time")
    tour.run(*TOO_BIG, *card, "--speed", SPEED_OF_THE_BIG)
    run = tour.last_run()
    tour.check(run["outcome"] == "done", "the changed job did not end well")
    tour.check(bool(run["changes"]), "nothing was changed")

    tour.title("The same four, run anyway: no room is left on the card")
    tour.run(*TOO_BIG, *card, "--speed", SPEED_OF_THE_BIG, "--run-anyway")
    run = tour.last_run()
    tour.check(not run["changes"], "run anyway, something was changed")
    tour.check(run["observedUsedBytes"] == run["cardTotalBytes"], "run anyway, the card was not seen full")

    tour.title("Sixteen at a time, run anyway: the card runs out of memory, as forecast")
    tour.run(*FAR_TOO_BIG, *card, "--speed", SPEED_OF_THE_BIG, "--run-anyway", expect=1)
    tour.check(tour.last_run()["outcome"] == "out_of_memory", "the card did not run out of memory")

    tour.title("What was recorded")
    tour.run("history", "--limit", "4")

    print(f"\nThe tour took {time.monotonic() - began:.1f} s. Pictures and history are in {home}.")
    for missed in tour.missed:
        print(f"demo: {missed}", file=sys.stderr)
    return 1 if tour.missed else 0


if __name__ == "__main__":
    sys.exit(main())
