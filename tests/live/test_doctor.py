"""`viaduct doctor` on this machine, and on this machine with one thing taken away."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from tests.parts import machine
from tests.parts.command import viaduct
from tests.parts.docker_registry import free_port, running_docker_registry
from tests.parts.users import ordinary_user

from viaduct.sandbox import probe
from viaduct.sandbox.machines import MACHINES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.parts.users import User

_LINE = re.compile(r"(ok|warning|problem) +([a-z]+): (.+?)(?:; hint: (.+))?")


@pytest.fixture(scope="module")
def ann() -> Iterator[User]:
    with ordinary_user() as user:
        yield user


@pytest.fixture(scope="module")
def bob() -> Iterator[User]:
    """A user whom nobody gave subordinate ids."""
    with ordinary_user(subids=False) as user:
        yield user


def _examined(*arguments: str, around: Sequence[str] = ()) -> tuple[int, list[dict[str, Any]]]:
    """Status and findings."""
    done = viaduct("doctor", "--json", *arguments, around=around, check=False)
    document = json.loads(done.stdout)
    assert document["level"] == max((f["level"] for f in document["findings"]), key=_rank)
    return done.returncode, document["findings"]


def _rank(level: str) -> int:
    return ("ok", "warning", "problem").index(level)


def _only(findings: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    (finding,) = [finding for finding in findings if finding["name"] == name]
    return finding


def test_every_part_has_a_line_that_says_how_it_is(clean_env: Path) -> None:
    done = viaduct("doctor")
    assert done.stderr == b""
    found = [_LINE.fullmatch(line) for line in done.stdout.decode().splitlines()]
    assert all(found)
    names = [match[2] for match in found if match]
    assert names[:7] == "kernel namespaces ids runtime cgroups overlayfs disk".split()
    assert names[-3:] == "qemu binfmt platforms".split()
    assert {match[1] for match in found if match and match[2] != "disk"} == {"ok"}
    assert not clean_env.exists()


def test_an_ordinary_user_is_as_well_served_as_root(ann: User) -> None:
    done = ann.viaduct("doctor", "--json")
    findings = json.loads(done.stdout)["findings"]
    assert {f["level"] for f in findings if f["name"] != "disk"} == {"ok"}
    assert _only(findings, "ids")["text"].startswith(f"{ann.name} has 65536 subordinate uids")
    assert "linux/arm64" in _only(findings, "platforms")["text"]
    # Nothing is left where the state would be, nor beside it.
    assert sorted(os.listdir(ann.home)) == sorted(
        name for name in (".bash_logout", ".bashrc", ".profile") if (ann.home / name).exists()
    )


def test_a_user_without_subids_can_build_and_is_told_what_for_owners_are_needed(bob: User) -> None:
    done = bob.viaduct("doctor", "--json")
    findings = json.loads(done.stdout)["findings"]
    ids = _only(findings, "ids")
    assert ids["level"] == "warning"
    assert ids["fix"] == (
        f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {bob.name}"
    )
    assert _only(findings, "runtime")["level"] == "ok"


@pytest.mark.parametrize(
    ("around", "name", "fix"),
    [
        (machine.without_namespaces(), "namespaces", "sudo sysctl -w user.max_user_namespaces"),
        (machine.without("runc", "crun"), "runtime", "sudo apt-get install crun"),
    ],
)
def test_a_problem_ends_with_status_1_and_the_command_that_mends_it(
    around: Sequence[str], name: str, fix: str
) -> None:
    status, findings = _examined(around=around)
    assert status == 1
    finding = _only(findings, name)
    assert finding["level"] == "problem"
    assert finding["fix"].startswith(fix)


def test_a_state_that_the_user_may_not_write_is_a_problem(ann: User) -> None:
    # Nobody but root may write to the root directory, on any machine.
    done = ann.viaduct("doctor", "--json", env={"VIADUCT_HOME": "/state-of-ann"}, check=False)
    assert done.returncode == 1
    findings = json.loads(done.stdout)["findings"]
    assert _only(findings, "namespaces")["level"] == "ok"
    disk = _only(findings, "disk")
    assert disk["level"] == "problem"
    assert disk["text"].endswith(" may not be written to")
    assert disk["fix"] == "point VIADUCT_HOME at a directory of your own"


def test_a_machine_without_emulators_builds_for_itself_only() -> None:
    qemus = [name for name in os.listdir("/usr/bin") if name.startswith("qemu-")]
    status, findings = _examined(around=machine.without_emulators(*qemus))
    assert status == 0
    assert _only(findings, "qemu") == {
        "name": "qemu",
        "level": "warning",
        "text": "not installed: steps run for linux/amd64 only",
        "fix": "sudo apt-get install qemu-user-static",
    }


def test_an_emulator_that_does_not_work_is_found_by_trying(tmp_path: Path) -> None:
    """A program that is static and no emulator at all stands in its place."""
    impostor = tmp_path / "impostor"
    impostor.write_bytes(probe.program(MACHINES["amd64"]))
    impostor.chmod(0o755)
    broken = machine.after(f"mount --bind {impostor} /usr/bin/qemu-aarch64-static")
    status, findings = _examined(around=broken)
    assert status == 0
    platforms = _only(findings, "platforms")
    assert platforms["text"] == "programs did not run under /usr/bin/qemu-aarch64-static"
    assert platforms["fix"] == "sudo apt-get install --reinstall qemu-user-static"


def test_before_linux_6_7_the_machines_table_counts() -> None:
    status, findings = _examined(around=machine.with_own_table(old_kernel=True))
    assert status == 1  # the kernel that it believes in is far too old, too
    assert _only(findings, "binfmt") == {
        "name": "binfmt",
        "level": "warning",
        "text": (
            "before Linux 6.7 only the machine has a table, and no emulator is registered in it"
        ),
        "fix": "sudo viaduct binfmt --install all",
    }


def test_a_registry_is_asked_for_rights_and_the_time(tmp_path: Path) -> None:
    with running_docker_registry(tmp_path) as host:
        status, findings = _examined(f"{host}/app:1")
    assert status == 0
    told = {finding["name"]: finding["text"] for finding in findings[-4:]}
    assert told == {
        "registry": f"{host} answers",
        "pull": f"{host}/app can be read (no credentials); no such image there yet",
        "push": f"{host}/app can be pushed to (no credentials)",
        "clock": f"agrees with {host}",
    }


def test_an_image_that_is_there_is_seen(busybox: str) -> None:
    _, findings = _examined(busybox)
    assert _only(findings, "pull")["text"].endswith("; the image is there")


def test_a_registry_that_is_not_there_is_a_problem() -> None:
    status, findings = _examined(f"127.0.0.1:{free_port()}/app:1")
    assert status == 1
    assert "connection refused" in _only(findings, "registry")["text"]


def test_a_name_that_is_none_is_a_mistake() -> None:
    done = viaduct("doctor", "Not/A/Name", check=False)
    assert done.returncode == 1
    assert b"ERROR: " in done.stderr
