"""Printing: what a command says, on standard output or standard error."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from viaduct.base.errors import ViaductError

if TYPE_CHECKING:
    from collections.abc import Iterator


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print a text at once, with a newline (`nl`). Raises `ViaductError` where that fails."""
    stream = sys.stderr if err else sys.stdout
    with _explained():
        stream.write(f"{text}\n" if nl else text)
        stream.flush()


def pass_on(data: bytes) -> None:
    """Write bytes to standard output as they are. Raises `ViaductError` where that fails."""
    with _explained():
        sys.stdout.buffer.write(data)
        sys.stdout.flush()


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ViaductError(f"cannot write the output: {error.strerror}") from error


def colored(text: str, color: str) -> str:
    """`text` in a colour of the terminal: red, green, yellow."""
    return f"\x1b[{_COLORS[color]}m{text}\x1b[0m"


_COLORS = {"red": 31, "green": 32, "yellow": 33}
