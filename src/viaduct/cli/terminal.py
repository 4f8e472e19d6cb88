"""Making foreign text safe to show: what a build prints must not drive the terminal."""

from __future__ import annotations

import re

# Left to be compiled by the first text that has one: most commands print none.
_ESCAPES = (
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movement, erasing
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\|$)"  # OSC: window titles, hyperlinks, clipboard
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\|$)"  # DCS, SOS, PM, APC strings
    r"|\x1b[ -/]*[0-~]?"  # all other sequences, and a lone escape
)
_COLOR = re.compile(r"\x1b\[[0-9;:]*m")
# C0 without tab and newline, DEL, C1, and the characters that reorder text.
_CONTROLS = "[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u202a-\u202e\u2066-\u2069]"


def visible(text: str) -> str:
    """`text` without terminal control: escape sequences and control characters are gone, tabs and
    newlines stay."""
    if text.isascii() and text.isprintable():
        return text
    return re.sub(_CONTROLS, "", re.sub(_ESCAPES, "", text))


def colored(text: str) -> str:
    """Like `visible`, but colours stay (and are switched off at the end)."""
    if "\x1b" not in text:
        return visible(text)
    out: list[str] = []
    position = 0
    for match in _COLOR.finditer(text):
        out += (visible(text[position : match.start()]), match[0])
        position = match.end()
    out.append(visible(text[position:]))
    return "".join(out) + ("\x1b[0m" if position else "")


def overwritten(line: str) -> str:
    """What a terminal shows of a line after its carriage returns: progress bars redraw
    themselves."""
    if "\r" not in line:
        return line
    shown = ""
    for part in line.split("\r"):
        shown = part + shown[len(part) :]
    return shown
