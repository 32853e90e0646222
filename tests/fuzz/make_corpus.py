#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the seeds in corpus/, a few small valid files of each format, and the words of node types. Run from this folder."""
import gzip
import json
import pathlib
import struct
import zipfile
import zlib

HERE = pathlib.Path(__file__).parent
DATA = HERE.parent / "data"


def put(target, name, content):
    folder = HERE / "corpus" / f"fuzz_{target}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def safetensors(tensors, metadata=None):
    header, offset = ({"__metadata__": metadata} if metadata else {}), 0
    for name, (dtype, item, shape) in tensors.items():
        size = item
        for axis in shape:
            size *= axis
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(offset)


def text(value):
    return struct.pack("<Q", len(value)) + value.encode()


def gguf():
    out = b"GGUF" + struct.pack("<IQQ", 3, 2, 3)
    out += text("general.architecture") + struct.pack("<I", 8) + text("sdxl")
    out += text("tokens") + struct.pack("<IIQ", 9, 8, 1) + text("a")
    out += text("comfy.gguf.orig_shape.b") + struct.pack("<IIQ2i", 9, 5, 2, 2, 4)
    out += text("a") + struct.pack("<IQQIQ", 2, 32, 1, 2, 0) + text("b") + struct.pack("<IQIQ", 1, 8, 0, 32)
    return out + bytes(-len(out) % 32) + bytes(64)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks):
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(13)) + b"".join(chunks) + chunk(b"IEND", b"")


put("safetensors", "plain", safetensors({"a": ("F16", 2, [2, 3]), "b": ("F8_E4M3", 1, [])}, {"format": "pt"}))
put("safetensors", "unet", safetensors({
    "input_blocks.0.0.weight": ("F16", 2, [4, 4, 1, 1]), "input_blocks.1.0.in_layers.0.weight": ("F16", 2, [4]),
    "input_blocks.1.0.out_layers.3.weight": ("F16", 2, [4, 4, 1, 1]), "input_blocks.1.1.proj_in.weight": ("F16", 2, [4, 4]),
    "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": ("F16", 2, [4, 4]), "input_blocks.2.0.op.weight": ("F16", 2, [4]),
    "input_blocks.3.0.in_layers.0.weight": ("F16", 2, [8]), "input_blocks.3.0.out_layers.3.weight": ("F16", 2, [8, 4, 1, 1])}))
put("safetensors", "vae", safetensors({
    "decoder.conv_in.weight": ("F32", 4, [8, 4, 1, 1]), "decoder.conv_out.weight": ("F32", 4, [3, 4, 1, 1]),
    "decoder.up.0.block.0.conv1.weight": ("F32", 4, [8, 8, 1, 1]), "decoder.up.0.block.1.conv1.weight": ("F32", 4, [8, 8, 1, 1])}))
put("gguf", "plain", gguf())
for name in ("state_dict.pt", "legacy.pt", "lightning.ckpt"):
    path = DATA / "modelfile" / "torch" / name
    put("torch_pickle", name, path.read_bytes())
    if name != "legacy.pt":
        with zipfile.ZipFile(path) as archive:
            put("pickle", name, next(archive.read(n) for n in archive.namelist() if n.endswith("data.pkl")))
put("pickle", "protocol0", b"(dp0\nS'a'\np1\ncposix\nsystem\n(S'x'\ntRp2\ns(lp3\nI1\naL2L\naF0.5\nas.")
put("pickle", "protocol4", b"\x80\x04\x95\x20\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94\x8c\x05torch\x94\x8c\x04Size\x94\x93\x94K\x01K\x02\x86\x94\x85\x94R\x94s.")
for path in sorted((DATA / "workflow").glob("*.json")):
    put("workflow", path.name, path.read_bytes())
put("workflow", "odd", b'{"prompt": {"1": {"class_type": "A", "inputs": {"a": NaN, "b": ["2", 0], "c": "\\ud83d\\ude00", "a": 1e5}},'
                       b' "2": {"inputs": {"x": ["1", 0.0]}, "class_type": "B"}}, "client_id": "x"}')
prompt = b'{"1":{"class_type":"A","inputs":{}}}'
put("png_text", "plain", png(chunk(b"tEXt", b"prompt\0" + prompt), chunk(b"IDAT", b"x"), chunk(b"tEXt", b"workflow\0{}")))
put("png_text", "packed", png(chunk(b"zTXt", b"prompt\0\0" + zlib.compress(prompt))))
put("png_text", "international", png(chunk(b"iTXt", b"prompt\0\1\0en\0k\0" + zlib.compress(prompt)), chunk(b"iTXt", b"workflow\0\0\0\0\0{}")))



def used(info, graph):
    """What of /object_info a workflow needs: whatever type its text names."""
    text = json.dumps(graph)
    return {name: node for name, node in info.items() if f'"{name}"' in text}


convert = DATA / "convert"
infos = {server: json.loads(gzip.decompress((convert / f"object_info_{server}.json.gz").read_bytes()))
         for server in ("0.3.64", "0.33.0")}
pairs = [json.loads(line) for line in gzip.decompress((convert / "pairs.jsonl.gz").read_bytes()).splitlines()]
small = {"hand": lambda pair: pair["server"] == "0.3.64", "proxy": lambda pair: "proxyWidgets" in json.dumps(pair["ui"]),
         "dynamic": lambda pair: "values.a" in json.dumps(pair["ui"]) and "definitions" in pair["ui"]}
for kind, wanted in small.items():
    chosen = sorted(filter(wanted, pairs), key=lambda pair: len(json.dumps(pair["ui"])))
    for pair in chosen[:None if kind == "hand" else 2]:
        drop = ("pos", "size", "color", "bgcolor", "bounding", "ds")
        graph = json.loads(json.dumps(pair["ui"]), object_hook=lambda one: {k: v for k, v in one.items() if k not in drop})
        graph["nodes"] = [node for node in graph["nodes"] if node["type"] not in ("Note", "MarkdownNote")]
        put("convert", f"{kind}_{pair['name']}", json.dumps(used(infos[pair["server"]], graph)).encode() + b"\0" +
            json.dumps(graph).encode())

put("json", "values", b'{"a":[1,-2,3.5e10,18446744073709551615,null,true,"\\u00e9"],"b":{"c":{}}}')
for line, text_line in enumerate((DATA / "traces" / "ldm.jsonl").read_text().splitlines()[:40:8]):
    kept = {k: v for k, v in json.loads(text_line).items() if k not in ("top_live", "peak_site", "id", "recorder")}
    put("trace", f"recorded_{line}", json.dumps(kept).encode())
put("cards", "comfyui", b"cuda:0 NVIDIA GeForce RTX 3050 6GB Laptop GPU : cudaMallocAsync")
put("cards", "catalogue", b"key\nk,n,nvidia,ampere,86,6144,5898,text,96,14,168,2304,1470,6.77,13.5,,4,8,70,sheet\n")
put("history", "phases", b'[{"kind":"sample","nodeId":"3","forecastPeakBytes":1,"forecastSeconds":2.5,"observedPeakBytes":2}]')
VECTOR = ", ".join(["5.0e-01"] * 36)
put("brisque", "two_vectors", f"""%YAML:1.0
---
opencv_ml_svm:
   svmType: EPS_SVR
   kernel:
      type: RBF
      gamma: 5.0e-02
   var_count: 36
   sv_total: 2
   support_vectors:
      - [ {VECTOR} ]
      - [ {VECTOR} ]
   decision_functions:
      -
         rho: -1.5
         alpha: [ 2., -4. ]
\0range: !!opencv-matrix
   data: [ {", ".join(["0."] * 36 + ["2."] * 36)} ]
""".encode())
put("history", "images", b'["a.png","b.png"]')
put("config", "whole", b"""comfyui_server_url = "http://box"
comfyui_port = 8190
max_vram_mb = 4096
safety_margin = 0.2
models_dir = ["/a", "/b"]
[[profile]]
name = "mine"
checkpoint = "mine.safetensors"
family = "sdxl"
best_cfg = 6.5
\0max_duration_min=10
comfyui_timeout=5000
""")
put("comfyui", "system_stats", b"\0" + (DATA / "service" / "system_stats.json").read_bytes())
put("comfyui", "names", b"\1" + b'["a.safetensors","b.safetensors"]')
put("comfyui", "choices", b'\2{"KSampler":{"input":{"required":{"sampler_name":[["euler","heun"],{}]}}}}')
put("comfyui", "history", b'\3{"id":{"status":{"status_str":"success","completed":true,"messages":[]},"outputs":'
                          b'{"9":{"images":[{"filename":"a.png","subfolder":"","type":"output"}]}}}}')
put("comfyui", "queue", b'\4{"queue_running":[[0,"id",{},{},[]]],"queue_pending":[]}')
put("comfyui", "refusal", b'\5{"error":{"type":"prompt_outputs_failed_validation","message":"m"},"node_errors":{"4":'
                          b'{"errors":[{"message":"m","details":"d"}],"class_type":"A"}}}')
put("comfyui", "message", b'\6{"type":"executing","data":{"node":"3","prompt_id":"id"}}')
put("comfyui", "preview", b"\7" + struct.pack(">II", 1, 2) + b"\xff\xd8")

put("launch_flags", "usual", b"main.py\n--lowvram\n--reserve-vram\n0.6\n--fp8_e4m3fn-unet\n--listen\n--port=8188\n0.3.64")


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


def text_to_image(checkpoint):
    return {
        "4": node("CheckpointLoaderSimple", ckpt_name=checkpoint),
        "5": node("EmptyLatentImage", width=512, height=512, batch_size=1),
        "6": node("CLIPTextEncode", clip=["4", 1], text="a (dragon:1.2)"), "7": node("CLIPTextEncode", clip=["4", 1], text=""),
        "3": node("KSampler", model=["4", 0], positive=["6", 0], negative=["7", 0], latent_image=["5", 0], seed=1, steps=20,
                  cfg=7.0, sampler_name="heun", scheduler="karras", denoise=1.0),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]), "9": node("SaveImage", images=["8", 0], filename_prefix="x")}


high_res = text_to_image("xl") | {
    "10": node("LatentUpscale", samples=["3", 0], upscale_method="nearest-exact", width=768, height=768, crop="disabled"),
    "11": node("KSamplerAdvanced", model=["4", 0], positive=["6", 0], negative=["7", 0], latent_image=["10", 0], add_noise="enable",
               noise_seed=1, steps=20, cfg=1.0, sampler_name="dpmpp_2m", scheduler="ddim_uniform", start_at_step=10, end_at_step=15,
               return_with_leftover_noise="enable"),
    "8": node("VAEDecodeTiled", samples=["11", 0], vae=["4", 2], tile_size=512, overlap=64, temporal_size=64, temporal_overlap=8)}
for name, graph in (("sd15", text_to_image("15")), ("sdxl", text_to_image("xl")), ("high_res", high_res)):
    put("program", name, json.dumps(graph).encode())
nodes = json.loads((HERE.parents[1] / "data" / "nodes.json").read_text())["nodes"]
with (HERE / "dict" / "program").open("w") as words:
    words.write("# Node types and inputs, made by make_corpus.py.\n")
    inputs = {"model", "clip", "vae", "positive", "negative", "latent_image", "samples", "pixels", "images", "width", "height",
              "batch_size", "steps", "cfg", "denoise", "sampler_name", "scheduler", "control_net", "lora_name", "guider", "sigmas"}
    for word in [*nodes, *sorted(inputs)]:
        words.write(f'"\\x22{word}\\x22"\n')
    for link in ("3", "4", "5", "6", "8"):
        words.write(f'"[\\x22{link}\\x22,0]"\n')

for name, head in {
    "get": b"GET /queue?x=1 HTTP/1.1\r\nHost: 127.0.0.1:8189\r\nOrigin: http://127.0.0.1:8189\r\nAccept-Encoding: gzip\r\n\r\n",
    "post": b"POST /prompt HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n12345",
    "chunked": b"PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX: 1\r\n\r\n",
    "upgrade": b"GET /ws?clientId=a HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
    "old": b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "answer": b"HTTP/1.1 200 OK\r\nContent-Type: x\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\n0\r\n\r\n",
    "empty": b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
    "both": b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
    "folded": b"GET / HTTP/1.1\r\nA: 1\r\n 2\r\nContent-Length : 3\r\n\n\r\n",
    "until_close": b"HTTP/1.1 200\r\nConnection: x, close\r\nX: 1\r\n\r\nwhatever",
}.items():
    put("http_head", name, head)
put("frame_tap", "messages", b"\x05\x81\x05hello\x82\x03\1\2\3\x89\x01p\x01\x02ab\x80\x01c\x88\x02\x03\xe8")
put("frame_tap", "masked", b"\x02\x81\x85abcd" + bytes(a ^ b for a, b in zip(b"hello", b"abcda")) + b"\x81\x01x")
put("frame_tap", "long", b"\x3f\x82\x7e\x00\x80" + bytes(128) + b"\x82\x7f" + bytes(6) + b"\x00\x01z\xc1\x00")
put("frame_tap", "exchanged", b"\x02\x81\x03xyz\x01\x01x\x89\x00\x80\x01y\x81\x7e\x00\x7e" + b"x" * 126 + b"\x81\x00\x81\x01x")
put("prompt_body", "prompt", b'{"client_id": "a", "prompt": {"3": {"class_type": "K", "inputs": {"seed": 18446744073709551615, "x": NaN}}}, "prompt_id": "p",'
    b' "number": 7.0, "front": true, "extra_data": {"client_id": "b"}, "partial_execution_targets": ["9"]}')
put("prompt_body", "status", b'{"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 2}}, "sid": "A"}}')
put("prompt_body", "answer", b'{"prompt_id": "p", "number": 3, "node_errors": {}}')
put("prompt_body", "twice", b'{"prompt": 1, "prompt": {"\\u0031": {}}, "client_id": 5, "extra_data": {"client_id": "\\ud800"}, "extra_data": [], "front": 1}')
put("prompt_body", "target", b"/api/jobs/a%2Fb/cancel?x=1")
