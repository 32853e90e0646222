#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fits the coefficients of src/timing/roofline.cpp to public measurements and says how well they hold.

Usage: tools/fit_timing.py [--costs build/release/bin/fit_costs] [--write | --summary [--folds N]]

Reads data/timing/measured.csv (tools/make_timing_rows.py), data/cards.csv and data/timing/coefficients.csv (which coefficients
are fitted, where each starts and where it may lie). The costs of every row come from our own walks, printed by `fit_costs`.
--write puts the fitted values into data/timing/coefficients.csv and the residuals into docs/timing-fit.md.

The model is roofline.cpp's, written here a second time; the two are compared row by row at the end. Damped
least squares on log(forecast / measured), reweighted to absolute errors (a wrong row pulls no harder than a slightly wrong
one); n rows of one card, network and source weigh as sqrt(n), since they repeat each other; coefficients are held loosely to
where they start. Then each card is left out once, the rest fitted, and the card forecast; then each chip with all its cards.
Plain Python, about two minutes.

Cards that are left out lend the model nothing but their line of data/cards.csv. What was chosen with all rows in view is the
form of the model and the bounds in the coefficients file.
"""
import argparse
import collections
import csv
import json
import math
import subprocess
import sys

CLASSES = ("matmul", "convolution", "attention", "normalization", "elementwise", "copy")
WORK = CLASSES[:3]
COEFFICIENTS = "data/timing/coefficients.csv"
ROWS = "data/timing/measured.csv"
REPORT = "docs/timing-fit.md"
# Matrix work per watt relative to Volta, from specifications; see work_per_watt in roofline.cpp.
PER_WATT = {"pascal": 1.0, "volta": 1.0, "turing": 1.2, "ampere": 1.35, "ampere80": 2.1, "ada": 3.0, "hopper": 3.6,
            "blackwell": 3.0}


def read_csv(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


class Card:
    def __init__(self, row):
        cc = int(row["compute_capability"])
        self.key, self.cc = row["key"], cc
        self.bandwidth = float(row["bandwidth_gbs"]) * 1e9
        self.watts = float(row["tdp_w"])
        self.fp32 = float(row["fp32_tflops"]) * 1e12
        self.half = float(row["fp16_tflops"] or 0) * 1e12 or self.fp32
        self.bf16 = float(row["bf16_tflops"] or 0) * 1e12 or self.fp32
        self.per_watt = PER_WATT["ampere80" if cc == 80 else row["arch"]]
        self.sms = int(row["cores"]) / (64 if cc in (70, 75, 80) else 128)
        self.l2 = l2_bytes(row["arch"], cc, int(row["bus_bits"]))
        desktop = any(word in row["name"] for word in ("GeForce", "TITAN", "RTX"))
        self.old_server = not desktop and cc < 89

    def peak(self, name, dtype, tf32):
        if dtype == "fp16":
            return self.half
        if dtype == "bf16":
            return self.bf16
        uses_tf32 = self.cc >= 80 and (name == "convolution" or tf32 and name != "attention")
        return self.half / 2 if uses_tf32 else self.fp32


def l2_bytes(arch, cc, bus_bits):
    """Level-2 cache. Data-centre chips by chip; else by memory channel of the generation."""
    chips = {70: 6, 80: 40, 90: 50}
    per_32_bits = {"pascal": 0.25, "turing": 0.5, "ampere": 0.5, "ada": 6.0, "blackwell": 6.0}
    return (chips[cc] if cc in chips else per_32_bits[arch] * bus_bits / 32) * 2**20


class Row:
    def __init__(self, fields, costs, cards):
        self.fields = fields
        self.card = cards[fields["card"]]
        self.seconds = float(fields["seconds"])
        self.dtype, self.tf32 = fields["dtype"], fields["matmul"] == "tf32"
        self.compiled = fields["software"] == "compiled"
        self.nhwc = fields["layout"] == "channels_last"
        self.id = fields["id"]
        self.group = (self.card.key, fields["network"], fields["source"])
        self.parts = []
        for part in costs["parts"]:
            classes = [tuple(part["classes"][name]) for name in CLASSES]
            self.parts.append((part["forwards"], classes))
        self.peaks = [self.card.peak(name, self.dtype, self.tf32) for name in WORK]
        if fields["attention"] == "baddbmm":
            self.peaks[2] = self.peaks[0]
        self.matrix_units = [peak > 1.01 * self.card.fp32 for peak in self.peaks]


def forecast(p, row):
    """Seconds of a row; p: coefficient name -> value."""
    card = row.card
    limit = p["tflops_per_watt"] * 1e12 * card.per_watt * (card.watts - p["base_watts"])
    lanes = p["fp32_lanes"] * card.fp32
    moved = card.bandwidth
    tile = p["tile_mflop"] * 1e6 * card.sms
    bytes_per_element = 4 if row.dtype == "fp32" else 2
    total = 0.0
    for forwards, classes in row.parts:
        on_card, kernels = 0.0, 0.0
        for i, (flops, size, count, scores) in enumerate(classes):
            if not count:
                continue
            share = p["bandwidth"]
            extra = 0.0
            if i < 3:
                peak = row.peaks[i]
                if row.matrix_units[i]:
                    rate = min(p[WORK[i]] * peak, limit * (0.5 if row.dtype == "fp32" else 1))
                    if i == 2 and card.cc == 90 and row.fields["attention"] != "flash-attn-3":
                        rate *= p["attention_on_hopper"]
                else:
                    rate = lanes * (p["winograd"] if i == 1 and row.dtype == "fp32" else 1)
                work = (flops + tile * count) / rate if flops else 0.0
                if i == 1 and not row.nhwc and row.matrix_units[1]:
                    extra = size * p["layout_passes"] / (share * moved)
                if i == 2 and row.fields["attention"] == "baddbmm":
                    size += 4 * p["score_passes"] * bytes_per_element * scores
                    count *= 4
                elif i == 2:
                    softmax = scores * p["softmax_flop"] / lanes * (p["softmax_before_ampere"] if card.cc < 80 else 1.0)
                    if row.matrix_units[i]:
                        dim = flops / (4 * scores)
                        work *= math.ceil(dim / 32 - 1e-6) * 32 / dim
                    if card.cc < 80 or row.fields["attention"] in ("xformers", "sdpa-1"):
                        work += softmax * p["softmax_first_generation"]
                    else:
                        q = p["softmax_overlap"]
                        work = (work ** q + softmax ** q) ** (1 / q)
            else:
                work = 0.0
                if row.compiled:
                    size, count = size * p["fused_bytes"], count * p["fused_kernels"]
                if i == 3:
                    share = p["norm_bandwidth"]
            each = size / count
            hit = card.l2 / (card.l2 + each + 1)
            size *= 1 - hit * (1 - p["cache_relief"])
            on_card += max(work, size / (share * moved)) + extra
            kernels += count
        on_card += p["kernel_us"] * 1e-6 * kernels
        if not row.compiled:
            host = p["dispatch_us"] * 1e-6 * kernels * (p["server_host"] if card.old_server else 1.0)
            on_card = (on_card ** 6 + host ** 6) ** (1 / 6)
        total += forwards * on_card
    return total


HOLD = 4.0  # chosen: strength of the hold to the start, as of four measurements that are a factor e off


class Fit:
    def __init__(self, coefficients):
        self.start = {c["name"]: float(c["start"] or c["value"]) for c in coefficients}
        fitted = [c for c in coefficients if c["kind"] == "fitted"]
        self.names = [c["name"] for c in fitted]
        self.low = {c["name"]: math.log(float(c["low"])) for c in fitted}
        self.high = {c["name"]: math.log(float(c["high"])) for c in fitted}

    def values(self, logs):
        p = dict(self.start)
        p.update({n: math.exp(v) for n, v in logs.items()})
        return p

    def run(self, rows, iterations=40):
        first = {n: math.log(self.start[n]) for n in self.names}
        groups = collections.Counter(r.group for r in rows)
        weight = [groups[r.group] ** -0.5 for r in rows]

        def residuals(logs):
            p = self.values(logs)
            return [math.log(forecast(p, r) / r.seconds) for r in rows]

        def loss(logs, res):
            held = sum((logs[n] - first[n]) ** 2 for n in self.names)
            return sum(w * abs(e) for w, e in zip(weight, res)) + 0.5 * held

        logs, damping = first, 0.1
        res = residuals(logs)
        best = loss(logs, res)
        for _ in range(iterations):
            before = best
            matrix, right = self.normal_equations(logs, first, res, weight, residuals)
            for _ in range(5):
                damped = [[v * (1 + damping) if i == j else v for j, v in enumerate(row)] for i, row in enumerate(matrix)]
                step = solve(damped, right)
                trial = {n: min(max(logs[n] + d, self.low[n]), self.high[n]) for n, d in zip(self.names, step)}
                trial_res = residuals(trial)
                trial_loss = loss(trial, trial_res)
                if trial_loss < best:
                    logs, res, best, damping = trial, trial_res, trial_loss, max(damping / 3, 1e-3)
                    break
                damping *= 4
            if before - best < 1e-5 * before:
                break
        return self.values(logs)

    def normal_equations(self, logs, first, res, weight, residuals):
        step, columns = 1e-3, []
        for n in self.names:
            moved = residuals({**logs, n: logs[n] + step})
            columns.append([(b - a) / step for a, b in zip(res, moved)])
        w = [a / max(abs(e), 0.02) for a, e in zip(weight, res)]
        weighted = [[wi * v for wi, v in zip(w, column)] for column in columns]
        matrix = [[sum(map(float.__mul__, a, b)) for b in columns] for a in weighted]
        right = [-sum(map(float.__mul__, a, res)) for a in weighted]
        for i, n in enumerate(self.names):
            matrix[i][i] += HOLD
            right[i] -= HOLD * (logs[n] - first[n])
        return matrix, right


def solve(matrix, right):
    """Gaussian elimination with row exchange."""
    size = len(right)
    m = [row[:] + [b] for row, b in zip(matrix, right)]
    for i in range(size):
        pivot = max(range(i, size), key=lambda k: abs(m[k][i]))
        m[i], m[pivot] = m[pivot], m[i]
        for k in range(i + 1, size):
            f = m[k][i] / m[i][i]
            if f:
                for j in range(i, size + 1):
                    m[k][j] -= f * m[i][j]
    x = [0.0] * size
    for i in reversed(range(size)):
        x[i] = (m[i][size] - sum(m[i][j] * x[j] for j in range(i + 1, size))) / m[i][i]
    return x


class Ratios:
    """Forecast / measured of some rows."""

    def __init__(self, values):
        self.values = sorted(values)
        self.errors = sorted(abs(v - 1) for v in values)

    def at(self, sorted_values, share):
        return sorted_values[int(share * (len(sorted_values) - 1) + 0.5)]

    def median_error(self):
        return self.at(self.errors, 0.5)

    def cells(self):
        low, mid, high = self.values[0], self.at(self.values, 0.5), self.values[-1]
        return f"{len(self.values)} | {self.median_error():.1%} | {self.at(self.errors, 0.9):.1%} | {mid:.2f} | {low:.2f} to {high:.2f}"


def leave_out(fit, rows, key):
    """Each group of rows forecast with what was fitted to the others: row id -> ratio."""
    out = {}
    for name in sorted({key(r) for r in rows}):
        p = fit.run([r for r in rows if key(r) != name])
        out.update({r.id: forecast(p, r) / r.seconds for r in rows if key(r) == name})
    return out


CHIP = {"a100": "GA100", "h100": "GH100", "h200": "GH100", "h20": "GH100", "a10": "GA102", "a10g": "GA102",
        "rtxa6000": "GA102", "rtx3090": "GA102", "rtx3080": "GA102", "rtx4090": "AD102", "l20": "AD102"}
HEAD = "rows | median error | 90 % below | median forecast / measured | lowest to highest"


def table(name, rows, ratio, key):
    lines = [f"| {name} | {HEAD} |", "|---|---:|---:|---:|---:|---|"]
    groups = collections.defaultdict(list)
    for r in rows:
        groups[key(r)].append(ratio[r.id])
    return lines + [f"| {k} | {Ratios(v).cells()} |" for k, v in sorted(groups.items())]


def summary(title, rows, ratio):
    """One line for each kind of software, and what a card's median is like."""
    cards = collections.defaultdict(list)
    for r in rows:
        cards[r.card.key].append(ratio[r.id])
    middle = sorted(Ratios(v).median_error() for v in cards.values())
    of_cards = f"medians of the {len(middle)} cards: middle one {middle[len(middle) // 2]:.1%}, largest {middle[-1]:.1%}"
    kinds = {"all": rows, "eager": [r for r in rows if not r.compiled], "compiled": [r for r in rows if r.compiled]}
    return [f"| {title}, {kind} | {Ratios([ratio[r.id] for r in some]).cells()} |" for kind, some in kinds.items()], of_cards


LIMITS = """## What limits it

- The host is not in the rows. One network at one size ran at 21.7, 29.0 and 35.6 steps a second on A100s (SD 1.x, one image): there the
  processor sets the pace. `dispatch_us` and `server_host` are middles.
- Software moved on: most rows are of 2022 and 2023. What ComfyUI runs on today (`sdpa`, FlashAttention 2) is in the Flux, SD 3,
  OmniGen 2 and video rows, on data-centre cards but for three rows of an RTX 4090 and the decoders.
- Some rows contradict each other: Wan 2.1 and 2.2 are one network, and 1280 x 720 took 18.4 and 13.0 s a forward on H100.
- Consumer cards but RTX 3090 and 4090 have two to ten rows each; AMD and Intel have none, and their share of NVIDIA's fractions is chosen.
- Text encoders, and the decoder of HunyuanVideo, are not priced: a few hundredths of such jobs.
- The form of the model and the bounds were chosen with all rows in view; what is fitted is fitted without the cards left out.""".split("\n")


def report(rows, notes, fit, p, inside, card_out, chip_out):
    lines = ["# How well the time model holds", "",
             "Written by `tools/fit_timing.py --write`. Rows: `data/timing/measured.csv`, made by `tools/make_timing_rows.py` from public",
             "measurements; costs: our own walks; model: `src/timing/roofline.cpp`. Error: |forecast - measured| / measured.", "",
             f"| which | {HEAD} |", "|---|---:|---:|---:|---:|---|"]
    texts = []
    for title, ratio in (("in the fit", inside), ("card left out", card_out), ("chip left out", chip_out)):
        some, of_cards = summary(title, rows, ratio)
        lines += some
        texts.append(f"- {title}: {of_cards}.")
    lines += ["", *texts, "- chip left out: all cards with the same chip (all A100; H100, H200 and H20; ...) at once.", "",
              *LIMITS, "", "## Coefficients", "", "| name | value | between | held to |", "|---|---:|---|---:|"]
    lines += [f"| {n} | {p[n]:.3g} | {math.exp(fit.low[n]):.3g} to {math.exp(fit.high[n]):.3g} | {fit.start[n]:.3g} |" for n in fit.names]
    lines += ["", "## By card, left out of the fit", "", *table("card", rows, card_out, lambda r: r.card.key), "",
              "## By card, in the fit", "", *table("card", rows, inside, lambda r: r.card.key), "",
              "## By network, in the fit", "",
              *table("network", rows, inside, lambda r: f"{r.fields['network']}, {r.dtype}, {r.fields['software']}"), "",
              "## By source, in the fit", "", *table("source", rows, inside, lambda r: r.fields["source"]), "",
              "## Rows left out of the table, by reason", "", *(f"- {note}" for note in notes), "",
              "## Every row", "", "| row | card | network | type | attention | size | images | timed | measured s | in the fit | card left out |",
              "|---|---|---|---|---|---|---:|---|---:|---:|---:|"]
    for r in rows:
        f = r.fields
        size = f"{f['width']} x {f['height']}" + (f" x {f['frames']}" if f["frames"] != "1" else "")
        lines.append(f"| {r.id} | {r.card.key} | {f['network']}{', compiled' if r.compiled else ''} | {f['dtype']} | {f['attention']} | {size} | "
                     f"{f['images']} | {f['timed']} | {r.seconds:.4g} | {inside[r.id]:.2f} | {card_out[r.id]:.2f} |")
    return "\n".join(lines) + "\n"


def price(command, path):
    out = subprocess.run([command, ROWS, path], check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def write_coefficients(coefficients, p):
    with open(COEFFICIENTS, encoding="utf-8") as file:
        comments = [line for line in file if line.startswith("#")]
    with open(COEFFICIENTS, "w", encoding="utf-8", newline="") as file:
        file.writelines(comments)
        writer = csv.DictWriter(file, coefficients[0].keys(), lineterminator="\n")
        writer.writeheader()
        for c in coefficients:
            writer.writerow({**c, "value": f"{p[c['name']]:.4g}" if c["kind"] == "fitted" else c["value"]})


def print_target(title, ratios, target):
    error = Ratios(ratios.values()).median_error()
    met = error <= target
    print(f"{'met' if met else 'MISSED':7} seconds, {title}: median error {error:.1%} of {len(ratios)} jobs, target <= {target:.0%}")
    return met


def check(fit, rows, coefficients, inside, folds):
    """The promises, and that the file's coefficients are what the rows give. True when all hold."""
    cards = sorted({r.card.key for r in rows})
    part = {card: i % folds if folds else card for i, card in enumerate(cards)}
    out = leave_out(fit, rows, lambda r: part[r.card.key])
    title = f"a part of the cards of {folds} left out" if folds else "each card left out once"
    again = fit.run(rows)
    stale = [c["name"] for c in coefficients if abs(again[c["name"]] / float(c["value"]) - 1) > 0.02]
    if stale:
        print(f"MISSED  coefficients that a new fit moves by more than 2 %: {', '.join(stale)}; run tools/fit_timing.py --write")
    return all([print_target("cards in the fit", inside, 0.10), print_target(title, out, 0.20), not stale])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--costs", default="build/release/bin/fit_costs")
    parser.add_argument("--write", action="store_true", help=f"write {COEFFICIENTS} and {REPORT}")
    parser.add_argument("--summary", action="store_true", help="only hold the median errors against their targets")
    parser.add_argument("--folds", type=int, default=0, help="with --summary: leave out the cards in so many parts, not one by one")
    args = parser.parse_args()
    cards = {r["key"]: Card(r) for r in read_csv("data/cards.csv") if r["vendor"] == "nvidia"}
    costs = {line["id"]: line for line in price(args.costs, COEFFICIENTS)}
    rows = [Row(fields, costs[fields["id"]], cards) for fields in read_csv(ROWS)]
    coefficients = read_csv(COEFFICIENTS)
    fit = Fit(coefficients)
    if args.summary:
        p = {c["name"]: float(c["value"]) for c in coefficients}
        inside = {r.id: forecast(p, r) / r.seconds for r in rows}
        return 0 if check(fit, rows, coefficients, inside, args.folds) else 1
    p = fit.run(rows)
    if args.write:
        write_coefficients(coefficients, p)
        p = {c["name"]: float(c["value"]) for c in read_csv(COEFFICIENTS)}
    inside = {r.id: forecast(p, r) / r.seconds for r in rows}
    card_out = leave_out(fit, rows, lambda r: r.card.key)
    chip_out = leave_out(fit, rows, lambda r: CHIP.get(r.card.key.split("-")[0], r.card.key))
    with open(ROWS, encoding="utf-8") as file:
        notes = [line[len("# left out: "):].strip() for line in file if line.startswith("# left out: ")]
    text = report(rows, notes, fit, p, inside, card_out, chip_out)
    print(text[:text.index("## Every row")])
    if args.write:
        with open(REPORT, "w", encoding="utf-8") as file:
            file.write(text)
    # The program's forecasts are those of its own copy of the model: they must be the same.
    again = {line["id"]: line["forecast_seconds"] for line in price(args.costs, COEFFICIENTS)}
    written = {c["name"]: float(c["value"]) for c in read_csv(COEFFICIENTS)}
    apart = max(abs(again[r.id] / forecast(written, r) - 1) for r in rows)
    print(f"largest difference between this model and roofline.cpp: {apart:.1e}")
    return 0 if apart < 1e-6 else 1


if __name__ == "__main__":
    sys.exit(main())
