#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whole-process figures of the program, as ratios against processes that everybody knows, taken in turns in the same run.

Milliseconds from the start of the process to its first line (median of the rounds), the ratio against /bin/true and against `python3 -c pass`,
and the largest peak RSS. Exit 1 when a limit of the project is broken.
"""
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 21
FIRST_LINE_MS_MAX = 50
RSS_MIB_MAX = 40


def first_line(command, environment):
    """(milliseconds to the first line or the end, peak RSS in MiB)"""
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        process.stdout.readline()
        elapsed = (time.perf_counter() - begin) * 1000
        process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"bench: {' '.join(command)} exits with {process.returncode}")
    return elapsed, usage.ru_maxrss / 1024


def main():
    plimsoll = str(pathlib.Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory(prefix="plimsoll-bench-") as home:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PLIMSOLL_", "COMFYUI_", "MAX_", "SAFETY_"))}
        environment["PLIMSOLL_HOME"] = environment["HOME"] = home
        commands = {
            "/bin/true": ["/bin/true"],
            "python3 -c pass": [sys.executable, "-c", "pass"],
            "plimsoll --version": [plimsoll, "--version"],
            "plimsoll forecast": [plimsoll, "forecast", "--family", "sdxl", "--width", "1024", "--height", "1024", "--card", "rtx3050-6gb"],
            "plimsoll plan": [plimsoll, "plan", "--family", "sdxl", "--width", "1536", "--height", "1536", "--batch", "4", "--card",
                              "rtx3050-6gb"],
        }
        figures = {name: [] for name in commands}
        for _ in range(ROUNDS):  # in turns: what else the machine does falls on all of them
            for name, command in commands.items():
                figures[name].append(first_line(command, environment))
    ms = {name: statistics.median(f[0] for f in runs) for name, runs in figures.items()}
    rss = {name: max(f[1] for f in runs) for name, runs in figures.items()}
    print(f"{'process start to first line':<28}{'ms':>8}{'x true':>10}{'x python3':>11}{'peak RSS MiB':>15}")
    for name in commands:
        print(f"{name:<28}{ms[name]:>8.1f}{ms[name] / ms['/bin/true']:>10.1f}{ms[name] / ms['python3 -c pass']:>11.2f}{rss[name]:>15.1f}")
    yard = f", {ms['plimsoll forecast'] / ms['python3 -c pass']:.2f} x python3 -c pass"
    met = [judge("plimsoll forecast, first line", ms["plimsoll forecast"], FIRST_LINE_MS_MAX, "ms", yard),
           judge("plimsoll forecast, peak RSS", rss["plimsoll forecast"], RSS_MIB_MAX, "MiB")]
    return 0 if all(met) else 1


def judge(what, figure, limit, unit, beside=""):
    print(f"{'met' if figure < limit else 'MISSED':7} {what:<30}{figure:>8.1f} {unit}, target < {limit} {unit}{beside}")
    return figure < limit


if __name__ == "__main__":
    sys.exit(main())
