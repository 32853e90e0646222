#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Takes the rows that can be priced out of a table of public measurements and writes them for the fit and the tests.

Usage: tools/make_timing_rows.py MEASURED.csv [data/timing/measured.csv]

MEASURED.csv has the columns id, source, model, task, gpu, n_gpu, software, dtype, attention, width, height, frames, batch,
steps, config, scope, time_s, it_per_s, outcome, quality. A row is taken when every question of `reason_to_leave` is
answered well; no question looks at how well a row fits. Every reason is counted on standard output.
"""
import argparse
import collections
import csv
import re

# gpu as the sources write it -> key of data/cards.csv. A800 and H800 are A100 and H100 with fewer links between cards. "A100"
# alone is taken as the 40 GB SXM card, the one that clouds rented out when those pages were written (2023).
CARD_OF = {
    "A100": "a100-40gb", "V100": "v100-16gb", "T4": "t4", "RTX 3090": "rtx3090", "RTX 4090": "rtx4090", "RTX 4080": "rtx4080",
    "RTX 4070 Ti": "rtx4070ti", "RTX 3080": "rtx3080-10gb", "RTX 3070": "rtx3070", "RTX 3060 12GB": "rtx3060-12gb",
    "H100": "h100", "H100 80GB": "h100", "H100/H800": "h100", "H800/H100": "h100", "NVIDIA H100 PCIe": "h100-pcie",
    "NVIDIA A10": "a10", "A10G": "a10g", "NVIDIA RTX A6000": "rtxa6000", "RTX A6000": "rtxa6000", "TITAN RTX": "titan-rtx",
    "A100-SXM4-40GB": "a100-40gb", "NVIDIA A100-SXM4-40GB": "a100-40gb", "A100 40GB": "a100-40gb",
    "NVIDIA A100-PCIE-40GB": "a100-40gb-pcie", "A100-SXM-80GB": "a100-80gb", "A100 80GB": "a100-80gb",
    "A800/A100": "a100-80gb", "A100/A800": "a100-80gb", "A800 80GB": "a100-80gb", "NVIDIA A100 80GB PCIe": "a100-80gb-pcie",
    "Tesla V100-SXM2-16GB": "v100-16gb", "L20": "l20", "L20 48GB": "l20", "H20": "h20", "H200": "h200",
}
# model -> network as src/timing/measured_jobs.cpp asks the walks for it, forwards of cond and uncond: in one batch (2), one
# after the other (-2), or a single one (1), and the weights that offloading moves once a run, 10^9 bytes (all parts, 16 bit).
NETWORKS = {
    "SD1.4": ("sd15", 2, 2.1), "SD1.5": ("sd15", 2, 2.1), "SD1.5-inpaint": ("sd15_inpaint", 2, 2.1),
    "SD1.5+ControlNet": ("sd15_controlnet", 2, 2.8), "SDXL": ("sdxl", 2, 7), "SDXL base 1.0": ("sdxl", 2, 7),
    "SD3-medium": ("sd3_medium", 2, 16), "PixArt-Sigma-1024": ("pixart_sigma", 2, 11), "FLUX.1-dev": ("flux_dev", 1, 34),
    "HunyuanVideo": ("hunyuan_video", 1, 42), "OmniGen2": ("omnigen2", -2, 16), "Qwen-Image": ("qwen_image", -2, 57),
    "Wan2.1-T2V-1.3B": ("wan21_t2v_1.3b", -2, 14), "Wan2.1-T2V-14B": ("wan21_t2v_14b", -2, 40),
    "Wan2.1-I2V-14B": ("wan21_i2v_14b", -2, 44), "Wan2.1-I2V-14B-480P": ("wan21_i2v_14b", -2, 44),
    "Wan2.2-T2V-A14B": ("wan22_t2v_14b", -2, 68), "Wan2.2-I2V-A14B": ("wan22_i2v_14b", -2, 68),
    "Wan2.2-TI2V-5B T2V": ("wan22_ti2v_5b", -2, 22), "Wan2.2-TI2V-5B I2V": ("wan22_ti2v_5b_i2v", -2, 22),
    "SD1.5 VAE": ("sd15", 1, 0.2), "SDXL VAE": ("sdxl", 1, 0.2),
}
# Runtimes with kernels of their own. xDiT and the models' own repositories run PyTorch's; so does AUTO1111.
ENGINES = ("aitemplate", "oneflow", "tensorrt", "stable-fast", "fastvideo", "lightx2v", "wan2gp", "sgl", "vllm", "cache-dit")
OFFLOAD_SHARE_MAX = 0.02  # of the measured time, at 5 GB/s: within the scatter of a measurement
COLUMNS = ("id", "source", "card", "network", "software", "dtype", "matmul", "layout", "attention", "width", "height",
           "frames", "images", "steps", "forwards", "forward_batch", "timed", "seconds")


def engine_of(row):
    """The word after "engine" where a table compares engines, else the software."""
    software = row["software"].lower()
    if "; engine " in software:
        return software.split("; engine ", 1)[1]
    return software + " " + row["source"].lower() if "cache-dit" in row["source"] else software


def attention_of(row):
    stated, software, config = row["attention"].lower(), row["software"].lower(), row["config"].lower()
    if "memory-efficient attention" in config:
        return "xformers"
    if stated.startswith("xformers"):
        return "xformers"
    if "fa3" in software:
        return "flash-attn-3"
    if stated == "flash-attn":
        return "flash-attn-2"
    if stated.startswith(("baddbmm", "plain")):
        return "baddbmm"  # every score is written to memory
    if stated not in ("", "sdpa"):
        return None  # sage computes in 8 bits
    if "auto1111" in software:
        return "sdpa-1" if "sdpa" in software else None  # its default splits the scores, by free memory
    if "2022" in software:
        return "baddbmm"  # before scaled_dot_product_attention
    # What PyTorch 2 and diffusers take by themselves. FlashAttention 2 came with PyTorch 2.2, January 2024.
    return "sdpa-1" if re.search(r"torch 2\.0|2\.1|auto1111", software) else "sdpa"


def numbers(row):
    width, height = row["width"], row["height"]
    return (int(width), int(height)) if width and height else None


def reason_to_leave(row):
    config, model = row["config"].lower(), row["model"]
    decode = row["scope"] == "vae decode"
    if not (row["time_s"] or row["it_per_s"]):
        return "no time measured"
    if row["outcome"] != "ok":
        return "did not finish"
    if row["n_gpu"] != "1":
        return "several cards"
    if not row["gpu"]:
        return "card not stated"
    if "MIG" in row["gpu"]:
        return "a part of a card (MIG)"
    if model not in NETWORKS:
        return "network that is not simulated"
    if row["gpu"] not in CARD_OF:
        return "card not in the catalogue, or not named exactly"
    if any(name in engine_of(row) for name in ENGINES):
        return "engine with kernels of its own"
    quant = re.search(r"quant=([^;]+)", row["config"])
    if (quant and quant[1].lower() not in ("none", "bf16", "fp16")) or re.search(r"bnb|fp8|int8|int4|nf4|8-bit|gguf", config):
        return "quantised weights"
    if re.search(r"tome|cache|lora|taesd|fuse_qkv=true|traced", config):
        return "network changed (token merging, step cache, LoRA, other decoder, fused or traced)"
    if row["dtype"] not in ("fp16", "bf16", "fp32") and "wan2.1 official" not in config:
        return "type not stated"  # LightX2V's table: "bf16/fp8" over all engines; Wan's own code has no fp8
    if attention_of(row) is None and not decode:
        return "attention in 8 bits, or split by free memory"
    if numbers(row) is None:
        return "size not stated"
    if "simple_sdxl_optimizations" in row["source"]:
        return "steps not stated"  # the page names none; 50 would pass the card's fp32 peak
    if row["time_s"] and not row["steps"] and not decode:
        return "steps not stated"
    if "vae_tiling" in config and decode:
        return "tiled decode (tiles differ from ComfyUI's)"
    if "image" in row["task"] and "+" in row["task"]:
        return "size of reference images not stated"
    # The decoders' table is marked C because its memory is a rounded percentage; its times are a table like others.
    if row["quality"] not in ("A", "B") and not decode:
        return "prose or rounded (quality C or D)"
    if "offload" in config and "offload=none" not in config:
        if "sequential" in config or NETWORKS[model][2] / 5 > OFFLOAD_SHARE_MAX * float(row["time_s"]):
            return "weights moved for more than 2 % of the time"
    return None


def taken(row):
    network, conds, _ = NETWORKS[row["model"]]
    width, height = numbers(row)
    software, config = row["software"].lower(), row["config"].lower()
    steps = int(row["steps"] or 0)
    images = int(row["batch"] or 1)
    decode = row["scope"] == "vae decode"
    if decode:
        timed, seconds, runs = "decode", float(row["time_s"]), 0
    elif row["it_per_s"]:
        timed, seconds, runs = "step", 1 / float(row["it_per_s"]), 1
    else:
        # PNDM, the default of SD 1.x in diffusers, takes one forward more than it has steps.
        timed, seconds, runs = "job", float(row["time_s"]), steps + (network.startswith("sd15") and "diffusers" in software)
    guided = re.search(r"cfg_range=\[0,([0-9.]+)\]", config)
    second_share = float(guided[1]) if guided else 1.0
    forwards = round(runs * (1 + second_share)) if conds == -2 else runs
    compiled = "compile" in software or ("compile" in config and "compile=false" not in config)
    return {
        "id": row["id"], "source": row["source"], "card": CARD_OF[row["gpu"]], "network": network,
        "software": "compiled" if compiled else "eager",
        "dtype": "bf16" if "/" in row["dtype"] else row["dtype"],
        "matmul": "tf32" if row["dtype"] == "fp32" and "ngc" in software else "",  # NVIDIA's containers switch TF32 on
        "layout": "channels_last" if "channels_last" in config else "",
        "attention": attention_of(row) or "sdpa", "width": width, "height": height, "frames": row["frames"] or 1,
        "images": images, "steps": steps or "", "forwards": forwards, "forward_batch": images * max(conds, 1),
        "timed": timed, "seconds": f"{seconds:.6g}",
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("measured")
    parser.add_argument("out", nargs="?", default="data/timing/measured.csv")
    args = parser.parse_args()
    left, rows = collections.Counter(), []
    with open(args.measured, encoding="utf-8") as file:
        for row in csv.DictReader(file):
            reason = reason_to_leave(row)
            if reason:
                left[reason] += 1
            else:
                rows.append(taken(row))
    with open(args.out, "w", encoding="utf-8", newline="") as file:
        file.write("# Public measurements that our walks can price. Made by tools/make_timing_rows.py; which rows and why: see there.\n")
        file.write("# forwards of forward_batch latents each are in `seconds`; timed: step (one step of the denoiser), job (whole run), decode.\n")
        for reason, count in left.most_common():
            file.write(f"# left out: {count} {reason}\n")
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} rows taken")
    for name, count in sorted(collections.Counter((r["software"], r["timed"]) for r in rows).items()):
        print(f"  {count:5} {' '.join(name)}")
    print(f"{sum(left.values())} rows left out")
    for reason, count in left.most_common():
        print(f"  {count:5} {reason}")


if __name__ == "__main__":
    main()
