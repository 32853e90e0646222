#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a command on a terminal of 80 columns and draws what it wrote as an SVG: the pictures in README.md are made with it.

    tools/draw_terminal.py docs/demo.svg --shown "plimsoll ..." -- build/release/bin/plimsoll ...

Nothing is made up: the text, its colours and the live line (frozen once, half way, as --freeze REGEX asks) are the command's own.
"""
import argparse
import fcntl
import html
import os
import pty
import re
import struct
import subprocess
import sys
import termios

COLUMNS, ROWS = 80, 50
CELL, LINE, MARGIN, BAR = 8.43, 18, 16, 34  # pixels: of a character at 14 px, a row, around, the window's title
COLOURS = {"31": "#ff7b72", "32": "#7ee787", "33": "#e3b341"}


def capture(command, environment):
    """All bytes that the command writes to a terminal."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    with subprocess.Popen(command, stdin=side, stdout=side, stderr=side, env=environment) as process:
        os.close(side)
        written = b""
        while True:
            try:
                piece = os.read(main, 65536)
            except OSError:
                break
            if not piece:
                break
            written += piece
    os.close(main)
    return written.decode()


def rows_of(text, freeze):
    """The rows that stay on the screen; the first live line that matches `freeze` is kept above what replaced it."""
    rows = []
    for line in text.replace("\r\n", "\n").split("\n"):
        pieces = [piece.replace("\x1b[K", "") for piece in line.split("\r")]
        if freeze:
            frozen = next((piece for piece in pieces[:-1] if re.search(freeze, re.sub(r"\x1b\[[0-9;]*m", "", piece))), None)
            if frozen is not None:
                rows.append(frozen)
                freeze = None
        rows.append(pieces[-1])
    while rows and not rows[-1].strip():
        rows.pop()
    return rows


def spans_of(row):
    """(text, classes) of a row: colours, bold and dim as the terminal shows them."""
    colour, weight = "", ""
    for piece in re.split(r"(\x1b\[[0-9;]*m)", row):
        code = re.fullmatch(r"\x1b\[([0-9;]*)m", piece)
        if code is None:
            if piece:
                yield piece, colour, weight
            continue
        for number in code.group(1).split(";"):
            if number in ("", "0"):
                colour, weight = "", ""
            elif number in COLOURS:
                colour = COLOURS[number]
            elif number in ("1", "2"):
                weight = {"1": "bold", "2": "dim"}[number]


def draw(rows, title):
    width, height = MARGIN * 2 + COLUMNS * CELL, BAR + MARGIN * 2 + len(rows) * LINE
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" height="{height}">',
           "<style>text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#e6edf3;white-space:pre}"
           ".bold{font-weight:bold}.dim{fill:#8b949e}</style>",
           f'<rect width="100%" height="100%" rx="8" fill="#0d1117"/><text x="{MARGIN}" y="22" class="dim">{html.escape(title)}</text>']
    for number, row in enumerate(rows):
        x, y, column = MARGIN, BAR + MARGIN + number * LINE, 0
        for text, colour, weight in spans_of(row):
            if text.strip():
                style = (f' class="{weight}"' if weight else "") + (f' style="fill:{colour}"' if colour else "")
                # The length is fixed, so that columns stand under each other in every font.
                out.append(f'<text x="{x + column * CELL:.2f}" y="{y}" textLength="{len(text) * CELL:.2f}" lengthAdjust="spacingAndGlyphs" '
                           f'xml:space="preserve"{style}>{html.escape(text)}</text>')
            column += len(text)
    return "\n".join([*out, "</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("svg")
    parser.add_argument("--shown", help="the command line as the picture shows it")
    parser.add_argument("--freeze", help="keep the first live line that matches this expression")
    parser.add_argument("command", nargs="+")
    asked = parser.parse_args()
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    rows = rows_of(capture(asked.command, environment), asked.freeze)
    with open(asked.svg, "w", encoding="utf-8") as file:
        file.write(draw(["\x1b[1m$ " + (asked.shown or " ".join(asked.command)) + "\x1b[0m", *rows], "terminal, 80 columns"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
