"""What the beginning of an ELF file says of it: for which machine, what kind of file, which loader.

Pure; whatever the bytes pretend to be, nothing is raised.
"""

from __future__ import annotations

import os
import struct
from typing import Final

from viaduct.base.values import Value

MAGIC: Final = b"\x7fELF"
#: So many bytes at the start of a file tell its machine.
HEADER_SIZE: Final = 20
#: So many bytes hold the headers of a program and the name of its loader.
HEAD: Final = 4096

#: `e_type`: what is linked before it runs, and what a kernel or a loader takes as it is.
RELOCATABLE: Final = 1
EXECUTABLE: Final = 2
SHARED: Final = 3

_INTERP: Final = 3

# e_machine of the System V ABI and its supplements → (32-bit little, 32-bit big, 64-bit little,
# 64-bit big) in the names that OCI platforms use; "" where no such machine exists.
_MACHINES: Final = {
    3: ("386", "", "", ""),
    8: ("mipsle", "mips", "mips64le", "mips64"),
    20: ("", "ppc", "", ""),
    21: ("", "", "ppc64le", "ppc64"),
    22: ("", "s390", "", "s390x"),
    40: ("arm", "armbe", "", ""),
    43: ("", "", "", "sparc64"),
    62: ("amd64", "", "amd64", ""),
    183: ("", "", "arm64", "arm64be"),
    243: ("riscv", "", "riscv64", ""),
    258: ("", "", "loong64", ""),
}


class Header(Value):
    """The fields that tell ELF files apart: word size, byte order, `e_type` and `e_machine`."""

    bits: int
    big: bool
    kind: int
    code: int

    @property
    def architecture(self) -> str:
        """The OCI architecture (`amd64`, `arm64`, …); empty for a machine that images are not made
        for (eBPF objects, for example, run on every machine)."""
        names = _MACHINES.get(self.code)
        return "" if names is None else names[2 * (self.bits == 64) + self.big]

    @property
    def loadable(self) -> bool:
        """Whether it is an executable or a shared object (which position independent executables
        are as well)."""
        return self.kind in (EXECUTABLE, SHARED)


def header(data: bytes) -> Header | None:
    """The header of a file that begins with `data`; None when it is no ELF file."""
    if len(data) < HEADER_SIZE or not data.startswith(MAGIC):
        return None
    big = data[5] == 2
    kind, code = struct.unpack_from(">HH" if big else "<HH", data, 16)
    return Header(64 if data[4] == 2 else 32, big, kind, code)


def architecture(data: bytes) -> str:
    """The architecture of an ELF file that begins with `data`; empty when the bytes are no ELF
    header, or one of no machine that images are made for."""
    found = header(data)
    return "" if found is None else found.architecture


def loader(head: bytes) -> str:
    """The dynamic loader named in the first `HEAD` bytes of an ELF program (PT_INTERP); empty for
    one that is linked statically."""
    try:
        order = ">" if head[5] == 2 else "<"
        wide = head[4] == 2
        (at,) = struct.unpack_from(f"{order}{'Q' if wide else 'I'}", head, 32 if wide else 28)
        size, count = struct.unpack_from(f"{order}HH", head, 54 if wide else 42)
        for start in (at + size * index for index in range(count)):
            if struct.unpack_from(f"{order}I", head, start)[0] == _INTERP:
                fields = f"{order}{'QQQQ' if wide else 'IIII'}"
                offset, _, _, length = struct.unpack_from(fields, head, start + (8 if wide else 4))
                return os.fsdecode(head[offset : offset + length].split(b"\0", 1)[0])
    except (struct.error, IndexError, OverflowError):
        return ""
    return ""
