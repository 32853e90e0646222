#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""gzip_file.py FROM TO: the same bytes each time, whatever the clock and the name."""
import gzip
import pathlib
import sys

source, target = map(pathlib.Path, sys.argv[1:])
target.parent.mkdir(parents=True, exist_ok=True)
target.write_bytes(gzip.compress(source.read_bytes(), 9, mtime=0))
