"""The file that an archive is written to, or standard output."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from viaduct.base.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

STDOUT = "-"
_BUFFER = 1 << 20


@contextlib.contextmanager
def opened(dest: str) -> Iterator[BinaryIO]:
    """`dest` for writing; directories on the way are made.

    A regular file is replaced only when all went well, and by one of the same name where `dest` is
    a link to it. Pipes and devices are written to. Raises `BuildError` when that is not possible.
    """
    if dest == STDOUT:
        with (
            explained("standard output"),
            open(os.dup(sys.stdout.fileno()), "wb", buffering=_BUFFER) as out,
        ):
            yield out
        return
    with explained(dest):
        # Asked by its own name: what /dev/stdout leads to has none that could be opened.
        if _is_special(dest):
            with open(dest, "wb", buffering=_BUFFER) as out:
                yield out
            return
        path = Path(os.path.realpath(dest))
        path.parent.mkdir(parents=True, exist_ok=True)
        temp = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
        try:
            with open(temp, "xb", buffering=_BUFFER) as out:
                yield out
            temp.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temp.unlink()
            raise


@contextlib.contextmanager
def explained(dest: str) -> Iterator[None]:
    """Turn an OSError into a `BuildError` that says that `dest` cannot be written, and why."""
    try:
        yield
    except BrokenPipeError as error:
        raise BuildError(f"cannot write {dest}: its reader is gone") from error
    except OSError as error:
        raise BuildError(
            f"cannot write {dest}: {error.strerror or error}",
            hint="name a place that can be written, on a disk with room",
        ) from error


def _is_special(path: str) -> bool:
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        return False
