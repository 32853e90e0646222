#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""clang-tidy over the sources of a build, several at a time. A source that was clean is looked at again only when it, a header
of ours that it includes, or the rules have changed.

    tools/tidy.py build/release [--jobs N] [FILE...]
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TIDY = "clang-tidy-19"
NOISE = ("warnings generated", "warning generated", "Suppressed ", "Use -header-filter", "Use -system-headers")


def sources(build, wanted):
    """Path -> object file, for the tracked sources that the build compiles."""
    tracked = subprocess.run(["git", "ls-files", "*.cpp"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    known = {ROOT / name for name in tracked}
    commands = json.loads((build / "compile_commands.json").read_text())
    object_of = {pathlib.Path(c["file"]): c["command"].partition(" -o ")[2].split()[0] for c in commands}
    found = {path: output for path, output in object_of.items() if path in known}
    if not wanted:
        return found
    paths = [(ROOT / name).resolve() for name in wanted]
    missing = [str(path) for path in paths if path not in found]
    if missing:
        sys.exit(f"tidy: not compiled by {build}: {', '.join(missing)}")
    return {path: found[path] for path in paths}


def included(build):
    """Object file -> headers of ours, as the compiler told ninja."""
    listed = subprocess.run(["ninja", "-C", str(build), "-t", "deps"], capture_output=True, text=True, check=True).stdout
    headers, current = {}, None
    for line in listed.splitlines():
        if line.startswith("    /usr/"):
            continue
        if line.startswith("    "):
            path = pathlib.Path(os.path.normpath(build / line.strip()))
            if path.is_relative_to(ROOT) and not path.is_relative_to(build):
                headers[current].append(path)
        elif line:
            current = line.partition(":")[0]
            headers[current] = []
    return headers


def key_of(path, headers):
    """None where the build has not said what the source includes."""
    if headers is None:
        return None
    digest = hashlib.sha256((ROOT / ".clang-tidy").read_bytes())
    for file in [path, *sorted(headers)]:
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def tidy(build, path):
    done = subprocess.run([TIDY, "-p", str(build), "--quiet", str(path)], capture_output=True, text=True, cwd=ROOT)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line and not any(noise in line for noise in NOISE)]
    return done.returncode, "\n".join(said)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("files", nargs="*")
    arguments = parser.parse_intermixed_args()  # FILE after --jobs N too
    build = arguments.build.resolve()
    clean = build / "tidy"
    clean.mkdir(exist_ok=True)
    headers = included(build)
    keys = {path: key_of(path, headers.get(output)) for path, output in sources(build, arguments.files).items()}
    due = [path for path, key in keys.items() if key is None or not (clean / key).exists()]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        jobs = {pool.submit(tidy, build, path): path for path in due}
        for number, job in enumerate(concurrent.futures.as_completed(jobs), 1):
            path, (status, said) = jobs[job], job.result()
            print(f"[{number}/{len(due)}] {path.relative_to(ROOT)}" + (f"\n{said}" if status else ""), flush=True)
            failed += status != 0
            if status == 0 and keys[path]:
                (clean / keys[path]).touch()
    kept = {key for key in keys.values() if key}
    if not arguments.files:
        for old in clean.iterdir():
            if old.name not in kept:
                old.unlink()
    print(f"tidy: {len(keys)} sources, {len(keys) - len(due)} unchanged since they were clean, {failed} with findings")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
