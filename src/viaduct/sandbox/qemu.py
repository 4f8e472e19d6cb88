"""QEMU's user mode emulators as programs: which version, how linked, what is known to go wrong.

`look` reads one program; what follows from that is a table. The table holds what users of many
projects ran into again and again and what ended it, not every bug that QEMU ever had.
"""

from __future__ import annotations

import os
import re
from functools import cache
from typing import TypeAlias

from viaduct.base import proc
from viaduct.base.errors import SandboxError
from viaduct.base.values import Value
from viaduct.oci import elf
from viaduct.sandbox.machines import of_header

Version: TypeAlias = tuple[int, int, int]

#: From this QEMU on an emulator learns of binfmt_misc's flag P, and gives the program its argv[0].
ARGV0_SINCE: Version = (6, 0, 0)

#: Where a set of emulators for every machine comes from on Debian and its kin.
PACKAGE = "qemu-user-static"

_VERSION = re.compile(r"\bversion (\d+)\.(\d+)(?:\.(\d+))?")
_PATIENCE = 10.0
# By directory; two threads that ask at once get the same answer.
_versions: dict[str, Version] = {}


class Emulator(Value):
    """One emulator. `version` is (0, 0, 0) when it does not tell; `pie` says that it can be loaded
    anywhere (a position independent executable)."""

    arch: str
    program: str
    version: Version = (0, 0, 0)
    pie: bool = True

    @property
    def release(self) -> str:
        """The version as people write it."""
        return ".".join(map(str, self.version)) if any(self.version) else "of unknown version"


class Bug(Value):
    """Something that goes wrong with versions from `since` up to, not including, `until`, when
    programs for `arches` (empty: all) run. `unless_pie` bugs do not hit position independent
    emulators."""

    symptom: str
    since: Version
    until: Version
    arches: frozenset[str] = frozenset()
    unless_pie: bool = False


_NEVER: Version = (1 << 30, 0, 0)
_GLIBC = "ldconfig and other programs of glibc 2.31 to 2.35 end with signal 11 (segmentation fault)"

#: In the order in which they are told.
BUGS = (
    Bug(
        "it is not position independent: programs end with signal 11 at random under kernels that "
        "place the heap at random",
        (0, 0, 1),
        _NEVER,
        unless_pie=True,
    ),
    Bug(_GLIBC, (9, 2, 0), (9, 2, 2), frozenset({"arm64"})),
    Bug(_GLIBC, (10, 1, 0), (10, 2, 0), frozenset({"arm64"})),
    Bug(
        "programs that need AVX (x86-64-v3) end with signal 4 (illegal instruction)",
        (0, 0, 1),
        (7, 2, 0),
        frozenset({"amd64"}),
    ),
)


def known_bugs(emulator: Emulator) -> tuple[Bug, ...]:
    """The rows of the table that `emulator` is in. Nothing is known of an unknown version."""
    return tuple(
        bug
        for bug in BUGS
        if bug.since <= emulator.version < bug.until
        and (not bug.arches or emulator.arch in bug.arches)
        and not (bug.unless_pie and emulator.pie)
    )


def parse_version(text: str) -> Version:
    """The version in what `--version` prints; zeros when there is none."""
    match = _VERSION.search(text)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else (0, 0, 0)


@cache
def version(program: str) -> Version:
    """Ask `program`; about 4 milliseconds, once in a process."""
    try:
        said = proc.run([program, "--version"], timeout=_PATIENCE, check=False).stdout
    except (SandboxError, OSError):
        return (0, 0, 0)
    return parse_version(said.decode(errors="replace"))


def version_beside(program: str) -> Version:
    """The version of the emulators in the directory of `program`: they come from one package, so
    that only one of them is asked."""
    directory = os.path.dirname(program)
    if directory not in _versions:
        _versions[directory] = version(program)
    return _versions[directory]


def look(arch: str, program: str) -> Emulator:
    """What there is to know of the emulator `program` for `arch`."""
    head = _head(program)
    position_independent = 3
    kind = int.from_bytes(head[16:18], "big" if head[5:6] == b"\x02" else "little")
    return Emulator(arch, program, version(program), pie=kind == position_independent)


def is_static(program: str) -> bool:
    """Whether an ELF program asks for no dynamic loader.

    One that does would look for its loader and libraries inside of the image.
    """
    head = _head(program)
    return of_header(head) != "" and not elf.loader(head)


def _head(program: str) -> bytes:
    try:
        with open(program, "rb") as file:
            return file.read(elf.HEAD)
    except OSError:
        return b""
