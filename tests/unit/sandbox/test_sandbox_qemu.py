"""What is known of an emulator from its file and from what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from viaduct.sandbox import probe, qemu
from viaduct.sandbox.emulate import find_emulator
from viaduct.sandbox.machines import MACHINES
from viaduct.sandbox.qemu import Emulator, known_bugs

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("qemu-aarch64 version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright", (7, 2, 22)),
        ("qemu-arm version 10.2.3\n", (10, 2, 3)),
        ("qemu-s390x version 6.2 (Debian 1:6.2+dfsg-2ubuntu6)\n", (6, 2, 0)),
        ("usage: something else", (0, 0, 0)),
        ("", (0, 0, 0)),
    ],
)
def test_the_version_is_read_from_what_an_emulator_says(text: str, version: qemu.Version) -> None:
    assert qemu.parse_version(text) == version


def test_an_emulator_that_cannot_be_asked_has_no_version(tmp_path: Path) -> None:
    assert qemu.version(str(tmp_path / "absent")) == (0, 0, 0)
    data = tmp_path / "data"
    data.write_bytes(b"\x7fELF")
    assert qemu.version(str(data)) == (0, 0, 0)
    assert Emulator("arm64", "x").release == "of unknown version"


@pytest.mark.parametrize(
    ("arch", "version", "pie", "symptoms"),
    [
        ("arm64", (7, 2, 22), True, []),
        ("arm64", (8, 1, 5), True, []),
        ("arm64", (9, 2, 0), True, ["ldconfig"]),
        ("arm64", (9, 2, 1), True, ["ldconfig"]),
        ("arm64", (9, 2, 2), True, []),
        ("arm64", (10, 1, 3), True, ["ldconfig"]),
        ("arm64", (10, 2, 1), True, []),
        ("riscv64", (9, 2, 0), True, []),
        ("arm64", (8, 1, 5), False, ["position independent"]),
        ("arm64", (9, 2, 0), False, ["position independent", "ldconfig"]),
        ("amd64", (7, 1, 0), True, ["AVX"]),
        ("amd64", (7, 2, 0), True, []),
        ("amd64", (0, 0, 0), False, []),
    ],
)
def test_known_bugs_are_found_by_version_machine_and_linkage(
    arch: str, version: qemu.Version, symptoms: list[str], *, pie: bool
) -> None:
    found = known_bugs(Emulator(arch, "/qemu", version, pie=pie))
    assert len(found) == len(symptoms)
    assert all(part in bug.symptom for part, bug in zip(symptoms, found, strict=True))


def test_debians_emulator_is_static_and_known() -> None:
    program = find_emulator(MACHINES["arm64"])
    assert program is not None
    found = qemu.look("arm64", program)
    assert found.version >= (5, 2, 0)
    assert found.version == qemu.version_beside(program)
    assert qemu.is_static(program)


def test_an_emulator_that_needs_libraries_or_is_none_is_passed_over(tmp_path: Path) -> None:
    machine = MACHINES["arm64"]
    assert not qemu.is_static("/bin/true")
    (tmp_path / "qemu-aarch64-static").symlink_to("/bin/true")
    (tmp_path / "qemu-aarch64").write_text("#!/bin/sh\n")
    assert find_emulator(machine, tmp_path) is None
    (tmp_path / "qemu-aarch64").write_bytes(probe.program(MACHINES["amd64"]))
    assert find_emulator(machine, tmp_path) == str(tmp_path / "qemu-aarch64")
