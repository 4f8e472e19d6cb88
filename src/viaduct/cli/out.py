"""Printing: what a command says, on standard output or standard error."""

from __future__ import annotations

import sys


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print a text at once, with a newline (`nl`)."""
    stream = sys.stderr if err else sys.stdout
    stream.write(f"{text}\n" if nl else text)
    stream.flush()


def colored(text: str, color: str) -> str:
    """`text` in a colour of the terminal: red, green, yellow."""
    return f"\x1b[{_COLORS[color]}m{text}\x1b[0m"


_COLORS = {"red": 31, "green": 32, "yellow": 33}
