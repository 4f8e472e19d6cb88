"""Whether a file that overlayfs copied up still is what it was below."""

from __future__ import annotations

import itertools
import os
import stat
from typing import TYPE_CHECKING

from viaduct.layer import tree

if TYPE_CHECKING:
    from viaduct.layer.entry import Entry


def is_unchanged(
    path: bytes, entry: Entry, upper: int, status: os.stat_result, lower: int, below: os.stat_result
) -> bool:
    """Whether the file at `path` is the same below the directories `upper` and `lower`.

    `entry` describes the upper one; `status` and `below` are the two as the kernel has them. A
    directory's time does not count: making a file in it and removing that again changes nothing
    that a layer should tell.
    """
    if status.st_mode != below.st_mode:
        return False
    if stat.S_ISDIR(status.st_mode):
        return _described(path, entry, lower, below)
    # A file with several names in the upper directory got them there: copying up breaks links.
    return (
        status.st_nlink == 1
        and status.st_mtime_ns == below.st_mtime_ns
        and status.st_size == below.st_size
        and _described(path, entry, lower, below)
        and (not stat.S_ISREG(status.st_mode) or _same_content(path, upper, lower, status.st_size))
    )


def _described(path: bytes, entry: Entry, lower: int, below: os.stat_result) -> bool:
    other = tree.describe_at(lower, path, below, name=entry.name, mtime_ns=entry.mtime_ns)
    return entry == other


def _same_content(path: bytes, upper: int, lower: int, size: int) -> bool:
    # Times are no proof: layers hold whole seconds, and `touch -r` sets any.
    one = tree.open_at(upper, path)
    try:
        other = tree.open_at(lower, path)
        try:
            pairs = itertools.zip_longest(tree.content(one, size), tree.content(other, size))
            return all(left == right for left, right in pairs)
        finally:
            os.close(other)
    finally:
        os.close(one)
