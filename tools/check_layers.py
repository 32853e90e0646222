#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when a folder of src/ includes a folder that tools/layers.txt does not allow it, when Beast leaves net/, or when a source
does not include its own header first (which is how most headers are known to compile alone)."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]', re.MULTILINE)
# memory, timing, quality and advisor are pure: no clock, file, socket, thread or log.
PURE = {"memory", "timing", "quality", "advisor"}
IMPURE_HEADERS = {
    "chrono", "ctime", "fstream", "filesystem", "iostream", "thread", "mutex", "future", "random", "cstdio",
    "base/clock.h", "base/log.h", "base/random.h", "base/byte_source.h", "spdlog/spdlog.h", "unistd.h", "sys/socket.h",
}


def read_layers() -> dict[str, set[str]]:
    layers = {}
    for line in (ROOT / "tools/layers.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            folder, _, allowed = line.partition(":")
            layers[folder] = set(allowed.split()) | {folder}
    return layers


def faults_of(path: pathlib.Path, folder: str, layers: dict[str, set[str]]) -> list[str]:
    faults = []
    where = path.relative_to(ROOT)
    own = path.with_suffix(".h")
    first = INCLUDE.search(path.read_text())
    if path.suffix == ".cpp" and own.exists() and (not first or first[2] != str(own.relative_to(ROOT / "src"))):
        faults.append(f"{where}: includes its own header first, so that the header is known to compile alone")
    for bracket, name in INCLUDE.findall(path.read_text()):
        target = name.split("/")[0]
        if bracket == '"' and target in layers and target not in layers[folder]:
            faults.append(f"{where}: {folder} may not include {name}")
        if name.startswith("boost/beast") and folder != "net":
            faults.append(f"{where}: Beast stays behind net/")
        if folder in PURE and name in IMPURE_HEADERS and not path.name.endswith("_test.cpp"):
            faults.append(f"{where}: {folder} is pure, {name} is not")
    return faults


def cycles(layers: dict[str, set[str]]) -> list[str]:
    order = list(layers)
    return [
        f"tools/layers.txt: {folder} lists {other}, which comes later"
        for index, folder in enumerate(order)
        for other in layers[folder] - {folder}
        if other not in order[:index]
    ]


def main() -> int:
    layers = read_layers()
    faults = cycles(layers)
    for folder in sorted((ROOT / "src").iterdir()):
        if not folder.is_dir():
            continue
        if folder.name not in layers:
            faults.append(f"src/{folder.name} is not in tools/layers.txt")
            continue
        for path in sorted(folder.rglob("*")):
            if path.suffix in {".h", ".cpp"}:
                faults += faults_of(path, folder.name, layers)
    print("\n".join(faults) if faults else "layers hold")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
