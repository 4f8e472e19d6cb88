"""Does a program for this machine run here? The answer comes from running one.

For every architecture there is a static ELF program of about 150 bytes, put together here, that
ends at once. It is executed from memory, through whatever the kernel would use for any program of
that machine: the processor itself, or an emulator registered in binfmt_misc.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
from typing import TYPE_CHECKING

from viaduct.sandbox.machines import MACHINES, Machine

if TYPE_CHECKING:
    from collections.abc import Iterable

# An emulator starts within some milliseconds; one that hangs counts as broken.
_PATIENCE = 10.0
_BASE = 0x400000
_PAGE = 0x10000

# exit(0) in each machine's code, as the words that its manual gives, in its byte order.
_EXIT: dict[str, tuple[int, ...]] = {
    "arm64": (0xD2800000, 0xD2800BA8, 0xD4000001),  # mov x0, 0; mov x8, 93; svc 0
    "riscv64": (0x00000513, 0x05D00893, 0x00000073),  # li a0, 0; li a7, 93; ecall
    "ppc64": (0x38000001, 0x38600000, 0x44000002),  # li 0, 1; li 3, 0; sc
    "ppc64le": (0x38000001, 0x38600000, 0x44000002),
    "s390x": (0xA7290000, 0x0A010000),  # lghi %r2, 0; svc 1
    "mips64le": (0x24040000, 0x240213C2, 0x0000000C),  # li a0, 0; li v0, 5058; syscall
    "mips64": (0x24040000, 0x240213C2, 0x0000000C),
    "loong64": (0x03800004, 0x0381740B, 0x002B0000),  # li a0, 0; li a7, 93; syscall 0
    "arm": (0xE3A00000, 0xE3A07001, 0xEF000000),  # mov r0, 0; mov r7, 1; svc 0
}

# mov eax, 1; xor ebx, ebx; int 0x80
_EXIT_386 = bytes.fromhex("b801000000 31db cd80")

# SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2 and POPCNT: with LAHF, what makes an x86-64-v2.
_V2 = (0x982201).to_bytes(4, "little")

# Ends with 64 + the x86-64 level, 1 or 2. A program that is run through the wrong emulator, or by
# something that only pretends, does not.
_LEVEL_AMD64 = (
    bytes.fromhex("b801000000 0fa2 81e1")  # mov eax, 1; cpuid; and ecx, V2
    + _V2
    + bytes.fromhex("81f9")  # cmp ecx, V2
    + _V2
    + bytes.fromhex("7513")  # jne v1
    + bytes.fromhex("b801000080 0fa2 f6c101")  # mov eax, 0x80000001; cpuid; test cl, 1
    + bytes.fromhex("7407")  # jz v1
    + bytes.fromhex("bf42000000 eb05")  # mov edi, 66; jmp exit
    + bytes.fromhex("bf41000000")  # v1: mov edi, 65
    + bytes.fromhex("b83c000000 0f05")  # exit: mov eax, 60; syscall
)

# What an ELF header says about the calling convention.
_FLAGS = {
    "arm": 0x05000000,  # EABI version 5
    "ppc64": 2,  # ELFv2: the entry point is code, not a descriptor
    "ppc64le": 2,
    "mips64": 0x60000000,  # MIPS64, n64 ABI
    "mips64le": 0x60000000,
    "loong64": 0x3,  # LP64 with doubles in registers
    "riscv64": 0x4,  # likewise
}


def program(machine: Machine) -> bytes:
    """The bytes of a static executable for `machine` that ends at once."""
    code = _code(machine)
    order = ">" if machine.big else "<"
    wide = machine.bits == 64
    head, segment = (64, 56) if wide else (52, 32)
    size = head + segment + len(code)
    word = "Q" if wide else "I"
    header = machine.magic + struct.pack(
        f"{order}I{word}{word}{word}IHHHHHH",
        1,
        _BASE + head + segment,
        head,
        0,
        _FLAGS.get(machine.arch, 0),
        head,
        segment,
        1,
        0,
        0,
        0,
    )
    # One loadable segment, readable and executable, that is the whole file.
    load, readable = 1, 5
    if wide:
        fields = (load, readable, 0, _BASE, _BASE, size, size, _PAGE)
        return header + struct.pack(f"{order}IIQQQQQQ", *fields) + code
    fields = (load, 0, _BASE, _BASE, size, size, readable, _PAGE)
    return header + struct.pack(f"{order}IIIIIIII", *fields) + code


def run(arch: str) -> int | None:
    """Execute a program for `arch`: its exit status, or None when it could not run to its end.

    0 means that it ran; for amd64, 64 + the x86-64 level does.
    """
    return run_all((arch,))[arch]


def run_all(arches: Iterable[str]) -> dict[str, int | None]:
    """What `run` says of each of `arches`, found out side by side."""
    children = {arch: _start(arch) for arch in arches}
    return {arch: _wait(child) if child else None for arch, child in children.items()}


def runs(arch: str) -> bool:
    """Whether programs for `arch` run here."""
    return ran(arch, run(arch))


def ran(arch: str, status: int | None) -> bool:
    """Whether `status`, which the program for `arch` ended with, means that it ran."""
    return status in ((65, 66) if arch == "amd64" else (0,))


def _start(arch: str) -> int:
    """Start the program for `arch`; its process, or 0 when the kernel has no use for it."""
    writer = _memory_file()
    try:
        os.write(writer, program(MACHINES[arch]))
        # A file that somebody may write cannot be executed, so it is opened once more to read.
        reader = os.open(f"/proc/self/fd/{writer}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(writer)
    try:
        # An emulator that was registered without flag C opens the program by its path.
        os.set_inheritable(reader, True)  # noqa: FBT003 - the parameter has no name
        null = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
        actions = (null, (os.POSIX_SPAWN_DUP2, 1, 2))
        return os.posix_spawn(f"/proc/self/fd/{reader}", ["probe"], {}, file_actions=actions)
    except OSError:
        return 0
    finally:
        os.close(reader)


def _code(machine: Machine) -> bytes:
    if machine.arch == "amd64":
        return _LEVEL_AMD64
    if machine.arch == "386":
        return _EXIT_386
    # s390x fetches instructions most significant byte first, as the other big-endian ones do.
    order = ">" if machine.big else "<"
    words = _EXIT[machine.arch]
    return struct.pack(f"{order}{len(words)}I", *words)


def _memory_file() -> int:
    executable = 0x10  # MFD_EXEC; demanded by some hardened settings since 6.3, unknown before
    try:
        return os.memfd_create("probe", os.MFD_CLOEXEC | executable)
    except OSError:
        return os.memfd_create("probe", os.MFD_CLOEXEC)


def _wait(child: int) -> int | None:
    handle = os.pidfd_open(child)
    try:
        ending = select.poll()
        ending.register(handle, select.POLLIN)
        if not ending.poll(_PATIENCE * 1000):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
    finally:
        os.close(handle)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else None
