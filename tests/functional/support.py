# SPDX-License-Identifier: Apache-2.0
"""Drives the built program against the built simulator. Ports are chosen at run time; nothing outlives a test."""
import gzip
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import unittest

BINARY = os.environ["PLIMSOLL_BINARY"]
SOURCE = pathlib.Path(os.environ["PLIMSOLL_SOURCE"])
SETTINGS = ("COMFYUI_SERVER_URL", "COMFYUI_PORT", "COMFYUI_TIMEOUT", "MAX_VRAM_MB", "MAX_DURATION_MIN", "SAFETY_MARGIN")


class Simulator:
    """`plimsoll simulate` as a process; the first line of its JSON output names the port."""

    def __init__(self, home, *flags, card="rtx3050-6gb", seed=1, speed=0, port=0):
        self.process = subprocess.Popen(
            [BINARY, "simulate", "--card", card, "--port", str(port), "--seed", str(seed), "--speed", str(speed), "--json", *flags],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(home))
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the simulator did not start: " + self.process.stderr.read())
        self.start = json.loads(line)
        self.port = self.start["port"]

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


def environment(home, **extra):
    kept = {k: v for k, v in os.environ.items() if k not in SETTINGS and not k.startswith("PLIMSOLL_")}
    # A daemon's gateway takes a free port too: several tests run at once.
    return {**kept, "PLIMSOLL_HOME": str(home), "HOME": str(home), "PLIMSOLL_GATEWAY_LISTEN": "127.0.0.1:0", **{k: str(v) for k, v in extra.items()}}


def free_port():
    """For programs that cannot choose one themselves; ours listen on port 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def text_to_image(width=1024, height=1024, batch=1, checkpoint="sd_xl_base_1.0.safetensors"):
    """ComfyUI's default graph in API format."""
    return {
        "3": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 20, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal",
                                                   "denoise": 1.0, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0],
                                                   "latent_image": ["5", 0]}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": checkpoint}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": width, "height": height, "batch_size": batch}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a dragon", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "plimsoll"}},
    }


def text_to_image_text(width, height, batch, seed):
    """The same with spacing, a seed and a CFG that only a byte-exact edit keeps."""
    text = json.dumps(text_to_image(width, height, batch), indent=1)
    return text.replace('"seed": 1,', f'"seed": {seed},').replace('"cfg": 7.0', '"cfg":   5.0')


def write_safetensors(path, header, data_bytes):
    """A file of the right length whose weights are a hole: it takes no space on disk."""
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + data_bytes)


def write_model(path, parts=("sd15", "kl_vae", "clip_l")):
    """A checkpoint with the recorded tensor tables of its parts (tests/data/modelfile/headers) and no weights in it."""
    prefixes = {"kl_vae": "first_stage_model.", "clip_l": "cond_stage_model."}
    sizes = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1}
    header, offset = {}, 0
    for part in parts:
        table = json.loads(gzip.decompress((SOURCE / f"tests/data/modelfile/headers/{part}.json.gz").read_bytes()))
        for tensor, (dtype, shape) in table.items():
            size = sizes[dtype]
            for side in shape:
                size *= side
            name = prefixes.get(part, "model.diffusion_model.") + tensor
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
            offset += size
    write_safetensors(path, header, offset)


class FunctionalTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="plimsoll-test-")
        self.addCleanup(folder.cleanup)
        self.home = pathlib.Path(folder.name)

    def simulator(self, *flags, **options):
        simulator = Simulator(self.home, *flags, **options)
        self.addCleanup(simulator.stop)
        return simulator

    def run_plimsoll(self, *args, code=0, stdin=None, cwd=None, timeout=120, **env):
        """Runs to the end and checks the exit code (None: any); returns (stdout, stderr)."""
        done = subprocess.run([BINARY, *map(str, args)], input=stdin, capture_output=True, text=True, timeout=timeout,
                              cwd=cwd or self.home, env=environment(self.home, **env))
        if code is not None:
            self.assertEqual(done.returncode, code, f"{args}\nstdout: {done.stdout}\nstderr: {done.stderr}")
        return done.stdout, done.stderr

    def run_json(self, *args, **options):
        out, err = self.run_plimsoll(*args, "--json", **options)
        try:
            return json.loads(out)
        except ValueError:
            self.fail(f"{args}: no JSON: {out!r}, stderr: {err!r}")

    def run_into(self, file, *args, **env):
        """Runs with standard output on a file; returns (exit code, stderr)."""
        done = subprocess.run([BINARY, *map(str, args)], stdout=file, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
                              cwd=self.home, env=environment(self.home, **env))
        return done.returncode, done.stderr

    def start_plimsoll(self, *args, **env):
        """A running process; killed at the end of the test if it still runs."""
        process = subprocess.Popen([BINARY, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, cwd=self.home, env=environment(self.home, **env))

        def end():
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                try:
                    stream.close()
                except BrokenPipeError:
                    pass
        self.addCleanup(end)
        return process
