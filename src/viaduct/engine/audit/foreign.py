"""Which ELF files of an image do not belong there: programs and libraries of another machine that
somebody would run, told apart from those that are in their place. Pure.

A file of another machine is in its place by its nature (an object file, firmware, test data, an
emulator) or by its company: a tool chain for another machine, or one of a set that has a file for
each machine. Company is no excuse in an image that has nothing for its own machine.
"""

from __future__ import annotations

import fnmatch
import re
from functools import cache
from typing import TYPE_CHECKING, Final

from viaduct.base.values import Value
from viaduct.oci import elf
from viaduct.sandbox.machines import MACHINES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from viaduct.engine.audit.facts import ElfFile

#: Architectures whose programs a processor of another one runs as well.
_COMPANIONS: Final = {"amd64": frozenset({"386"}), "arm64": frozenset({"arm"})}

#: What machines are called in the names of files and directories; the longest come first.
_WORDS: Final = {
    "amd64": ("x86_64", "x86-64", "amd64", "x64"),
    "386": ("i386", "i486", "i586", "i686", "ia32", "386", "x86(?![_-]64)"),
    "arm64": ("aarch64", "arm64"),
    "arm": ("armv[5-8][a-z]*", "armhf", "armel", "arm32", "arm"),
    "riscv64": ("riscv64gc", "riscv64"),
    "ppc64le": ("powerpc64le", "ppc64le", "ppc64el"),
    "s390x": ("s390x",),
    "mips64le": ("mips64el", "mips64le"),
    "loong64": ("loongarch64", "loong64"),
}

# What follows the processor in a compiler's name for a system: `-linux-gnu`, `-none-eabi`. The
# shorter `x86_64-linux` is what Ruby calls the place of its own libraries.
_SYSTEM: Final = re.compile(
    r"(?:-[a-z0-9_]+)?-(?:linux|none|elf|unknown)-[a-z0-9_]+", re.IGNORECASE
)
_TOOL_CHAINS: Final = frozenset({"gcc", "gcc-cross", "rustlib"})
_C_LIBRARY: Final = re.compile(r"libc\.so(?:\.6)?")
_LOADER: Final = re.compile(r"ld(?:64)?(?:-[^/]*)?\.so(?:\.[0-9]+)?")
_EMULATORS: Final = frozenset(name for machine in MACHINES.values() for name in machine.programs)
_FIRMWARE: Final = ("/lib/firmware/", "/usr/lib/firmware/")


class Sorted(Value):
    """The ELF files of an image for the architecture `arch`.

    `own` are its programs and libraries; `companions` run on its processors all the same; `foreign`
    do not belong there; `excused` are files of other machines that do, by the reason.
    """

    arch: str
    own: tuple[ElfFile, ...]
    companions: tuple[ElfFile, ...]
    foreign: tuple[ElfFile, ...]
    excused: dict[str, tuple[ElfFile, ...]]


def sort(files: Iterable[ElfFile], arch: str, allowed: Sequence[str] = ()) -> Sorted:
    """Tell apart what is in an image for `arch`; files that one of the patterns `allowed` matches
    are as they should be."""
    excused: dict[str, list[ElfFile]] = {}
    own: list[ElfFile] = []
    companions: list[ElfFile] = []
    strangers: list[ElfFile] = []
    for file in files:
        machine = file.program.machine
        if machine == arch:
            if file.program.header.loadable:
                own.append(file)
        elif allows(allowed, file.path):
            excused.setdefault("allowed", []).append(file)
        elif why := _nature(file):
            excused.setdefault(why, []).append(file)
        elif machine in _COMPANIONS.get(arch, ()):
            companions.append(file)
        else:
            strangers.append(file)
    foreign: list[ElfFile] = []
    company = _Company(own, strangers, arch) if own else None
    for file in strangers:
        if company is not None and (why := company.excuse(file)):
            excused.setdefault(why, []).append(file)
        else:
            foreign.append(file)
    return Sorted(
        arch,
        tuple(own),
        tuple(companions),
        tuple(foreign),
        {why: tuple(found) for why, found in excused.items()},
    )


def allows(patterns: Sequence[str], path: str) -> bool:
    """Whether one of the patterns means this file: it matches the path, in which `*` stands for
    slashes too, or a directory on the way to it."""
    if not patterns:
        return False
    parts = path.split("/")
    above = ["/".join(parts[: end + 1]) for end in range(1, len(parts))]
    wanted = ["/" + pattern.strip("/") for pattern in patterns]
    return any(fnmatch.fnmatchcase(each, pattern) for pattern in wanted for each in above)


def is_loader(path: str) -> bool:
    """Whether a file is called like a dynamic loader."""
    return _LOADER.fullmatch(path.rpartition("/")[2]) is not None


def _is_system(path: str) -> bool:
    """Whether this is the heart of a system: its C library, or the loader."""
    return is_loader(path) or _C_LIBRARY.fullmatch(path.rpartition("/")[2]) is not None


def _nature(file: ElfFile) -> str:
    """Why a file of another machine is none that anybody would run here; empty if it is one."""
    header = file.program.header
    if not header.architecture:
        return "for no machine that images are made for"
    if header.kind == elf.RELOCATABLE:
        return "object files"
    if not header.loadable:
        return "neither programs nor libraries"
    if file.path.startswith(_FIRMWARE):
        return "firmware"
    if "/testdata/" in file.path:
        return "test data"
    if file.path.rpartition("/")[2] in _EMULATORS:
        return "emulators"
    is_program = header.kind == elf.EXECUTABLE or bool(file.program.loader)
    return "not executable" if is_program and not file.program.executable else ""


class _Company:
    """What is around the strangers in an image that has files of its own machine."""

    def __init__(self, own: Iterable[ElfFile], strangers: Iterable[ElfFile], arch: str) -> None:
        self._siblings = {key for file in own for key in _keys(file.path, arch)}
        self._systems = {file.program.machine for file in strangers if _is_system(file.path)}

    def excuse(self, file: ElfFile) -> str:
        """Why a stranger is meant to be where it is; empty when nothing says so."""
        machine = file.program.machine
        parts = file.path.split("/")
        for at, part in enumerate(parts[1:-1], 1):
            # Libraries for another machine are of use only with the rest of its system.
            if _is_triplet(part, machine) and (
                machine in self._systems
                or parts[:at] == ["", "usr"]
                or parts[at - 1] in _TOOL_CHAINS
            ):
                return f"in {part}, with the rest for {machine}"
        if not self._siblings.isdisjoint(_keys(file.path, machine)):
            return "beside the same for this machine"
        return ""


def _is_triplet(name: str, machine: str) -> bool:
    """Whether a directory is called by a compiler's name for the machine: `aarch64-linux-gnu`."""
    found = _pattern(machine)
    match = found.match(name) if found else None
    return match is not None and _SYSTEM.fullmatch(name, match.end()) is not None


def _keys(path: str, machine: str) -> set[tuple[str, str]]:
    """Where the path names the machine: the directory in which it does; with the name of the file,
    less that of the machine, where it is the file. Equal for what is meant for several machines."""
    pattern = _pattern(machine)
    if pattern is None or pattern.search(path) is None:
        return set()
    parts = path.split("/")
    keys = {
        ("/".join(parts[:at]), "")
        for at, part in enumerate(parts[:-1])
        # Where a distribution keeps its libraries says nothing about those of others beside it.
        if pattern.search(part) and not _is_triplet(part, machine)
    }
    if pattern.search(parts[-1]):
        keys.add(("/".join(parts[:-1]), pattern.sub("*", parts[-1])))
    return keys


@cache
def _pattern(machine: str) -> re.Pattern[str] | None:
    words = _WORDS.get(machine, (re.escape(machine),) if machine else ())
    if not words:
        return None
    return re.compile(rf"(?<![a-z0-9])(?:{'|'.join(words)})(?![a-z0-9])", re.IGNORECASE)
