#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""yaml_to_json.py FROM TO: a YAML file as compact JSON. Needs PyYAML (Debian: python3-yaml)."""
import json
import pathlib
import sys

import yaml

source, target = map(pathlib.Path, sys.argv[1:])
target.parent.mkdir(parents=True, exist_ok=True)
target.write_text(json.dumps(yaml.safe_load(source.read_text(encoding="utf-8")), separators=(",", ":"), ensure_ascii=False), encoding="utf-8")
