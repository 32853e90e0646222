#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Forecasts the recorded workflows of ComfyUI's template index (tests/data/convert) by the names of their model files alone, and says how
many have another verdict than `unknown`. Fails below 95 %.

    tools/bench_corpus.py build/release/bin/plimsoll [--card NAME]
"""
import argparse
import collections
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

PAIRS = pathlib.Path(__file__).resolve().parent.parent / "tests/data/convert/pairs.jsonl.gz"
HAND_MADE = (".fe127", ".fe158")  # graphs made to try the converter, some of them broken on purpose: no workflows of people
KNOWN_LEAST = 0.95  # of all graphs


def forecast(program, card, pair, folder):
    workflow = folder / "workflow.json"
    workflow.write_text(json.dumps(pair["api"]))
    said = subprocess.run([program, "forecast", "--json", "--card", card, "--comfyui-version", pair["server"], workflow],
                          capture_output=True, text=True, timeout=60, check=False)
    try:
        return json.loads(said.stdout)
    except ValueError:
        sys.exit(f"{pair['name']}: no forecast: {said.stderr.strip()}")


def reasons(answer):
    return [phase["reasons"][-1] for phase in answer["phases"] if phase["kind"] == "unknown" and phase.get("reasons")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--card", default="rtx3060-12gb")
    arguments = parser.parse_args()
    verdicts, whole = collections.Counter(), 0
    with tempfile.TemporaryDirectory() as folder, gzip.open(PAIRS, "rt") as pairs:
        for line in pairs:
            pair = json.loads(line)
            if pair["name"].endswith(HAND_MADE):
                continue
            answer = forecast(arguments.program, arguments.card, pair, pathlib.Path(folder))
            answer = answer.get("forecast", answer)
            verdicts[answer["verdict"]] += 1
            why = reasons(answer)
            whole += not why
            if why:
                print(f"{answer['verdict']:13} {pair['name']}: {'; '.join(sorted(set(why)))}")
    total = verdicts.total()
    known = (total - verdicts["unknown"]) / total
    met = known >= KNOWN_LEAST
    print(f"{total} graphs on {arguments.card}: {', '.join(f'{count} {name}' for name, count in sorted(verdicts.items()))}; "
          f"{whole} without any unknown node")
    print(f"{'met    ' if met else 'MISSED '} not unknown  {100 * known:.1f} %, target >= {100 * KNOWN_LEAST:.0f} %")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
