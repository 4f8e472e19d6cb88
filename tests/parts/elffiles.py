"""ELF files as an audit of an image finds them."""

from __future__ import annotations

from viaduct.engine.audit.facts import ElfFile, Program
from viaduct.oci import elf
from viaduct.sandbox.machines import MACHINES


def file(
    path: str,
    machine: str = "amd64",
    kind: int = elf.EXECUTABLE,
    *,
    layer: int = 0,
    loader: str = "",
    executable: bool = True,
) -> ElfFile:
    """A program, or another `kind` of file, for `machine`."""
    header = elf.header(MACHINES[machine].magic)
    assert header is not None
    told = elf.Header(header.bits, header.big, kind, header.code)
    return ElfFile(path, layer, Program(told, loader, executable))


def library(path: str, machine: str = "amd64") -> ElfFile:
    """A shared object."""
    return file(path, machine, elf.SHARED, executable=False)
