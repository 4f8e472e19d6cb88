"""The machines that programs are compiled for: names, ELF headers, emulators. Pure.

Architecture names are those of platforms (`arm64`); `arm` covers its variants.
"""

from __future__ import annotations

import struct
from functools import cached_property

from viaduct.base.values import Value
from viaduct.oci import elf


class Machine(Value, dict=True):
    """One architecture.

    `emulator` is QEMU's name for it, `code` the ELF `e_machine`, `bits` the ELF class, `big` the
    byte order; `unames` are what `uname -m` says on it.
    """

    arch: str
    emulator: str
    code: int
    unames: tuple[str, ...]
    bits: int = 64
    big: bool = False

    @cached_property
    def magic(self) -> bytes:
        """The first 20 bytes of an executable for this machine."""
        ident = elf.MAGIC + bytes((self.bits // 32, 2 if self.big else 1, 1)) + bytes(9)
        return ident + struct.pack(">HH" if self.big else "<HH", 2, self.code)

    @cached_property
    def mask(self) -> bytes:
        """Which bits of `magic` count: not the OS ABI and its version (GNU programs set them), and
        executables (2) as well as shared objects (3, position independent programs) pass."""
        kind = b"\xff\xfe" if self.big else b"\xfe\xff"
        return b"\xff" * 7 + b"\x00\x00" + b"\xff" * 7 + kind + b"\xff\xff"

    @property
    def handler(self) -> str:
        """The name of its registration in binfmt_misc, as every tool calls it."""
        return f"qemu-{self.emulator}"

    @property
    def programs(self) -> tuple[str, ...]:
        """File names of a static emulator, Debian's first."""
        return (f"{self.handler}-static", self.handler)


_ALL = (
    Machine("amd64", "x86_64", 0x3E, ("x86_64",)),
    Machine("arm64", "aarch64", 0xB7, ("aarch64",)),
    Machine("riscv64", "riscv64", 0xF3, ("riscv64",)),
    Machine("ppc64", "ppc64", 0x15, ("ppc64",), big=True),
    Machine("ppc64le", "ppc64le", 0x15, ("ppc64le",)),
    Machine("s390x", "s390x", 0x16, ("s390x",), big=True),
    Machine("386", "i386", 0x03, ("i386", "i486", "i586", "i686"), bits=32),
    Machine("mips64le", "mips64el", 0x08, ()),
    Machine("mips64", "mips64", 0x08, ("mips64",), big=True),
    Machine("loong64", "loongarch64", 0x102, ("loongarch64",)),
    Machine("arm", "arm", 0x28, ("armv6l", "armv7l", "armv8l"), bits=32),
)

#: Every architecture that can be emulated, in the order in which the peers list platforms.
MACHINES = {machine.arch: machine for machine in _ALL}


def of_uname(name: str) -> str:
    """The architecture of `uname -m`; the name itself when it is unknown."""
    return next((machine.arch for machine in _ALL if name in machine.unames), name)


def of_header(header: bytes) -> str:
    """The architecture of an ELF program by its first 20 bytes.

    Empty when it is no ELF program; `unknown (0x…)` when it is one for a machine not listed here.
    """
    found = elf.header(header)
    if found is None:
        return ""
    for machine in _ALL if found.loadable else ():
        if (machine.code, machine.bits, machine.big) == (found.code, found.bits, found.big):
            return machine.arch
    return f"unknown ({found.code:#x})"
