"""The log that an OCI runtime writes about a container, one JSON object to a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from viaduct.base import decoding

if TYPE_CHECKING:
    from pathlib import Path


class _Entry(msgspec.Struct):
    msg: str = ""
    level: str = ""


def last_error(log: Path) -> str:
    """What went wrong according to `log`, or empty."""
    try:
        rows = log.read_bytes().splitlines()
    except OSError:
        return ""
    for row in reversed(rows):
        try:
            entry = decoding.from_json(row, _Entry)
        except msgspec.DecodeError:
            continue
        if entry.level in ("error", "fatal"):
            return entry.msg
    return ""
