"""What a program in a root file system is: found on its PATH, told by its first bytes."""

from __future__ import annotations

import os
import posixpath
import stat
from typing import TYPE_CHECKING, Literal, TypeAlias

from viaduct.base.values import Value
from viaduct.oci import elf
from viaduct.sandbox.inside import open_inside
from viaduct.sandbox.machines import of_header

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# The kernel reads so much of a file to find out how to run it (BINPRM_BUF_SIZE).
_LINE = 256
# Interpreters that are scripts themselves may be nested so deep.
_MAX_NESTING = 5

Kind: TypeAlias = Literal["elf", "text", "missing"]


class Program(Value):
    """The end of a chain of `#!` lines that starts at some file.

    `path` is an ELF program of architecture `arch` (`elf`), a file of no format that the kernel
    runs (`text`), or one that does not exist (`missing`). `loader` is the dynamic loader that an
    ELF program asks for, empty when it needs none.
    """

    path: str
    kind: Kind
    arch: str = ""
    loader: str = ""


def lookup(root: Path, name: str, *, env: Iterable[str], cwd: str, default_path: str) -> str:
    """The path inside `root` that executing `name` there means; empty when PATH has none."""
    if "/" in name:
        return posixpath.join(cwd, name)
    path = next((entry[5:] for entry in env if entry.startswith("PATH=")), default_path)
    for directory in path.split(":"):
        candidate = posixpath.join(cwd, directory, name)
        if _executable(root, candidate):
            return candidate
    return ""


def inspect(root: Path, path: str) -> Program:
    """What executing the file `path` inside `root` comes down to."""
    for _ in range(_MAX_NESTING):
        head = _head(root, path)
        if head is None:
            return Program(path, "missing")
        if arch := of_header(head):
            return Program(path, "elf", arch, elf.loader(head))
        interpreter = _interpreter(head)
        if not interpreter:
            break
        path = os.fsdecode(interpreter)
    return Program(path, "text")


def exists(root: Path, path: str) -> bool:
    """Whether `path` inside `root` leads to anything."""
    return _head(root, path) is not None


def _interpreter(head: bytes) -> bytes:
    """The program that a `#!` line names. Only blanks end it: with the line ends of Windows, the
    carriage return is a part of its name."""
    if not head.startswith(b"#!"):
        return b""
    line = head[2:_LINE].split(b"\n", 1)[0].strip(b" \t")
    return line.replace(b"\t", b" ").split(b" ", 1)[0]


def _executable(root: Path, path: str) -> bool:
    try:
        fd = open_inside(root, path, os.O_PATH)
    except (OSError, ValueError):
        return False
    try:
        mode = os.fstat(fd).st_mode
    finally:
        os.close(fd)
    return stat.S_ISREG(mode) and bool(mode & 0o111)


def _head(root: Path, path: str) -> bytes | None:
    try:
        fd = open_inside(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError):
        # ValueError: a name with a zero byte, out of a hostile file.
        return None
    try:
        return os.read(fd, elf.HEAD)
    except OSError:
        return None
    finally:
        os.close(fd)
