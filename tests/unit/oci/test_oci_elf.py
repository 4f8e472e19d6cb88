"""The machine of a program is known from its first bytes."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

from viaduct.oci.elf import HEADER_SIZE, architecture
from viaduct.oci.platform import native


def header(machine: int, bits: int = 64, order: str = "<") -> bytes:
    ident = bytes([0x7F, *b"ELF", bits // 32, 1 if order == "<" else 2, 1, 0]) + bytes(8)
    return ident + struct.pack(f"{order}HH", 2, machine)


@pytest.mark.parametrize(
    ("machine", "bits", "order", "expected"),
    [
        (62, 64, "<", "amd64"),
        (3, 32, "<", "386"),
        (183, 64, "<", "arm64"),
        (40, 32, "<", "arm"),
        (21, 64, "<", "ppc64le"),
        (22, 64, ">", "s390x"),
        (243, 64, "<", "riscv64"),
        (8, 64, "<", "mips64le"),
        (8, 32, ">", "mips"),
        (258, 64, "<", "loong64"),
        (247, 64, "<", ""),
        (9999, 64, "<", ""),
        (183, 32, "<", ""),
    ],
)
def test_machines(machine: int, bits: int, order: str, expected: str) -> None:
    assert architecture(header(machine, bits, order)) == expected


@pytest.mark.parametrize(
    "data", [b"", b"\x7fELF", header(62)[:19], b"#!/bin/sh\n" + bytes(20), bytes(20)]
)
def test_what_is_no_program(data: bytes) -> None:
    assert architecture(data) == ""


def test_this_interpreter_is_for_this_machine() -> None:
    with Path(sys.executable).resolve().open("rb") as file:
        assert architecture(file.read(HEADER_SIZE)) == native().architecture
