"""`viaduct binfmt` on a real table of the kernel's: that of a user namespace made for the test.

The machine's own table is looked at, and is the same before and after.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.parts import machine
from tests.parts.command import VIADUCT, viaduct
from tests.parts.users import ordinary_user

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.parts.users import User

_TABLE = "/proc/sys/fs/binfmt_misc"
_EVERY = "amd64 arm64 riscv64 ppc64 ppc64le s390x 386 mips64le mips64 loong64 arm".split()


def _sh(script: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run shell commands as root of a namespace with an empty table; `viaduct` is ours."""
    text = f'viaduct() {{ {" ".join(VIADUCT)} "$@"; }}\n{script}'
    done = subprocess.run(
        [*machine.with_own_table(), "sh", "-c", text], capture_output=True, text=True, check=False
    )
    assert not check or done.returncode == 0, f"{done.returncode}\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module", autouse=True)
def _machines_own_table() -> Iterator[None]:
    before = viaduct("binfmt", "--json").stdout
    yield
    assert viaduct("binfmt", "--json").stdout == before


@pytest.fixture(scope="module")
def ann() -> Iterator[User]:
    with ordinary_user() as user:
        yield user


def test_all_emulators_are_installed_with_a_line_each_in_the_guides_order() -> None:
    """S-32, S-33, S-36."""
    done = _sh(f"viaduct binfmt --install all; ls {_TABLE}")
    lines = [line for line in done.stderr.splitlines() if line.startswith("installing: ")]
    assert lines[:3] == ["installing: arm64 OK", "installing: amd64 OK", "installing: riscv64 OK"]
    assert sorted(lines) == sorted(f"installing: {arch} OK" for arch in _EVERY)
    names = done.stdout.split()
    assert {"qemu-aarch64", "qemu-riscv64", "qemu-s390x", "register", "status"} <= set(names)
    # The processor's own programs have no handler, for that would have to run itself.
    assert "qemu-x86_64" not in names
    assert "note: amd64, 386 run without an emulator here" in done.stderr


def test_what_was_installed_runs_programs_in_other_root_file_systems() -> None:
    """S-14: flag F opens the emulator at once, C leaves set-uid programs their rights."""
    done = _sh(f"viaduct binfmt --install arm64,riscv64; cat {_TABLE}/qemu-aarch64; viaduct binfmt")
    entry, table = done.stdout.split("mask", 1)
    assert "flags: POCF" in entry
    assert re.search(
        r"^qemu-aarch64 +linux/arm64 +POCF +enabled +/\S+/qemu-aarch64(-static)?$", table, re.M
    )
    runs = re.search("^Runs here: (.*)$", table, re.M)
    assert runs is not None
    assert {"linux/amd64", "linux/arm64", "linux/riscv64"} <= set(runs[1].split(", "))
    assert "linux/s390x" not in runs[1]


def test_installing_what_is_there_succeeds_and_says_so() -> None:
    """S-31."""
    done = _sh("viaduct binfmt --install arm64 2>/dev/null; viaduct binfmt --install arm64")
    assert "installing: arm64 qemu-aarch64 already registered\n" in done.stderr


def test_one_that_fails_fails_the_command_and_not_the_others() -> None:
    done = _sh("viaduct binfmt --install arm64,vax,s390x", check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[:3] == [
        "installing: arm64 OK",
        "installing: vax unsupported architecture: vax",
        "installing: s390x OK",
    ]


def test_a_handler_that_does_not_serve_images_is_replaced_in_one_command() -> None:
    done = _sh(
        f"{machine.REGISTER_WITHOUT_FLAG_F}; viaduct binfmt --install arm64; echo $?\n"
        "viaduct binfmt --uninstall qemu-aarch64 --install arm64 --json"
    )
    assert "qemu-aarch64 already registered, without flag F; replace it" in done.stderr
    status, _, document = done.stdout.partition("\n")
    assert status == "1"
    assert "linux/arm64" in json.loads(document)["supported"]


def test_emulators_are_removed_again() -> None:
    done = _sh(
        "viaduct binfmt --install all 2>/dev/null\n"
        "viaduct binfmt --uninstall arm64,qemu-s390x,sparc; echo $?\n"
        "viaduct binfmt --uninstall 'qemu-*' 2>/dev/null; viaduct binfmt --json"
    )
    assert done.stderr.splitlines() == [
        "uninstalling: arm64 OK",
        "uninstalling: qemu-s390x OK",
        "uninstalling: sparc not found",
    ]
    status, _, document = done.stdout.partition("\n")
    assert status == "1"
    assert json.loads(document)["emulators"] == []


def test_the_state_can_be_read_by_programs() -> None:
    """S-34: two lists and nothing else, as the peers' tool prints them."""
    done = _sh("viaduct binfmt --install arm64 --json")
    document = json.loads(done.stdout)
    assert list(document) == ["supported", "emulators"]
    assert document["emulators"] == ["qemu-aarch64"]
    assert document["supported"][0] == "linux/amd64"
    assert "linux/arm64" in document["supported"]


def test_a_user_who_may_not_is_told_so_in_one_line_and_that_there_is_no_need(ann: User) -> None:
    """S-30, S-32."""
    done = ann.viaduct("binfmt", "--install", "all", check=False)
    assert done.returncode == 1
    error, hint = done.stderr.decode().splitlines()
    assert re.fullmatch(
        rf"ERROR: (ENOENT opening {_TABLE}/register is it mounted\?"
        rf"|EPERM opening {_TABLE}/register check permissions\?)",
        error,
    )
    assert "sudo viaduct binfmt --install all" in hint
    assert "Viaduct's builds need none of this" in hint


def test_a_machine_without_emulators_is_told_the_package() -> None:
    around = machine.without_emulators(*(f"qemu-{name}-static" for name in _qemus()))
    done = viaduct("binfmt", "--install", "all", around=around, check=False)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "ERROR: no emulator is installed",
        "hint: sudo apt-get install qemu-user-static",
    ]


def test_emulators_of_another_directory_are_taken_when_asked_for() -> None:
    done = _sh(
        "mount -t tmpfs tmpfs /mnt; cp /usr/bin/qemu-aarch64-static /mnt\n"
        "export QEMU_BINARY_PATH=/mnt\n"
        "viaduct binfmt --install all; viaduct binfmt; viaduct binfmt --version"
    )
    assert "/mnt/qemu-aarch64-static" in done.stdout
    assert "riscv64" not in done.stderr
    assert re.search(r"^binfmt/v\S+ qemu/v\d+\.\d+\.\d+ python/\d+", done.stdout, re.M)


def test_architectures_may_be_written_as_platforms_and_as_machines() -> None:
    done = _sh("viaduct binfmt --install linux/arm64,s390x,armv7l --install riscv64")
    assert done.stderr.splitlines()[:4] == [
        f"installing: {arch} OK" for arch in ("arm64", "s390x", "arm", "riscv64")
    ]


def test_looking_makes_no_table_in_place_of_the_machines() -> None:
    """A new table in a user namespace hides the handlers that the namespace around it has."""
    look = " ".join([*VIADUCT, "binfmt", "--json"])
    inner = f"{look} >/dev/null; umount -l {_TABLE} 2>/dev/null; {look}; exec {look}"
    done = _sh(f"viaduct binfmt --install arm64 2>/dev/null\nunshare -Urm sh -c '{inner}'")
    first, second = done.stdout.replace("}\n{", "}\0{").split("\0")
    assert json.loads(first)["supported"] == json.loads(second)["supported"]
    assert "linux/arm64" in json.loads(second)["supported"]


def test_an_empty_name_is_a_mistake() -> None:
    done = viaduct("binfmt", "--install", "arm64,", check=False)
    assert done.returncode == 1
    assert b"--install has an empty name" in done.stderr


def _qemus() -> list[str]:
    names = os.listdir("/usr/bin")
    return [n[len("qemu-") : -len("-static")] for n in names if n.endswith("-static")]
