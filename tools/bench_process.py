#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whole-process figures of the program: start to first line, peak memory. Medians, beside `python3 -c pass` in the same run."""
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

RUNS = 15


def first_line_ms(command, environment):
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        process.stdout.readline()
        elapsed = (time.perf_counter() - begin) * 1000
        process.stdout.read()
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
    return elapsed, usage.ru_maxrss / 1024


def median(command, environment):
    first_line_ms(command, environment)
    figures = [first_line_ms(command, environment) for _ in range(RUNS)]
    return statistics.median(f[0] for f in figures), max(f[1] for f in figures)


def main():
    plimsoll = sys.argv[1]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "PLIMSOLL_HOME": home}
        forecast = [plimsoll, "forecast", "--family", "sdxl", "--width", "1024", "--height", "1024", "--card", "rtx3050-6gb"]
        yard_ms, _ = median([sys.executable, "-c", "print(1)"], environment)
        ms, mib = median(forecast, environment)
        met = [say("process start to first line", ms, 50, "ms", f", {ms / yard_ms:.2f} x an empty python3"),
               say("peak RSS", mib, 40, "MiB")]
        return 0 if all(met) else 1


def say(what, figure, limit, unit, beside=""):
    print(f"{'met' if figure < limit else 'MISSED':7} {'plimsoll forecast: ' + what:48} {figure:.1f} {unit}, target < {limit} {unit}{beside}")
    return figure < limit


if __name__ == "__main__":
    sys.exit(main())
