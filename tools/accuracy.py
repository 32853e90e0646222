#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/accuracy.md: our answers and other rules against recordings of the real networks and the real loader.

Usage: tools/accuracy.py [FOLDER of *.jsonl] [--output docs/accuracy.md] [--bin build/release/bin]

Every number of the page comes out of this run. ./dev accuracy builds what it needs.
"""
import argparse
import collections
import gzip
import json
import math
import pathlib
import re
import subprocess
import sys

TRACES = pathlib.Path("tests/data/traces")
STEPS = pathlib.Path("tests/data/residency/steps.jsonl.gz")
OUTPUT = pathlib.Path("docs/accuracy.md")
ELSEWHERE = pathlib.Path("build/accuracy.md")  # a page about other lines does not replace the repository's
ANSWERS = ("peak_bytes", "peak_bytes_cu130", "weights_bytes", "params", "input_bytes", "max_cast_bytes", "flops", "bytes_moved", "kernels",
           "peak_site", "top_live")
EQUAL = ("peak_bytes", "peak_bytes_cu130", "weights_bytes", "params", "flops")  # what a line must have right to be called equal
SHOWN = ("peak_bytes", "peak_bytes_cu130", "weights_bytes", "flops")
COUNTED = (*EQUAL, "bytes_moved", "kernels")
PHASES = {"unet_step": "Denoising, one forward", "vae_decode": "VAE, decoding", "vae_encode": "VAE, encoding", "text_encode": "Text and image encoders",
          "controlnet": "ControlNet", "upscale": "Upscaler"}
RULED = ("unet_step", "vae_decode", "vae_encode")
EXPLAINED_ABOVE = 0.01
GIB = 2**30
STEP_QUESTION = ("scenario", "seq", "comfyui", "card", "step", "inputs")
STEP_ANSWER = ("resident", "free_after", "forward_batches", "batch_number", "forwards_per_step", "decode_calls", "encode_calls")
# InvokeAI, invokeai/backend/util/vae_working_memory.py (Apache-2.0): elements a pixel, calibrated there on what torch reserved.
INVOKEAI = {"vae_decode": {"kl": 2200, "wan_image": 2900, "vae_wan21": 6500, "vae_wan22": 7000}, "vae_encode": {"kl": 1100, "wan": 1450}}
KL = ("vae_kl4", "vae_kl16", "vae_flux2")
WAN = ("vae_wan21", "vae_wan22")


class Line:
    """A recorded line beside our answer to its question and ComfyUI's estimate for it."""

    def __init__(self, truth, answer, estimate):
        self.truth, self.answer, self.estimate = truth, answer, estimate
        self.phase, self.family = truth["phase"], truth["family"]
        self.unknown = "peak_bytes" not in answer
        self.errors = {}
        for field in COUNTED if not self.unknown else ():
            if truth.get(field) is not None:
                self.errors[field] = abs(answer.get(field, 0) - truth[field]) / max(1, truth[field])
        self.equal = not self.unknown and not any(self.errors.get(field) for field in EQUAL)

    def name(self):
        return self.truth.get("id") or f"{self.truth['comfyui']} {self.truth['variant']}"

    def size(self):
        t = self.truth
        text = f"{t['width']} x {t['height']}" if t["width"] else ""
        text += f" x {t['frames']}" if (t["frames"] or 1) > 1 else ""
        return f"{text} batch {t['batch']} {t['dtype']}".strip()


def read_lines(folder):
    """Every recorded question once."""
    seen, lines = set(), []
    for path in sorted(folder.glob("*.jsonl")):
        for text in path.read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            key = json.dumps({k: v for k, v in line.items() if k not in ("top_live", "peak_site")}, sort_keys=True)
            if key not in seen:
                seen.add(key)
                lines.append(line)
    return lines


def ask(command, questions):
    text = "".join(json.dumps(question) + "\n" for question in questions)
    out = subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout
    answers = [json.loads(line) for line in out.splitlines()]
    if len(answers) != len(questions):
        sys.exit(f"{command}: {len(answers)} answers to {len(questions)} questions")
    return answers


def ask_lines(binaries, recorded):
    # The recorded numbers are taken away, so that they cannot come back by themselves.
    questions = [{k: v for k, v in line.items() if k not in ANSWERS} for line in recorded]
    answers = ask([binaries / "plimsoll", "trace"], questions)
    estimates = ask([binaries / "comfyui_estimates"], questions)
    return [Line(t, a, e["estimate_bytes"]) for t, a, e in zip(recorded, answers, estimates)]


def percent(error):
    """Two digits; whole from 10 % on."""
    shown = 100 * error
    if error == 0:
        return "0"
    return "< 0.001 %" if shown < 0.001 else f"{shown:.0f} %" if shown >= 9.95 else f"{shown:.2g} %"


def spread(errors):
    """(median, 95th percentile by nearest rank, worst)."""
    ordered = sorted(errors)
    return tuple(ordered[max(0, math.ceil(share * len(ordered)) - 1)] for share in (0.5, 0.95, 1))


def spread_text(errors):
    if not errors:
        return "-"
    return "0" if not any(errors) else " / ".join(percent(e) for e in spread(errors))


def heading(*names):
    left = {"family", "field", "rule", "line", "network", "recorded", "step", "tensors", "phase", "kind", "reason"}
    return [f"| {' | '.join(names)} |", f"|{'|'.join('---' if n in left else '---:' for n in names)}|"]


def selection(folder):
    if folder != TRACES:
        return []
    return ["- Not a selection: `others.jsonl` holds all recordings at hand that were not picked as tests, those that differ or are unknown among them."]


def opening(folder, recorded):
    versions = collections.Counter(line["comfyui"] for line in recorded)
    said = " and ".join(f"{version} ({count} lines)" for version, count in sorted(versions.items()))
    return [
        "# How well the memory model holds", "",
        f"Written by `./dev accuracy{'' if folder == TRACES else f' {folder}'}` (`tools/accuracy.py`); no number here is typed by hand.", "",
        f"Truth: `{folder}/*.jsonl`, {len(recorded)} recordings of the real forward functions of ComfyUI {said},",
        "under the rules of PyTorch 2.8 and, in `peak_bytes_cu130`, of the CUDA 13 build with its fused norm and rope. They were run on shape-only",
        "tensors, following the life of every storage: each is rounded up to 512 bytes, as torch's allocator does. No GPU took part.", "",
        "- In them: weights, activations, copies of weights in another type, everything torch allocates for a call.",
        "- Not in them: workspaces of cuDNN and cuBLAS, fragmentation of torch's cache, the CUDA context, other programs.",
        "  `docs/adr/0001-what-counts-against-the-load-line.md` says what stands for those.",
        "- Not a held-out test: most families were written with their recordings at hand.", *selection(folder), "",
        "Error: |ours - recorded| / recorded, as median / 95th percentile / worst; `0` alone: every line to the byte. A line is *equal* when peak, peak",
        "under CUDA 13 (where recorded), weights, parameters and FLOPs all are. *Unknown*: we answered so, without a number.", ""]


def totals(lines):
    known = [line for line in lines if not line.unknown]
    out = ["## All lines", "", f"{len(lines)} lines: {sum(l.equal for l in lines)} equal, {sum(not l.equal for l in known)} different, "
           f"{len(lines) - len(known)} unknown.", "", *heading("field", "lines", "equal", "median", "p95", "worst")]
    for field in COUNTED:
        errors = [l.errors[field] for l in known if field in l.errors]
        if errors:
            out.append(f"| {field} | {len(errors)} | {errors.count(0)} | {' | '.join(percent(e) for e in spread(errors))} |")
    return out + ["", "`bytes_moved` and `kernels` are no memory: the forecast of seconds uses them.", ""]


def families(lines):
    out = ["## By phase and family", ""]
    for phase, title in PHASES.items():
        groups = collections.defaultdict(list)
        for line in lines:
            if line.phase == phase:
                groups[line.family].append(line)
        if not groups:
            continue
        out += [f"### {title} (`{phase}`)", "", *heading("family", "lines", "equal", "unknown", *SHOWN)]
        groups["**all**"] = [line for group in groups.values() for line in group]
        for family, group in sorted(groups.items(), key=lambda item: (item[0] == "**all**", item[0])):
            cells = [spread_text([l.errors[f] for l in group if f in l.errors]) for f in SHOWN]
            out.append(f"| {family} | {len(group)} | {sum(l.equal for l in group)} | {sum(l.unknown for l in group)} | {' | '.join(cells)} |")
        out.append("")
    return out


def tensor_text(tensor):
    shape = " x ".join(str(n) for n in tensor["shape"])
    return f"{tensor['bytes']} B, [{shape}] {tensor['dtype']}, `{tensor['op']}` in `{tensor['module'] or 'the root'}`"


def without(some, others):
    """Tensors of `some` that `others` has not, largest first; equal ones cancel one by one."""
    left = [(t["bytes"], t["shape"], t["dtype"]) for t in others]
    out = []
    for tensor in some:
        key = (tensor["bytes"], tensor["shape"], tensor["dtype"])
        if key in left:
            left.remove(key)
        else:
            out.append(tensor)
    return out


def site_text(answer):
    site = answer["peak_site"]
    return f"`{site['op']}` in `{site['module'] or 'the root'}`"


def explanation(line):
    """The largest tensors that are alive at one peak and not at the other, and where the peaks are."""
    truth, answer = line.truth, line.answer
    out = [f"- **{line.name()}** ({line.phase} {line.family} {truth['variant']}, {line.size()}): peak recorded at {site_text(truth)}, ours at {site_text(answer)}."]
    only_there = without(truth["top_live"], answer["top_live"])
    if not only_there:
        out.append(f"  The {len(truth['top_live'])} largest tensors on record are alive in ours too: what differs is smaller. Largest on record: "
                   f"{tensor_text(truth['top_live'][0])}.")
    else:
        out.append(f"  Only on record: {tensor_text(only_there[0])}.")
        # Ours is a list of the largest too: a shorter recording cannot say what it lacks beyond its end.
        smallest = truth["top_live"][-1]["bytes"]
        only_here = [t for t in without(answer["top_live"], truth["top_live"]) if t["bytes"] > smallest]
        if only_here:
            out.append(f"  Only in ours: {tensor_text(only_here[0])}.")
    return out


def exceptions(lines):
    different = [l for l in lines if not l.equal and not l.unknown]
    out = ["## Every line that is not equal", ""]
    if different:
        out += heading("line", "network", "field", "recorded, bytes or FLOPs", "ours", "difference", "relative")
    explained = []
    for line in different:
        for field in EQUAL:
            if line.errors.get(field):
                truth, answer = line.truth[field], line.answer.get(field, 0)
                out.append(f"| {line.name()} | {line.phase} {line.family} {line.truth['variant']}, {line.size()} | {field} | {truth} | {answer} | "
                           f"{answer - truth:+d} | {percent(line.errors[field])} |")
        if max(line.errors.get(field, 0) for field in EQUAL) > EXPLAINED_ABOVE:
            explained += explanation(line)
    if not different:
        out.append("None.")
    out += ["", f"### Above {percent(EXPLAINED_ABOVE)}: the tensor that differs", "", *(explained or ["None."]), ""]
    reasons = collections.Counter((l.phase, l.family, l.truth["variant"], l.answer.get("reason", "no reason given")) for l in lines if l.unknown)
    out += ["## Answered with unknown", ""]
    if reasons:
        out += heading("network", "lines", "reason")
        out += [f"| {phase} {family} {variant} | {n} | {reason} |" for (phase, family, variant, reason), n in sorted(reasons.items())]
    return out + ([] if reasons else ["None."]) + [""]


def invokeai_estimate(line):
    """None where the rule does not speak. Without the 250 MiB that it adds in fp32 for larger weights, which are no activations."""
    t = line.truth
    wide = 4 if t["dtype"].endswith("fp32") else 2
    pixels, frames = (t["width"] or 0) * (t["height"] or 0), t["frames"] or 1
    if line.phase not in INVOKEAI or t["batch"] != 1:
        return None
    constants = INVOKEAI[line.phase]
    if line.family in KL:
        return constants["kl"] * pixels * wide
    if line.family not in WAN or (line.family == "vae_wan22" and frames == 1):
        return None
    decodes = line.phase == "vae_decode"
    constant = constants["wan"] if not decodes else constants[line.family if frames > 1 else "wan_image"]
    return (constant + (2 if decodes else 1) * 3 * frames) * pixels * wide


def rule_row(name, pairs):
    """pairs: (said, truth)."""
    errors = [abs(said - truth) / truth for said, truth in pairs]
    ratios = [said / truth for said, truth in pairs]
    below = sum(said < truth for said, truth in pairs)
    return (f"| {name} | {len(pairs)} | {' | '.join(percent(e) for e in spread(errors))} | {min(ratios):.2f} to {max(ratios):.2f} | "
            f"{100 * below / len(pairs):.0f} % |")


RULE_HEAD = ("rule", "lines", "median", "p95", "worst", "said / recorded", "said too little")


def peak_rules(lines):
    out = ["## Other rules on the same cases", "", "### Memory beside the weights", "",
           "ComfyUI's own estimate decides what it evicts: latent cells x bytes of the compute type x 0.01 MiB x the network's factor for denoising, and",
           "elements a pixel for VAEs; said here by the code that forecasts ComfyUI's loader (`src/memory/families.h`, `residency/estimates.h`). It is meant",
           "to be roomy, also for workspaces, which no recording holds. For a VAE it is taken times the batch. InvokeAI's rule: elements a pixel of one",
           "image or clip, calibrated by its authors on what torch reserves, which is more than what it allocates. Below each rule: our forecast on",
           "exactly the same lines.", ""]
    for phase in RULED:
        known = [l for l in lines if l.phase == phase and not l.unknown]
        rules = {"ComfyUI's estimate": lambda l: l.estimate, "InvokeAI's constants": invokeai_estimate}
        rows = []
        for name, rule in rules.items():
            some = [(l, rule(l)) for l in known if rule(l) is not None]
            if some:
                rows.append(rule_row(name, [(said, l.truth["peak_bytes"]) for l, said in some]))
                rows.append(rule_row("Plimsoll, those lines", [(l.answer["peak_bytes"], l.truth["peak_bytes"]) for l, _ in some]))
        if rows:
            silent = sum(l.estimate is None for l in known)
            out += [f"{PHASES[phase]}. ComfyUI's estimate is not known here for {silent} of {len(known)} lines (networks whose factor is not in our table,",
                    "reference images, ControlNets): left out.", "", *heading(*RULE_HEAD), *rows, ""]
    return out


def estimate_by_family(lines):
    groups = collections.defaultdict(list)
    for line in lines:
        if line.phase in RULED and line.estimate is not None and not line.unknown:
            groups[line.phase, line.family].append((line.estimate, line.truth["peak_bytes"]))
    out = ["### ComfyUI's estimate by family", "", *heading(*RULE_HEAD)]
    return out + [rule_row(f"{phase} {family}", pairs) for (phase, family), pairs in sorted(groups.items())] + [""]


def resident_rules(lines):
    out = ["### Weights and activations together", "",
           "What must be on the card at once for the phase, weights all resident: recorded weights + recorded peak. The rules of thumb start from the right",
           "weights (the recorded ones).", ""]
    rules = {"weights x 1.2": lambda l, w: 1.2 * w, "weights x 1.5": lambda l, w: 1.5 * w, "weights + 3 GiB": lambda l, w: w + 3 * GIB}
    for phase in RULED:
        known = [l for l in lines if l.phase == phase and not l.unknown]
        if not known:
            continue
        truth = {id(l): l.truth["weights_bytes"] + l.truth["peak_bytes"] for l in known}
        out += [f"{PHASES[phase]}.", "", *heading(*RULE_HEAD)]
        out.append(rule_row("Plimsoll", [(l.answer["weights_bytes"] + l.answer["peak_bytes"], truth[id(l)]) for l in known]))
        with_estimate = [l for l in known if l.estimate is not None]
        if with_estimate:
            out.append(rule_row("weights + ComfyUI's estimate, where known",
                                [(l.truth["weights_bytes"] + l.estimate, truth[id(l)]) for l in with_estimate]))
        out += [rule_row(name, [(rule(l, l.truth["weights_bytes"]), truth[id(l)]) for l in known]) for name, rule in rules.items()] + [""]
    return out


def residency(binaries):
    recorded = [json.loads(line) for line in gzip.decompress(STEPS.read_bytes()).decode().splitlines()]
    answers = ask([binaries / "plimsoll", "residency"], [{k: step[k] for k in STEP_QUESTION} for step in recorded])
    counts = collections.defaultdict(lambda: [0, 0, 0])
    for step, answer in zip(recorded, answers):
        same = all(answer.get(field) == step[field] for field in STEP_ANSWER if field in step)
        for key in ((step["comfyui"], step["step"]), ("**all**", "")):
            counts[key][0] += 1
            counts[key][1] += same
            counts[key][2] += "verdict" in answer
    out = ["## Residency: what the loader keeps, evicts and streams", "",
           f"`{STEPS}`: steps of ComfyUI's real model management on simulated cards. Equal: which models stay, every model's resident and streamed",
           "modules and bytes, free memory afterwards, and how forwards and VAE calls were batched.", "",
           *heading("step", "lines", "equal", "unknown")]
    return out + [f"| {' '.join(key).strip()} | {' | '.join(str(n) for n in values)} |"
                  for key, values in sorted(counts.items(), key=lambda item: (item[0][0] == "**all**", item[0]))] + [""]


def timing(binaries):
    # Its exit code says whether its target is met; the table is wanted either way.
    text = subprocess.run([binaries / "bench_timing"], capture_output=True, text=True).stdout
    rows = re.findall(r"^\s+(\S+)\s+(\d+) jobs, median error\s+(\S+ %), 90 % below\s+(\S+ %)$", text, re.MULTILINE)
    if not rows:
        sys.exit("bench_timing said nothing that can be read")
    return ["## Seconds", "", "`bench_timing` on the public measurements of `data/timing/measured.csv`, by card, all of them in the fit. Cards left out of the fit,",
            "networks, sources and every row: `docs/timing-fit.md`.", "", "| card | jobs | median error | 90 % below |", "|---|---:|---:|---:|",
            *(f"| {' | '.join(row)} |" for row in rows), ""]


def page(folder, binaries):
    lines = ask_lines(binaries, read_lines(folder))
    if not lines:
        sys.exit(f"no recorded lines in {folder}")
    parts = (opening(folder, [l.truth for l in lines]), totals(lines), families(lines), exceptions(lines), peak_rules(lines), estimate_by_family(lines),
             resident_rules(lines), residency(binaries), timing(binaries))
    return "\n".join(text for part in parts for text in part).rstrip() + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", nargs="?", default=TRACES, type=pathlib.Path, help=f"where the recorded lines are; {TRACES}")
    parser.add_argument("--output", type=pathlib.Path, help=f"{OUTPUT}; with a folder, {ELSEWHERE}")
    parser.add_argument("--bin", default="build/release/bin", type=pathlib.Path, help="where plimsoll, comfyui_estimates and bench_timing are")
    args = parser.parse_args()
    text = page(args.folder, args.bin)
    output = args.output or (OUTPUT if args.folder == TRACES else ELSEWHERE)
    output.write_text(text, encoding="utf-8")
    start = text.index("## All lines")
    print(text[start:text.index("\n## ", start + 1)] + f"\nwritten: {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
