"""What the doctor concludes from what a machine is like, for machines that are not this one."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from viaduct.engine.health.facts import Access, Disk, Facts, Ids, Inside, Trouble
from viaduct.engine.health.findings import Finding, Level, diagnose, worst
from viaduct.sandbox.binfmt import Registration, Status
from viaduct.sandbox.machines import MACHINES
from viaduct.sandbox.qemu import Emulator

_ARM64 = MACHINES["arm64"]
_QEMU = Emulator("arm64", "/usr/bin/qemu-aarch64-static", (7, 2, 22))
_INSIDE = Inside(
    "subids", private_table=True, platforms=("linux/amd64", "linux/arm64"), runtime="crun 1.8.1"
)
_TABLE = Status(mounted=True, enabled=True)
_HANDLER = Registration("qemu-aarch64", "/q", "POCF", magic=_ARM64.magic, mask=_ARM64.mask)

#: A rootless machine on which everything is as it should be.
WELL = Facts(
    release="6.12.0-1-amd64",
    kernel=(6, 12),
    machine="amd64",
    ids=Ids("ann", privileged=False, uids=65536, gids=65536),
    inside=_INSIDE,
    disk=Disk("/home/ann/.local/share/viaduct", "ext4", 100 << 30, 5_000_000),
    runtimes={"crun": "/usr/bin/crun", "runc": "/usr/sbin/runc"},
    emulators=(_QEMU,),
)
#: The same before Linux 6.7: the machine's table is all there is.
OLD = replace(
    WELL,
    release="6.1.0-18-amd64",
    kernel=(6, 1),
    inside=replace(_INSIDE, private_table=False),
    table=replace(_TABLE, registrations=(_HANDLER,)),
)
_USERMOD = "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ann"


def _only(facts: Facts, name: str) -> Finding:
    (finding,) = [finding for finding in diagnose(facts) if finding.name == name]
    return finding


def test_a_machine_that_is_well_has_one_ok_line_for_each_part() -> None:
    found = diagnose(WELL)
    assert [(f.name, f.level) for f in found] == [
        (name, "ok")
        for name in (
            *("kernel", "namespaces", "ids", "runtime", "cgroups", "overlayfs", "disk"),
            *("qemu", "binfmt", "platforms"),
        )
    ]
    assert worst(found) == "ok"
    assert not any(finding.fix for finding in found)


def test_an_old_kernel_with_handlers_in_its_table_is_well_too() -> None:
    assert worst(diagnose(OLD)) == "ok"
    assert _only(OLD, "binfmt").text == (
        "before Linux 6.7 only the machine has a table: it has handlers for arm64"
    )


@pytest.mark.parametrize(
    ("facts", "name", "level", "text", "fix"),
    [
        (
            replace(WELL, release="5.4.0", kernel=(5, 4)),
            "kernel",
            "problem",
            "5.6 is needed to keep paths inside of root file systems",
            "boot a newer kernel",
        ),
        (
            replace(
                WELL,
                inside=Trouble(
                    "cannot make a user namespace: Operation not permitted",
                    "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
                ),
            ),
            "namespaces",
            "problem",
            "cannot make a user namespace",
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (
            replace(WELL, ids=replace(WELL.ids, missing_tool="newuidmap")),
            "ids",
            "warning",
            "newuidmap is not installed",
            "sudo apt-get install uidmap",
        ),
        (
            replace(WELL, ids=replace(WELL.ids, uids=0, gids=0, missing_tool="newuidmap")),
            "ids",
            "warning",
            "newuidmap is not installed",
            f"sudo apt-get install uidmap && {_USERMOD}",
        ),
        (
            replace(WELL, ids=replace(WELL.ids, gids=0)),
            "ids",
            "warning",
            "ann has no subordinate gids: every file in images will belong to root",
            _USERMOD,
        ),
        (
            replace(WELL, ids=replace(WELL.ids, uids=1000)),
            "ids",
            "warning",
            "ann has 1000 subordinate ids",
            _USERMOD,
        ),
        (
            replace(WELL, ids=replace(WELL.ids, powerless_tool="newgidmap")),
            "ids",
            "problem",
            "newgidmap can neither gain root",
            "sudo apt-get install --reinstall uidmap",
        ),
        (
            replace(WELL, ids=replace(WELL.ids, bounded=True)),
            "ids",
            "warning",
            "set-uid programs gain nothing here (no-new-privileges)",
            "NoNewPrivileges=no",
        ),
        (
            replace(WELL, ids=Ids("root", privileged=False)),
            "ids",
            "warning",
            "root has no subordinate uids",
            "run Viaduct where root has more than one id, CAP_SETUID and CAP_SETGID",
        ),
        (
            replace(
                WELL,
                inside=replace(
                    _INSIDE,
                    runtime_trouble=Trouble(
                        "no OCI runtime is installed", "sudo apt-get install crun"
                    ),
                ),
            ),
            "runtime",
            "problem",
            "no OCI runtime is installed",
            "sudo apt-get install crun",
        ),
        (
            replace(
                WELL,
                cgroups="v1",
                runtimes={"crun": "/usr/bin/crun"},
                inside=replace(_INSIDE, runtime_trouble=Trouble("crun does not work")),
            ),
            "cgroups",
            "problem",
            "version 1 only",
            "sudo apt-get install runc",
        ),
        (
            replace(
                WELL,
                inside=replace(
                    _INSIDE,
                    overlay_trouble=Trouble("the kernel has no overlayfs", "sudo modprobe overlay"),
                ),
            ),
            "overlayfs",
            "warning",
            "the kernel has no overlayfs: root file systems are copied, which takes longer",
            "sudo modprobe overlay",
        ),
        (
            replace(WELL, disk=replace(WELL.disk, free=5 << 30)),
            "disk",
            "warning",
            "5.0 GiB free for /home/ann/.local/share/viaduct (ext4)",
            "VIADUCT_HOME",
        ),
        (
            replace(WELL, disk=replace(WELL.disk, free=100 << 20)),
            "disk",
            "problem",
            "0.1 GiB free",
            "VIADUCT_HOME",
        ),
        (
            replace(WELL, disk=replace(WELL.disk, files=100)),
            "disk",
            "problem",
            "room for only 100 more files",
            "VIADUCT_HOME",
        ),
        (
            replace(WELL, disk=Disk("/root/state", closed="/root")),
            "disk",
            "problem",
            "/root/state: /root may not be written to",
            "VIADUCT_HOME",
        ),
        (
            replace(WELL, disk=Disk("/state")),
            "disk",
            "warning",
            "cannot tell how much is free",
            "VIADUCT_HOME",
        ),
        (
            replace(WELL, emulators=()),
            "qemu",
            "warning",
            "not installed: steps run for linux/amd64 only",
            "sudo apt-get install qemu-user-static",
        ),
        (
            replace(WELL, emulators=(), dynamic=("/usr/bin/qemu-aarch64",)),
            "qemu",
            "warning",
            "/usr/bin/qemu-aarch64 needs libraries that images do not have",
            "sudo apt-get install qemu-user-static",
        ),
        (
            replace(WELL, inside=replace(_INSIDE, platforms=("linux/amd64",))),
            "platforms",
            "warning",
            "programs did not run under /usr/bin/qemu-aarch64-static",
            "sudo apt-get install --reinstall qemu-user-static",
        ),
        (
            replace(OLD, table=_TABLE),
            "binfmt",
            "warning",
            "no emulator is registered in it",
            "sudo viaduct binfmt --install all",
        ),
        (
            replace(OLD, table=Status()),
            "binfmt",
            "warning",
            "its own is not to be seen",
            "sudo viaduct binfmt --install all",
        ),
        (
            replace(OLD, table=replace(OLD.table, enabled=False)),
            "binfmt",
            "problem",
            "switched off",
            "echo 1 | sudo tee /proc/sys/fs/binfmt_misc/status",
        ),
        (
            replace(OLD, table=replace(_TABLE, registrations=(replace(_HANDLER, flags="OC"),))),
            "binfmt",
            "problem",
            "qemu-aarch64 was registered without flag F: steps for arm64",
            "sudo viaduct binfmt --uninstall qemu-aarch64 --install arm64",
        ),
    ],
)
def test_what_is_wrong_is_named_with_what_mends_it(
    facts: Facts, name: str, level: Level, text: str, fix: str
) -> None:
    finding = _only(facts, name)
    assert finding.level == level
    assert text in finding.text
    assert fix in finding.fix
    assert worst(diagnose(facts)) == level


def test_without_namespaces_nothing_is_said_of_what_could_not_be_tried() -> None:
    found = {finding.name for finding in diagnose(replace(WELL, inside=Trouble("no")))}
    assert found.isdisjoint({"runtime", "cgroups", "overlayfs", "binfmt", "platforms"})


def test_both_cgroup_versions_at_once_are_no_trouble() -> None:
    finding = _only(replace(WELL, cgroups="hybrid"), "cgroups")
    assert (finding.level, finding.fix) == ("ok", "")
    assert "crun refuses a mixture" in finding.text


def test_a_known_bug_of_an_emulator_is_told_once_with_the_way_round() -> None:
    emulators = tuple(replace(_QEMU, arch=arch, pie=False) for arch in ("arm64", "riscv64"))
    facts = replace(
        WELL,
        emulators=emulators,
        inside=replace(_INSIDE, platforms=("linux/amd64", "linux/arm64", "linux/riscv64")),
    )
    told = [finding for finding in diagnose(facts) if finding.name == "qemu"]
    assert [finding.level for finding in told] == ["ok", "warning"]
    assert told[1].text.startswith("QEMU 7.2.22 for arm64, riscv64: it is not position independent")
    assert "$BUILDPLATFORM" in told[1].fix


def test_handlers_that_bring_their_own_emulator_are_enough() -> None:
    facts = replace(OLD, emulators=())
    assert _only(facts, "qemu").level == "ok"


def test_an_error_that_sends_people_to_the_doctor_does_not_send_them_round_in_circles() -> None:
    trouble = Trouble("runc could not run the step", "`viaduct doctor` looks at each part")
    facts = replace(WELL, inside=replace(_INSIDE, runtime_trouble=trouble))
    assert _only(facts, "runtime").fix == ""


_ACCESS = Access("registry.example", "registry.example/app", "as ann", skew=1.0)


@pytest.mark.parametrize(
    ("access", "name", "level", "text"),
    [
        (_ACCESS, "registry", "ok", "registry.example answers"),
        (_ACCESS, "pull", "ok", "can be read (as ann); no such image there yet"),
        (Access("r", "r/a", "as ann", exists=True), "pull", "ok", "the image is there"),
        (_ACCESS, "push", "ok", "registry.example/app can be pushed to (as ann)"),
        (_ACCESS, "clock", "ok", "agrees with registry.example"),
        (Access("r", "r/a", trouble=Trouble("no route", "try")), "registry", "problem", "no route"),
        (Access("r", "r/a", pull=Trouble("denied", "login")), "pull", "problem", "denied"),
        (Access("r", "r/a", push=Trouble("denied", "login")), "push", "problem", "denied"),
        (Access("r", "r/a", skew=90.0), "clock", "warning", "1 minute behind r"),
        (Access("r", "r/a", skew=-7300.0), "clock", "problem", "2 hours ahead of r"),
        (Access("r", "r/a", skew=200000.0), "clock", "problem", "2 days behind r"),
    ],
)
def test_a_registry_is_judged_by_what_it_lets_us_do(
    access: Access, name: str, level: Level, text: str
) -> None:
    finding = _only(replace(WELL, access=access), name)
    assert finding.level == level
    assert text in finding.text


def test_a_registry_that_does_not_answer_is_not_asked_for_rights() -> None:
    found = diagnose(replace(WELL, access=Access("r", "r/a", trouble=Trouble("gone"))))
    assert {finding.name for finding in found}.isdisjoint({"pull", "push", "clock"})


def test_one_problem_makes_the_whole_a_problem() -> None:
    levels: list[Level] = ["ok", "problem", "warning"]
    assert worst(Finding("x", level, "") for level in levels) == "problem"
    assert worst(Finding("x", level, "") for level in levels[::2]) == "warning"
    assert worst([]) == "ok"
