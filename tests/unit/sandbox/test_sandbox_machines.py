from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.parts import rootfs

from viaduct.oci.elf import HEADER_SIZE
from viaduct.sandbox import binfmt, probe
from viaduct.sandbox.binfmt import Registration
from viaduct.sandbox.kernel import version
from viaduct.sandbox.machines import MACHINES, of_header, of_uname

# As the kernel prints an entry that Debian's package made.
_DEBIAN = r"""enabled
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: POCF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""


@pytest.mark.parametrize("arch", MACHINES)
def test_a_program_is_told_by_its_header_and_only_its_own_handler_takes_it(arch: str) -> None:
    header = probe.program(MACHINES[arch])[:HEADER_SIZE]
    assert of_header(header) == arch
    takers = [
        other.arch
        for other in MACHINES.values()
        if Registration(other.handler, "", magic=other.magic, mask=other.mask).handles(
            MACHINES[arch]
        )
    ]
    assert takers == [arch]


# The machines of the peers' tool: handler, ELF machine, class, byte order.
_PEERS = {
    "amd64": ("qemu-x86_64", 0x3E, 64, "little"),
    "arm64": ("qemu-aarch64", 0xB7, 64, "little"),
    "arm": ("qemu-arm", 0x28, 32, "little"),
    "s390x": ("qemu-s390x", 0x16, 64, "big"),
    "ppc64le": ("qemu-ppc64le", 0x15, 64, "little"),
    "riscv64": ("qemu-riscv64", 0xF3, 64, "little"),
    "386": ("qemu-i386", 0x03, 32, "little"),
    "mips64le": ("qemu-mips64el", 0x08, 64, "little"),
    "mips64": ("qemu-mips64", 0x08, 64, "big"),
    "loong64": ("qemu-loongarch64", 0x102, 64, "little"),
}


@pytest.mark.parametrize("arch", _PEERS)
def test_machines_are_those_of_the_peers(arch: str) -> None:
    machine = MACHINES[arch]
    order = "big" if machine.big else "little"
    assert (machine.handler, machine.code, machine.bits, order) == _PEERS[arch]


def test_compiled_programs_match_the_handler_of_their_machine_only() -> None:
    """Programs that compilers made: our own interpreter, and busybox of both architectures."""
    own = Path(sys.executable).resolve()
    programs = [(of_uname(os.uname().machine), own)]
    programs += [(arch, rootfs.busybox_tree(arch) / "bin/busybox") for arch in ("amd64", "arm64")]
    for arch, program in programs:
        header = program.read_bytes()[:HEADER_SIZE]
        takers = [
            name
            for name, machine in MACHINES.items()
            if all(
                byte & bits == magic & bits
                for byte, magic, bits in zip(header, machine.magic, machine.mask, strict=True)
            )
        ]
        assert takers == [arch]


def test_shared_objects_and_gnu_programs_count_as_well() -> None:
    header = bytearray(MACHINES["arm64"].magic)
    header[7] = 3  # OS ABI: GNU/Linux
    header[16] = 3  # ET_DYN
    assert of_header(bytes(header)) == "arm64"
    header[16] = 4  # ET_CORE
    assert of_header(bytes(header)) == "unknown (0xb7)"


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\necho hello world\n", b"\x7fELF\x02\x01"])
def test_what_is_no_program_has_no_machine(data: bytes) -> None:
    assert of_header(data) == ""


def test_uname_says_the_architecture() -> None:
    assert of_uname("x86_64") == "amd64"
    assert of_uname("armv7l") == "arm"
    assert of_uname("vax") == "vax"


def test_a_registration_line_is_what_the_kernel_documents() -> None:
    assert binfmt.line(MACHINES["arm64"], "/usr/bin/qemu-aarch64-static", "FCP") == (
        rb":qemu-aarch64:M:0:"
        rb"\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:"
        rb"\xff\xff\xff\xff\xff\xff\xff\x00\x00\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:"
        rb"/usr/bin/qemu-aarch64-static:FCP"
    )


def test_argv0_is_preserved_only_where_the_emulator_learns_of_it() -> None:
    assert binfmt.flags_for((5, 12), (7, 2, 22)) == "FCP"
    assert binfmt.flags_for((6, 18), (0, 0, 0)) == "FCP"
    assert binfmt.flags_for((5, 11), (7, 2, 22)) == "FC"
    assert binfmt.flags_for((6, 18), (5, 2, 0)) == "FC"


def test_an_entry_of_the_kernels_table_is_understood() -> None:
    entry = binfmt.parse("qemu-aarch64", _DEBIAN)
    assert entry.enabled
    assert entry.flags == "POCF"
    assert entry.interpreter == "/usr/libexec/qemu-binfmt/aarch64-binfmt-P"
    assert entry.handles(MACHINES["arm64"])
    assert not entry.handles(MACHINES["riscv64"])
    assert not binfmt.parse("x", _DEBIAN.replace("enabled", "disabled")).handles(MACHINES["arm64"])


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("6.18.44-fc-v769", (6, 18)),
        ("5.10.0-28-amd64", (5, 10)),
        ("6.7+", (6, 7)),
        ("4.18.0-553.el8_10.x86_64", (4, 18)),
        ("odd", (0, 0)),
    ],
)
def test_kernel_releases_are_read(release: str, expected: tuple[int, int]) -> None:
    assert version(release) == expected
