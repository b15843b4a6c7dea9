"""Draws what a command prints on a terminal as SVG: stdin with its colours, below the
command line in the first argument.

Knows the codes that the agent uses (bold, dim, eight colours) and refuses others.
"""

import re
import sys
import unicodedata
from xml.sax.saxutils import escape

# In pixels.
SIZE, COLUMN, LINE, MARGIN = 14, 8.43, 20, 20
FONT = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
# Reads well on a page of either theme.
PAPER, EDGE, INK, DIM = "#161b22", "#3d444d", "#e6edf3", "#8b949e"
COLOURS = {31: "#ff7b72", 32: "#56d364", 33: "#e3b341", 34: "#79c0ff", 35: "#d2a8ff", 36: "#56d4dd"}


def styled(line):
    """Parts a line where its style changes: texts, each with its colour and weight."""
    colour, bold, dim = None, False, False
    parts = []
    for piece in re.split(r"(\x1b\[[0-9;]*m)", line):
        if not piece.startswith("\x1b"):
            if piece:
                parts.append((piece, colour or (DIM if dim else INK), bold))
            continue
        for code in (int(code or 0) for code in piece[2:-1].split(";")):
            if code == 0:
                colour, bold, dim = None, False, False
            elif code == 1:
                bold = True
            elif code == 2:
                dim = True
            elif code in COLOURS:
                colour = COLOURS[code]
            else:
                sys.exit(f"terminal_svg: {code}: expected a code for bold, dim or a colour")
    return parts


def columns(text):
    """The columns that a text takes."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def texts(line, row):
    """Draws a line. Each text has its own place and length, whatever font there is."""
    y = MARGIN + row * LINE + SIZE
    at = 0
    for text, colour, bold in styled(line):
        # Not every browser keeps blanks at the start of a text.
        start = at + len(text) - len(text.lstrip())
        at += columns(text)
        text = text.strip()
        if text:
            weight = ' font-weight="bold"' if bold else ""
            yield (
                f'<text x="{MARGIN + start * COLUMN:.2f}" y="{y}"'
                f' textLength="{columns(text) * COLUMN:.2f}"'
                f' fill="{colour}"{weight}>{escape(text)}</text>'
            )


def main():
    prompt = f"\x1b[2m$\x1b[0m \x1b[1m{sys.argv[1]}\x1b[0m"
    lines = [prompt, *sys.stdin.read().rstrip("\n").split("\n")]
    widest = max(columns("".join(text for text, _, _ in styled(line))) for line in lines)
    width = round(2 * MARGIN + widest * COLUMN)
    height = 2 * MARGIN + len(lines) * LINE
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"')
    print(f'  viewBox="0 0 {width} {height}" font-family="{FONT}" font-size="{SIZE}" xml:space="preserve">')
    print(f"<title>{escape(sys.argv[1])}</title>")
    print(f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"')
    print(f'  fill="{PAPER}" stroke="{EDGE}"/>')
    for row, line in enumerate(lines):
        for text in texts(line, row):
            print(text)
    print("</svg>")


main()
