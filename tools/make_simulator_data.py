#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Makes data/simulator/ and tests/data/simulator/transcripts/ from recordings of real software, so that the simulated card follows what was
# measured and never the forecaster:
#
#   python3 tools/make_simulator_data.py RECORDINGS
#
# RECORDINGS holds traces/ (peaks of ComfyUI's networks on shape-only tensors), modules/ (bytes of
# every module in load order), object_info/ (structure of GET /object_info), transcripts/ (exchanges of a
# real server) and measured.csv (public measurements). Every line made here names the line that it came from.
import base64
import csv
import gzip
import io
import json
import pathlib
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "data" / "simulator"

# Networks that the simulator runs: (name, trace family). Variants are told apart by trace variant.
UNETS = {"sd15": ("sd15", "base"), "sd15_inpaint9": ("sd15", "inpaint9"), "sd21": ("sd21", "base"),
         "sdxl": ("sdxl", "base"), "sdxl_inpaint9": ("sdxl", "inpaint9")}
MODULES = ["sd15", "sd15_inpaint9", "sd21", "sdxl", "sdxl_inpaint9", "te_clip_l", "te_clip_g", "vae_kl4",
           "controlnet_sd15_cldm", "controlnet_sdxl_cldm", "controlnet_sdxl_union++6", "esrgan_rrdb_x4"]


def trace_lines(recordings, *names):
    for name in names:
        with open(recordings / "traces" / f"{name}.jsonl", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                yield f"traces/{name}.jsonl:{number}", json.loads(line)


def activation_rows(recordings):
    """network, phase, bytes an element, cells (latent) or pixels or tokens, batch, peak, input, cast, flops, kernels, source"""
    rows = []

    def add(network, phase, element, extent, x, source, peak=None):
        rows.append([network, phase, element, extent, x["batch"], peak if peak is not None else x["peak_bytes"],
                     x["input_bytes"], x.get("max_cast_bytes") or 0, x.get("flops") or 0, x.get("kernels") or 0, source])

    sampling, with_control = {}, {}
    peaks = {}
    for source, x in trace_lines(recordings, "networks"):
        cells = (x["width"] // 8) * (x["height"] // 8) if x.get("width") else 0
        element = 4 if x["dtype"] == "fp32" else 2
        for network, (family, variant) in UNETS.items():
            # The other variants (fp32, 154 tokens, odd sizes) test the interpolation, they are not in it.
            if x["family"] == family and x["variant"] == variant and x["call"] == "apply_model" \
                    and x["phase"] == "unet_step" and x["dtype"] == "fp16" and x["tokens"] == 77:
                add(network, "forward", element, cells, x, source)
                peaks[family, cells, x["batch"]] = x["peak_bytes"]
        key = (x["family"], cells, x["batch"])
        if x["variant"] == "sampling_function":
            sampling[key] = (x, source)
        if x["variant"] == "sampling_function+controlnet":
            with_control[key] = (x, source)
        if x["phase"] == "controlnet" and x["variant"] in ("cldm", "union++6"):
            name = f"controlnet_{x['family']}_{x['variant']}"
            add(name, "forward", element, cells, x, source)
        if x["family"] == "esrgan" and x["dtype"] == "fp16":
            add("esrgan_rrdb_x4", "upscale", element, x["width"] * x["height"], x, source)
    # What ComfyUI's own batching of cond and uncond adds to one forward, and what a ControlNet's outputs add to that.
    for (family, cells, batch), (x, source) in sampling.items():
        per_item = [peak / b for (f, c, b), peak in peaks.items() if f == family and c == cells]
        base = peaks.get((family, cells, batch)) or min(per_item) * batch
        add(family, "guidance_extra", 2, cells, x, source, int(x["peak_bytes"] - base))
    for key, (x, source) in with_control.items():
        plain = sampling[key][0]["peak_bytes"]
        add(key[0], "control_extra", 2, key[1], x, source, x["peak_bytes"] - plain)
    for source, x in trace_lines(recordings, "vae"):
        if x["family"] != "vae_kl4" or x["variant"] != "full" or x.get("attention") == "math":
            continue
        element = 4 if x["dtype"] == "fp32" else 2
        extent = (x["width"] // 8) * (x["height"] // 8)
        add("vae_kl4", x["phase"].removeprefix("vae_"), element, extent, x, source)
    for source, x in trace_lines(recordings, "text_encoders"):
        if x["family"] in ("clip_l", "clip_g") and x["dtype"] == "fp16->fp32":
            add("te_" + x["family"], "encode", 4, x["tokens"], x, source)
    return rows


def lowest_of_each(rows):
    """One row for each question: where two kernels were recorded, the one that CUDA takes (the lower peak)."""
    best = {}
    for row in rows:
        key = tuple(row[:5])
        if key not in best or row[5] < best[key][5]:
            best[key] = row
    return [best[key] for key in sorted(best)]


def write_activations(recordings):
    head = "network,phase,element_bytes,extent,batch,peak_bytes,input_bytes,cast_bytes,flops,kernels,source"
    text = io.StringIO()
    text.write("# Made by tools/make_simulator_data.py: peaks of recorded runs of ComfyUI's own networks. extent: latent cells; pixels for\n"
               "# upscale; tokens for encode. source: file and line of the recording.\n")
    text.write(head + "\n")
    csv.writer(text, lineterminator="\n").writerows(lowest_of_each(activation_rows(recordings)))
    (OUT / "activations.csv").write_text(text.getvalue(), encoding="utf-8")


def write_modules(recordings):
    tables = {}
    for name in MODULES:
        with gzip.open(recordings / "modules" / f"{name}.json.gz", "rt", encoding="utf-8") as file:
            table = json.load(file)
        at = {column: index for index, column in enumerate(table["columns"])}
        tables[name] = [[row[at["module"]], row[at["bytes"]], bool(row[at["castable"]])]
                        for row in table["rows"] if row[at["load_unit"]] is not False]
    write_gz("modules.json.gz", json.dumps(tables, separators=(",", ":")))


def write_object_info(recordings):
    with gzip.open(recordings / "object_info" / "object_info_0.3.64.json.gz", "rt", encoding="utf-8") as file:
        write_gz("object_info_0.3.64.json.gz", json.dumps(json.load(file), separators=(",", ":")))


def write_endpoints(recordings):
    """Answers of a fresh ComfyUI that say which folders and scripts it has; everything else it says is computed."""
    wanted = {"/extensions": "extensions", "/internal/folder_paths": "folder_paths"}
    found, targets = {}, {}
    with open(recordings / "transcripts" / "http_endpoints.jsonl", encoding="utf-8") as lines:
        for line in lines:
            x = json.loads(line)
            if x["kind"] == "http_request":
                targets[x["id"]] = x["target"]
            if x["kind"] == "http_response" and targets[x["id"]] in wanted:
                found[wanted[targets[x["id"]]]] = json.loads(x["body"]["text"])
    (OUT / "endpoints.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def without_sentences(value):
    """Texts that explain (tooltips, descriptions), source lines (tracebacks) and numbers of tensors are not needed and not ours."""
    if isinstance(value, dict):
        kept = {}
        for key, inner in value.items():
            if key in ("tooltip", "output_tooltips"):
                continue
            if key in ("description", "traceback", "current_inputs"):
                inner = {name: [] for name in inner} if key == "current_inputs" and isinstance(inner, dict) else type(inner)()
            kept[key] = without_sentences(inner)
        return kept
    return [without_sentences(inner) for inner in value] if isinstance(value, list) else value


def shortened_body(body):
    if not body:
        return body
    if "text" in body:
        try:
            body["text"] = json.dumps(without_sentences(json.loads(body["text"])))
        except ValueError:
            pass
        if len(body["text"]) > 20000:
            body["text"] = "\"(long)\""
    if "b64" in body and len(body["b64"]) > 900:
        body["head_hex"] = base64.b64decode(body.pop("b64"))[:64].hex()
    return body


def write_transcripts(recordings):
    """The exchanges that the replay test sends and expects, without what it does not compare."""
    folder = ROOT / "tests" / "data" / "simulator" / "transcripts"
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((recordings / "transcripts").glob("*.jsonl")):
        if path.name == "frontend_requests.jsonl":
            continue
        lines = []
        for line in path.read_text(encoding="utf-8").splitlines():
            x = json.loads(line)
            is_request = x["kind"] == "http_request"
            for key in ("sha256", "b64", "t_end", "len"):
                x.pop(key, None)
            if "body" in x:
                # A request is sent as it was; uploads are small.
                x["body"] = x["body"] if is_request else shortened_body(x["body"])
            if x["kind"] == "ws_text":
                x["text"] = json.dumps(without_sentences(json.loads(x["text"])))
            lines.append(json.dumps(x, separators=(",", ":")))
        with open(folder / f"{path.stem}.jsonl.gz", "wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as file:
            file.write(("\n".join(lines) + "\n").encode())


def write_gz(name, text):
    with open(OUT / name, "wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as file:
        file.write(text.encode())


# The launch of one kernel, seconds: what makes SD 1.5 at 512 x 512 and SDXL at 1024 x 1024 on the same RTX 4090 and RTX 4080
# need the same efficiency (rows m0741, m0742, m0756, m0757, m1521, m1522).
LAUNCH_S = 7e-6
GPU_NAMES = {"RTX 4090": "rtx4090", "RTX 3090": "rtx3090", "RTX 4080": "rtx4080", "T4": "t4", "V100": "v100-16gb",
             "A100": "a100-40gb", "RTX 3060 12GB": "rtx3060-12gb", "GTX 1080 Ti": "gtx1080ti"}
# flops and kernels of one denoising forward at cfg > 1 (batch 2), from the traces.
WORK = {("SD1.5", "512", "512"): "sd15", ("SD1.4", "512", "512"): "sd15", ("SDXL", "1024", "1024"): "sdxl"}


def forward_work(recordings):
    work = {}
    for _, x in trace_lines(recordings, "networks"):
        if x["variant"] == "base" and x["call"] == "apply_model" and x["dtype"] == "fp16" and x["batch"] == 2:
            if (x["family"], x["width"], x["height"]) in (("sd15", 512, 512), ("sdxl", 1024, 1024)):
                work[x["family"]] = (x["flops"], x["kernels"])
    return work


def card_rows(recordings):
    """Every NVIDIA card of the catalogue with the share of its published throughput that its nearest measured relative reached."""
    with open(ROOT / "data" / "cards.csv", encoding="utf-8") as file:
        cards = list(csv.DictReader(line for line in file if not line.startswith("#")))
    by_key = {card["key"]: card for card in cards}
    work = forward_work(recordings)
    reached = {}
    with open(recordings / "measured.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = GPU_NAMES.get(row["gpu"])
            family = WORK.get((row["model"], row["width"], row["height"]))
            plain = "compile" not in row["config"] + row["software"] and \
                any(word in row["software"].lower() for word in ("diffusers", "vanilla pytorch"))
            if not (key and family and plain and row["it_per_s"] and row["dtype"] == "fp16"):
                continue
            batch = int(row["batch"] or 1)
            flops, kernels = work[family]
            peak = peak_tflops(by_key[key]) * 1e12
            busy = 1 / float(row["it_per_s"]) - kernels * LAUNCH_S
            if busy > 0:
                reached.setdefault(key, []).append((flops * batch / busy / peak, row["id"]))
    # RTX 3060 12GB was measured with 2022 software only: its rows say too little about today's.
    reached.pop("rtx3060-12gb", None)
    measured = {key: (statistics.median(share for share, _ in rows), [rid for _, rid in rows]) for key, rows in reached.items()}
    for card in cards:
        if card["vendor"] != "nvidia" or not card["visible_mib"]:
            continue
        same = [key for key in measured if by_key[key]["arch"] == card["arch"]] or \
            [key for key in measured if by_key[key]["arch"] in ("ada", "ampere")]
        relative = min(same, key=lambda key: (key != card["key"],
                                              abs(peak_tflops(by_key[key]) - peak_tflops(card))))
        share, ids = measured[relative]
        yield [card["key"], card["name"], card["compute_capability"], card["visible_mib"], f"{peak_tflops(card):g}",
               f"{share:.3f}", card["bandwidth_gbs"], card["pcie_gen"], card["pcie_lanes"], card["tdp_w"],
               f"{relative}: {ids[0]}..{ids[-1]} ({len(ids)} rows)"]


def peak_tflops(card):
    return float(card["fp16_tflops"] or card["fp32_tflops"])


def write_cards(recordings):
    text = io.StringIO()
    text.write("# Made by tools/make_simulator_data.py. reached: share of peak_tflops in a UNet forward, median of the nearest measured relative\n"
               "# (source: its key and rows of measured.csv) after 7 us for each kernel launch.\n")
    text.write("key,name,compute_capability,visible_mib,peak_tflops,reached,bandwidth_gbs,pcie_gen,pcie_lanes,tdp_w,source\n")
    csv.writer(text, lineterminator="\n").writerows(card_rows(recordings))
    (OUT / "cards.csv").write_text(text.getvalue(), encoding="utf-8")


def main():
    recordings = pathlib.Path(sys.argv[1])
    OUT.mkdir(parents=True, exist_ok=True)
    write_activations(recordings)
    write_modules(recordings)
    write_object_info(recordings)
    write_endpoints(recordings)
    write_transcripts(recordings)
    write_cards(recordings)


if __name__ == "__main__":
    main()
