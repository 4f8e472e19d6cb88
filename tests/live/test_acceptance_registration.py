"""Acceptance: emulators, registered or not (S-30 to S-36).

Tables of emulators are those of namespaces made for a test: to a command in it, the machine's.
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.parts import machine, readers, traces
from tests.parts.command import VIADUCT, viaduct
from tests.parts.contexts import BOTH, Context
from tests.parts.users import ordinary_user

from viaduct.sandbox import probe
from viaduct.sandbox.machines import MACHINES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.parts.users import User

TABLE = "/proc/sys/fs/binfmt_misc"
OURS = " ".join(VIADUCT)


@pytest.fixture(scope="module")
def ann() -> Iterator[User]:
    """An ordinary user."""
    with ordinary_user() as user:
        yield user


def in_new_machine(script: str) -> subprocess.CompletedProcess[str]:
    """Type commands as root of a machine where no emulator is registered; `viaduct` is one."""
    return subprocess.run(
        [*machine.with_own_table(), "sh", "-c", f'viaduct() {{ {OURS} "$@"; }}\n{script}'],
        capture_output=True,
        text=True,
        check=False,
    )


def installed(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("installing: ")]


def test_s30_no_engine_no_daemon_and_no_root_are_needed(
    ann: User, busybox: str, registry: str
) -> None:
    """And registering for the whole machine is offered to who has the right to."""
    assert ann.uid != 0
    (ann.home / "Dockerfile").write_text(f"FROM {busybox}\nRUN uname -m > /machine\n")
    ann.own(ann.home)
    name = f"{registry}/s30:1"
    ann.viaduct("build", *BOTH, "-t", name, "--push", ".")
    assert readers.platforms(f"docker://{name}") == ["linux/amd64", "linux/arm64"]
    assert traces.settled(str(ann.home)) == [], "no daemon"
    root = in_new_machine("viaduct binfmt --install arm64")
    assert installed(root) == ["installing: arm64 OK"]
    assert "Viaduct's builds need none of this" in root.stderr


def test_s31_registering_what_is_registered_succeeds_and_changes_nothing() -> None:
    listing = f"cat {TABLE}/qemu-*"
    done = in_new_machine(
        f"viaduct binfmt --install all 2>/dev/null; {listing}\n"
        f"echo again; viaduct binfmt --install all; echo $?; {listing}"
    )
    before, _, after = done.stdout.partition("again\n")
    assert after == f"0\n{before}"
    assert "installing: arm64 qemu-aarch64 already registered" in installed(done)


def test_s32_one_command_registers_and_ends(ann: User, clean_env: Path) -> None:
    for names in ("all", "arm64,riscv64"):
        done = in_new_machine(f"viaduct binfmt --install {names}; echo $?; ls {TABLE}")
        status, *entries = done.stdout.split()
        assert status == "0"
        assert {"qemu-aarch64", "qemu-riscv64"} <= set(entries)
        assert ("qemu-s390x" in entries) == (names == "all")
    assert traces.settled(str(clean_env)) == [], "no process stays"
    refused = ann.viaduct("binfmt", "--install", "all", check=False)
    assert refused.returncode == 1
    error, hint = refused.stderr.decode().splitlines()
    assert re.match(rf"ERROR: (EPERM|ENOENT) opening {TABLE}/register ", error)
    assert "sudo viaduct binfmt --install all" in hint


def test_s33_each_architecture_has_its_line_in_the_guides_order() -> None:
    lines = installed(in_new_machine("viaduct binfmt --install all"))
    assert lines[:3] == ["installing: arm64 OK", "installing: amd64 OK", "installing: riscv64 OK"]
    assert {"installing: ppc64le OK", "installing: s390x OK"} <= set(lines[3:])
    assert all(re.fullmatch(r"installing: \w+ OK", line) for line in lines)


def test_s34_the_registration_can_be_asked_for_and_its_loss_is_noticed_at_the_start(
    context: Context,
) -> None:
    done = in_new_machine("viaduct binfmt --install arm64 2>/dev/null; viaduct binfmt --json")
    document = json.loads(done.stdout)
    assert document["emulators"] == ["qemu-aarch64"]
    assert "linux/arm64" in document["supported"]
    context.dockerfile("FROM BASE\nRUN echo native\nRUN uname -m\n")
    register = f"{OURS} binfmt --install arm64 2>/dev/null"
    there = machine.with_own_table(register, old_kernel=True)
    context.build("--platform", "linux/arm64", around=there)
    # What a reboot leaves of it.
    gone = machine.with_own_table(f"{register}; echo -1 > {TABLE}/qemu-aarch64", old_kernel=True)
    lost = context.build("--platform", "linux/arm64", around=gone, check=False)
    assert lost.status == 1
    assert "RUN" not in lost.stderr
    assert "hint: sudo viaduct binfmt --install arm64\n" in lost.stderr


def test_s35_a_foreign_step_without_a_handler_is_told_cause_and_fix(context: Context) -> None:
    """Before the build starts where the platform says so; a program that nobody announced ends its
    step with the kernel's words."""
    context.dockerfile("FROM BASE\nRUN uname -m\n")
    empty = machine.with_own_table(old_kernel=True)
    known = context.build("--platform", "linux/arm64", around=empty, check=False)
    assert known.status == 1
    assert "cannot run arm64 programs: no emulator is registered" in known.stderr
    assert "hint: sudo viaduct binfmt --install arm64\n" in known.stderr
    assert "RUN" not in known.stderr
    context.file("stray", probe.program(MACHINES["riscv64"]), mode=0o755)
    context.dockerfile('FROM scratch\nCOPY stray /stray\nRUN ["/stray"]\n')
    stray = context.build(around=empty, check=False)
    assert stray.status == 1
    assert stray.log.step('RUN ["/stray"]').output == ["exec /stray: exec format error"]
    assert "cannot run riscv64 programs: no emulator is registered" in stray.stderr
    assert "hint: sudo viaduct binfmt --install riscv64\n" in stray.stderr


def test_s36_the_kernels_table_lists_what_was_registered() -> None:
    listing = f"ls {TABLE}/ | grep qemu"
    names = in_new_machine(f"viaduct binfmt --install all 2>/dev/null; {listing}").stdout.split()
    assert "qemu-aarch64" in names
    # An amd64 host emulates no amd64, so that the guide's qemu-x86_64 is there on other hosts.
    here = viaduct("binfmt", "--json").stdout
    assert ("qemu-x86_64" in names) == (json.loads(here)["supported"][0] != "linux/amd64")
