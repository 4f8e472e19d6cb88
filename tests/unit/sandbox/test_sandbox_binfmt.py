"""Reading and changing a table of emulators, on directories that look like one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from viaduct.base.errors import SandboxError
from viaduct.sandbox import binfmt
from viaduct.sandbox.binfmt import Outcome
from viaduct.sandbox.machines import MACHINES, Machine

if TYPE_CHECKING:
    from pathlib import Path

_ARM64 = MACHINES["arm64"]


def _entry(machine: Machine, *, flags: str = "POCF", state: str = "enabled") -> str:
    return (
        f"{state}\ninterpreter /usr/bin/{machine.handler}-static\nflags: {flags}\noffset 0\n"
        f"magic {machine.magic.hex()}\nmask {machine.mask.hex()}\n"
    )


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table with a handler for riscv64 and one for something that is no machine."""
    (tmp_path / "status").write_text("enabled\n")
    (tmp_path / "register").write_text("")
    (tmp_path / "qemu-riscv64").write_text(_entry(MACHINES["riscv64"]))
    (tmp_path / "python3.11").write_text(
        "enabled\ninterpreter /usr/bin/python3.11\nflags: \noffset 0\nmagic a70d0d0a\n"
    )
    return tmp_path


def _find(machine: Machine) -> str | None:
    return f"/opt/{machine.handler}" if machine.arch != "loong64" else None


def _install(table: Path, *arches: str) -> tuple[Outcome, ...]:
    return binfmt.install(
        arches, table, find=_find, kernel=(6, 1), natives=frozenset({"amd64", "386"})
    )


def test_a_table_is_read_without_its_controls(table: Path) -> None:
    found = binfmt.status(table)
    assert (found.mounted, found.enabled) == (True, True)
    assert [entry.name for entry in found.registrations] == ["python3.11", "qemu-riscv64"]
    assert found.registrations[1].flags == "POCF"


def test_a_table_that_is_not_mounted_has_nothing(tmp_path: Path) -> None:
    assert binfmt.status(tmp_path) == binfmt.Status()


def test_an_emulator_is_registered_by_the_line_of_its_machine(table: Path) -> None:
    assert _install(table, "arm64") == (Outcome("arm64", "ok"),)
    # The program of this test does not exist, so nothing is known of its version.
    assert (table / "register").read_bytes() == binfmt.line(_ARM64, "/opt/qemu-aarch64", "FCP")


def test_every_architecture_has_its_own_outcome(table: Path) -> None:
    assert _install(table, "amd64", "riscv64", "loong64", "vax") == (
        Outcome("amd64", "native", "runs without an emulator"),
        Outcome("riscv64", "exists", "qemu-riscv64 already registered"),
        Outcome("loong64", "missing", "qemu-loongarch64-static is not installed"),
        Outcome("vax", "unsupported", "unsupported architecture: vax"),
    )
    assert (table / "register").read_bytes() == b""


def test_our_own_machine_never_gets_an_emulator(table: Path) -> None:
    """Its handler would have to run the emulator itself, and nothing would start any more."""
    (outcome,) = _install(table, "amd64")
    assert outcome.done
    assert (table / "register").read_bytes() == b""


def test_a_handler_of_another_name_will_do(table: Path) -> None:
    (table / "rosetta").write_text(_entry(_ARM64))
    assert _install(table, "arm64") == (Outcome("arm64", "exists", "rosetta already registered"),)


@pytest.mark.parametrize(
    ("flags", "state", "why"),
    [("OC", "enabled", "without flag F"), ("POCF", "disabled", "but switched off")],
)
def test_a_handler_that_does_not_serve_images_is_no_success(
    table: Path, flags: str, state: str, why: str
) -> None:
    (table / "qemu-aarch64").write_text(_entry(_ARM64, flags=flags, state=state))
    (outcome,) = _install(table, "arm64")
    assert not outcome.done
    assert outcome.detail == (
        f"qemu-aarch64 already registered, {why}; replace it: "
        "--uninstall qemu-aarch64 --install arm64"
    )


def test_handlers_are_removed_by_any_of_their_names(table: Path) -> None:
    (table / "qemu-aarch64").write_text(_entry(_ARM64))
    done = binfmt.uninstall(["arm64", "aarch64", "riscv64", "vax"], table)
    assert done == (
        Outcome("arm64", "ok"),
        Outcome("riscv64", "ok"),
        Outcome("vax", "missing", "not found"),
    )
    assert (table / "qemu-aarch64").read_text().startswith("-1")
    assert (table / "qemu-riscv64").read_text().startswith("-1")


@pytest.mark.parametrize("name", ["all", "qemu-*"])
def test_all_emulators_are_removed_and_nothing_else(table: Path, name: str) -> None:
    assert binfmt.uninstall([name], table) == (Outcome("qemu-riscv64", "ok"),)
    assert (table / "python3.11").read_text().startswith("enabled")


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SandboxError) as caught:
        binfmt.uninstall(["arm64"], tmp_path)
    assert caught.value.what == f"ENOENT opening {tmp_path}/register is it mounted?"
