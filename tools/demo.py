#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The tour: what a user with a 6 GB card does, against the embedded simulated ComfyUI. Exit 0 when it all came true."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

PROMPT = "cute dragon character"
SPEED = "12"  # the simulated card works twelve times faster than a real one, so that the tour takes seconds


def title(text):
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def main():
    plimsoll = str(pathlib.Path(sys.argv[1]).resolve())
    home = pathlib.Path(plimsoll).parent.parent / "demo"
    home.mkdir(exist_ok=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("COMFYUI_", "PLIMSOLL_", "MAX_", "SAFETY_"))}
    environment["PLIMSOLL_HOME"] = str(home)
    started = time.monotonic()
    title("A simulated ComfyUI with an RTX 3050 6 GB")
    simulator = subprocess.Popen(
        [plimsoll, "simulate", "--card", "rtx3050-6gb", "--port", "0", "--seed", "1", "--speed", SPEED, "--json"],
        stdout=subprocess.PIPE, text=True, env=environment)
    try:
        where = json.loads(simulator.stdout.readline())
        print(f"{where['card']} at {where['url']}, {SPEED} times real time", flush=True)
        environment["COMFYUI_PORT"] = str(where["port"])

        def run(*args):
            print("$ plimsoll " + " ".join(f'"{a}"' if " " in a else a for a in args), flush=True)
            return subprocess.run([plimsoll, *args], env=environment, cwd=home, check=False).returncode

        title("1. A job that fits, kept under the load line")
        fits = run("generate", PROMPT, "--model", "sdxl-base", "--width", "1024", "--height", "1024", "--quality", "high")
        title("2. The opposite: 1536 x 1536, four at a time")
        big = ("--model", "sdxl-base", "--width", "1536", "--height", "1536", "--batch", "4", "--quality", "draft")
        planned = run("generate", PROMPT, *big)
        title("3. The same with --run-anyway: what the plan spared us")
        anyway = run("generate", PROMPT, *big, "--run-anyway")
        title("4. What was recorded: forecast beside observed")
        listed = run("history")
    finally:
        simulator.send_signal(signal.SIGINT)
        simulator.wait(10)
    print(f"\nThe tour took {time.monotonic() - started:.1f} s. Pictures and history are in {home}.")
    expected = fits == 0 and planned == 0 and anyway != 0 and listed == 0
    if not expected:
        print(f"demo: unexpected exit codes {fits}, {planned}, {anyway} (should fail), {listed}", file=sys.stderr)
    return 0 if expected else 1


if __name__ == "__main__":
    sys.exit(main())
