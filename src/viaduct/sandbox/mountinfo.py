"""What is mounted where, as the kernel tells it."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from viaduct.base.values import Value

_TABLE = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(rb"\\([0-7]{3})")


class Mounted(Value):
    """One mount: its place, the kind of file system, and whether it can be written to."""

    point: Path
    kind: str
    writable: bool


def mounts() -> tuple[Mounted, ...]:
    """Every mount of this namespace, in the order in which they were made; none when the kernel
    does not tell."""
    with contextlib.suppress(OSError):
        return tuple(map(_parsed, _TABLE.read_bytes().splitlines()))
    return ()


def kind_at(place: Path) -> str:
    """The kind of file system that `place` is on, or empty."""
    above = [each for each in mounts() if place.resolve().is_relative_to(each.point)]
    # The last of those at one place covers the others.
    return max(reversed(above), key=lambda each: len(each.point.parts)).kind if above else ""


def _parsed(line: bytes) -> Mounted:
    """A line as proc(5) has it: `36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/x rw`."""
    fields, _, rest = line.partition(b" - ")
    words = fields.split()
    point = _ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), words[4])
    kind, _, options = rest.split()[:3]
    writable = all(b"rw" in each.split(b",") for each in (words[5], options))
    return Mounted(Path(os.fsdecode(point)), kind.decode(errors="replace"), writable)
