#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fits the default efficiencies of src/timing/roofline.cpp to public measurements and prints residuals.

Usage: tools/fit_efficiency.py MEASURED.csv [--cards data/cards.csv] [--rows]

MEASURED.csv has the columns model, gpu, software, dtype, attention, height, batch, steps, config, time_s, it_per_s,
outcome, quality. Used are fp16 rows of SD 1.4, SD 1.5 and SDXL with memory-efficient attention and without compilation,
token merging or offload. The costs per operation class come from the small shape walk below, independent of src/memory;
its FLOPs agree with the recorded traces within 0.001 %, its bytes within 0.2 %.

The model is roofline.cpp's: per class max(work, movement), a time per kernel, the host's dispatch as a lower bound, and a
limit on work per watt. Random search on absolute log errors, cards weighted by 1/sqrt(rows); at the end each card is
left out once and predicted from the others. Plain Python, about two minutes.
"""
import argparse
import collections
import csv
import math
import random

CLASSES = ("matmul", "convolution", "attention", "normalization", "elementwise", "copy")
WORK = CLASSES[:3]
PER_WATT = {"pascal": 0.5, "volta": 0.8, "turing": 0.8, "ampere": 1.0, "ada": 2.0, "hopper": 2.0, "blackwell": 2.0}
CEILINGS = (0.8, 0.8, 0.7, 0.9)  # chosen: matmul, convolution, attention, bandwidth; the rows alone leave them loose
CARD_OF = {
    "A100": "a100-80gb", "V100": "v100-16gb", "T4": "t4", "RTX 3090": "rtx3090", "RTX 4090": "rtx4090",
    "RTX 4080": "rtx4080", "H100": "h100", "NVIDIA A10": "a10", "NVIDIA RTX A6000": "rtxa6000",
    "RTX 3060 12GB": "rtx3060-12gb", "A10G": "a10g", "RTX A6000": "rtxa6000", "TITAN RTX": "titan-rtx",
    "A100-SXM4-40GB": "a100-40gb", "A100-SXM-80GB": "a100-80gb", "NVIDIA A100 80GB PCIe": "a100-80gb-pcie",
    "NVIDIA A100-SXM4-40GB": "a100-40gb", "NVIDIA A100-PCIE-40GB": "a100-40gb-pcie",
    "NVIDIA H100 PCIe": "h100-pcie", "Tesla V100-SXM2-16GB": "v100-16gb",
}
KERNELS = {"sd15": 921, "sdxl": 1840}  # recorded traces
DECODE_512 = (2.514e12, 6.1e9)  # FLOP and bytes of one 512 x 512 VAE decode, recorded traces


class Walk:
    """Costs of one UNet forward by class: [flops, bytes]. Two bytes an element."""

    def __init__(self, config, height, width, batch, tokens=77):
        self.batch = batch
        self.cost = {name: [0.0, 0.0] for name in CLASSES}
        self.tokens = tokens
        self.cfg = config
        self.run(height // 8, width // 8)

    def add(self, name, flops, elements, weights=0):
        self.cost[name][0] += flops * self.batch
        self.cost[name][1] += 2 * (elements * self.batch + weights)

    def conv(self, cin, cout, h, w, kernel=3, stride=1):
        cells = (h // stride) * (w // stride)
        taps = cin * cout * kernel * kernel
        self.add("convolution", 2 * taps * cells, cin * h * w + cout * cells, taps)

    def linear(self, rows, cin, cout):
        self.add("matmul", 2 * rows * cin * cout, rows * (cin + cout), cin * cout)

    def norm(self, elements):
        self.add("normalization", 0, 2 * elements)

    def pointwise(self, elements, inputs=1):
        self.add("elementwise", 0, (inputs + 1) * elements)

    def res_block(self, cin, cout, h, w):
        self.norm(cin * h * w)
        self.pointwise(cin * h * w)
        self.conv(cin, cout, h, w)
        self.pointwise(cout * h * w)
        self.norm(cout * h * w)
        self.pointwise(cout * h * w)
        self.conv(cout, cout, h, w)
        self.linear(1, 4 * self.cfg["channels"], cout)
        if cin != cout:
            self.conv(cin, cout, h, w, kernel=1)
        self.pointwise(cout * h * w, inputs=2)

    def projection(self, c, h, w):
        if self.cfg["linear_projection"]:
            self.linear(h * w, c, c)
        else:
            self.conv(c, c, h, w, kernel=1)
        self.add("copy", 0, 2 * c * h * w)

    def transformer(self, c, h, w, depth):
        n = h * w
        self.norm(c * n)
        self.projection(c, h, w)
        for _ in range(depth):
            for keys in (n, self.tokens):
                self.norm(c * n)
                self.linear(n, c, c)
                for _ in range(2):
                    self.linear(keys, c if keys == n else self.cfg["context"], c)
                self.add("attention", 4 * n * keys * c, 2 * n * c + 2 * keys * c)
                self.linear(n, c, c)
                self.pointwise(c * n, inputs=2)
            self.norm(c * n)
            self.linear(n, c, 8 * c)
            self.pointwise(4 * c * n)
            self.pointwise(4 * c * n, inputs=2)
            self.linear(n, 4 * c, c)
            self.pointwise(c * n, inputs=2)
        self.projection(c, h, w)
        self.pointwise(c * n, inputs=2)

    def run(self, h, w):
        cfg = self.cfg
        base, mult, depths = cfg["channels"], cfg["mult"], cfg["depths"]
        self.conv(4, base, h, w)
        skips, c = [base], base
        for level, m in enumerate(mult):
            for block in range(2):
                self.res_block(c, base * m, h, w)
                c = base * m
                if depths[level * 2 + block]:
                    self.transformer(c, h, w, depths[level * 2 + block])
                skips.append(c)
            if level + 1 < len(mult):
                self.conv(c, c, h, w, stride=2)
                h, w = h // 2, w // 2
                skips.append(c)
        self.res_block(c, c, h, w)
        self.transformer(c, h, w, cfg["middle"])
        self.res_block(c, c, h, w)
        for level in reversed(range(len(mult))):
            for block in range(3):
                skip = skips.pop()
                self.add("copy", 0, 2 * (c + skip) * h * w)
                self.res_block(c + skip, base * mult[level], h, w)
                c = base * mult[level]
                if depths[level * 2 + min(block, 1)]:
                    self.transformer(c, h, w, depths[level * 2 + min(block, 1)])
            if level:
                self.add("copy", 0, 5 * c * h * w)
                h, w = h * 2, w * 2
                self.conv(c, c, h, w)
        self.norm(c * h * w)
        self.pointwise(c * h * w)
        self.conv(c, 4, h, w)


SD15 = dict(channels=320, mult=(1, 2, 4, 4), depths=(1, 1, 1, 1, 1, 1, 0, 0), middle=1, context=768,
            linear_projection=False)
SDXL = dict(channels=320, mult=(1, 2, 4), depths=(0, 0, 2, 2, 10, 10), middle=10, context=2048, linear_projection=True)

Row = collections.namedtuple("Row", "id card model batch height cost kernels forwards decodes seconds")


def read_rows(path):
    rows = []
    for r in csv.DictReader(open(path, encoding="utf-8")):
        config, software = r["config"].lower(), r["software"].lower()
        if r["gpu"] not in CARD_OF or r["model"] not in ("SD1.4", "SD1.5", "SDXL"):
            continue
        if r["outcome"] != "ok" or r["quality"] not in "AB" or r["dtype"] != "fp16" or not r["height"]:
            continue
        if any(word in config or word in software for word in ("compile", "tome", "offload")):
            continue
        if not (r["attention"].startswith(("sdpa", "xformers")) or software.startswith("vanilla pytorch")):
            continue
        if r["it_per_s"] and float(r["it_per_s"]) > 0:
            seconds, forwards, decodes = 1 / float(r["it_per_s"]), 1, 0
        elif r["time_s"] and r["steps"]:  # whole pipeline; its default scheduler takes one forward more than steps
            seconds, forwards, decodes = float(r["time_s"]), int(r["steps"]) + 1, int(r["batch"])
        else:
            continue
        family = "sdxl" if r["model"] == "SDXL" else "sd15"
        cost = Walk(SDXL if family == "sdxl" else SD15, int(r["height"]), int(r["height"]), 2 * int(r["batch"])).cost
        rows.append(Row(r["id"], CARD_OF[r["gpu"]], r["model"], int(r["batch"]), int(r["height"]), cost,
                        KERNELS[family], forwards, decodes, seconds))
    return rows


def predict(p, row, cards):
    matmul, conv, attention, bandwidth, dispatch, kernel, per_watt = p
    card = cards[row.card]
    peak = min(float(card["fp16_tflops"]), per_watt * PER_WATT[card["arch"]] * float(card["tdp_w"])) * 1e12
    moved = bandwidth * float(card["bandwidth_gbs"]) * 1e9
    reach = dict(zip(WORK, (matmul, conv, attention)))
    on_card = kernel * row.kernels
    for name in CLASSES:
        flops, size = row.cost[name]
        on_card += max(flops / (reach[name] * peak) if name in reach else 0, size / moved)
    seconds = row.forwards * max(on_card, dispatch * row.kernels)
    return seconds + row.decodes * (DECODE_512[0] / (conv * peak) + DECODE_512[1] / moved)


def fit(rows, cards, iterations, seed=1):
    weight = {card: 1 / math.sqrt(n) for card, n in collections.Counter(r.card for r in rows).items()}

    def loss(p):
        return sum(weight[r.card] * abs(math.log(predict(p, r, cards) / r.seconds)) ** 1.5 for r in rows)

    rnd = random.Random(seed)
    best = [0.45, 0.45, 0.3, 0.7, 20e-6, 2e-6, 0.35]
    best_loss, spread = loss(best), 0.3
    for _ in range(iterations):
        trial = [x * math.exp(rnd.gauss(0, spread)) if rnd.random() < 0.5 else x for x in best]
        trial[:4] = [min(x, ceiling) for x, ceiling in zip(trial[:4], CEILINGS)]
        trial_loss = loss(trial)
        if trial_loss < best_loss:
            best, best_loss, spread = trial, trial_loss, min(spread * 1.3, 0.3)
        else:
            spread = max(spread * 0.995, 0.01)
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("measured")
    parser.add_argument("--cards", default="data/cards.csv")
    parser.add_argument("--rows", action="store_true", help="print every row's residual")
    args = parser.parse_args()
    lines = (line for line in open(args.cards, encoding="utf-8") if not line.startswith("#"))
    cards = {r["key"]: r for r in csv.DictReader(lines)}
    rows = read_rows(args.measured)

    p = fit(rows, cards, 6000)
    names = ("matmul", "convolution", "attention", "bandwidth", "dispatch_s", "kernel_s", "tflops_per_watt")
    print(f"{len(rows)} rows:", ", ".join(f"{n} {v:.3g}" for n, v in zip(names, p)))
    by_card = collections.defaultdict(list)
    for r in rows:
        by_card[r.card].append(predict(p, r, cards) / r.seconds)
        if args.rows:
            print(f"  {r.id} {r.card:15} {r.model:5} batch {r.batch:3} {r.height:4} measured {r.seconds:8.3f} s "
                  f"predicted / measured {by_card[r.card][-1]:.2f}")
    errors = sorted(abs(math.log(ratio)) for ratios in by_card.values() for ratio in ratios)
    print(f"median error {math.expm1(errors[len(errors) // 2]):.1%}, 90 % below "
          f"{math.expm1(errors[int(len(errors) * 0.9)]):.1%}")
    for card, ratios in sorted(by_card.items()):
        others = fit([r for r in rows if r.card != card], cards, 1500)
        out = sorted(predict(others, r, cards) / r.seconds for r in rows if r.card == card)
        ratios.sort()
        print(f"{card:16} {len(ratios):3} rows, predicted / measured: median {ratios[len(ratios) // 2]:.2f} "
              f"({ratios[0]:.2f} to {ratios[-1]:.2f}); left out: {out[len(out) // 2]:.2f}")


if __name__ == "__main__":
    main()
