#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/convert from recorded conversions: pairs of a workflow in UI format and the API form that the real
front end made of it, and what of /object_info they need.

    make_conversion_data.py WORKFLOWS OBJECT_INFO [OUT]

WORKFLOWS holds index.csv (ui_file, api_file), templates/ and handmade/; OBJECT_INFO holds object_info_VERSION.json.gz.
"""
import csv
import gzip
import json
import pathlib
import sys

# Hand-made graphs: which server answered object_info to which front end.
SERVER_OF = {"fe127": "0.3.64", "fe158": "0.33.0"}
# What the front end needs neither for values nor for titles.
UNUSED = ("output_name", "output_is_list", "output_node", "category", "name", "description")


def read(path):
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as file:
        return json.load(file)


def pairs(workflows):
    with open(workflows / "index.csv", newline="") as index:
        for row in csv.DictReader(index):
            if row["api_file"]:
                yield row["id"], "0.33.0", read(workflows / row["ui_file"]), read(workflows / row["api_file"])
    for ui in sorted((workflows / "handmade").glob("*.ui.json")):
        name = ui.name.removesuffix(".ui.json").split(".")[0]
        for front_end, server in SERVER_OF.items():
            for api in ui.parent.glob(f"{name}.*{front_end}*json"):
                if ".ui." not in api.name:
                    yield f"{name}.{front_end}", server, read(ui), read(api)


def used_types(graph, into):
    """Every text that names a node's type, wherever it lies: graphs, definitions, old group nodes."""
    if isinstance(graph, dict):
        if isinstance(graph.get("type"), str):
            into.add(graph["type"])
        for value in graph.values():
            used_types(value, into)
    elif isinstance(graph, list):
        for value in graph:
            used_types(value, into)


def without_tooltips(value):
    if isinstance(value, dict):
        return {key: without_tooltips(one) for key, one in value.items() if key != "tooltip" or not isinstance(one, str)}
    return [without_tooltips(one) for one in value] if isinstance(value, list) else value


def write(path, text):
    # No time and no name inside: the same input makes the same bytes.
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{path}: {path.stat().st_size} bytes")


def main():
    workflows, object_info = map(pathlib.Path, sys.argv[1:3])
    out = pathlib.Path(sys.argv[3] if len(sys.argv) > 3 else "tests/data/convert")
    out.mkdir(parents=True, exist_ok=True)
    lines, types = [], {}
    for name, server, ui, api in pairs(workflows):
        used_types(ui, types.setdefault(server, set()))
        lines.append(json.dumps({"name": name, "server": server, "ui": ui, "api": api}, separators=(",", ":")))
    write(out / "pairs.jsonl.gz", "\n".join(lines) + "\n")
    for server, used in types.items():
        info = read(object_info / f"object_info_{server}.json.gz")
        kept = {name: {"input": without_tooltips(node["input"])} | {key: value for key, value in node.items()
                if key != "input" and key not in UNUSED} for name, node in info.items() if name in used}
        write(out / f"object_info_{server}.json.gz", json.dumps(kept, separators=(",", ":")))


main()
