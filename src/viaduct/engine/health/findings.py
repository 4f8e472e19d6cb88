"""From what a machine is like to what that means for builds. Pure: each finding is a function of
the facts, and says what is so, how bad that is, and what mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from viaduct.base.values import Value
from viaduct.engine.health.facts import Facts, Inside, Trouble
from viaduct.sandbox.machines import MACHINES
from viaduct.sandbox.qemu import PACKAGE, known_bugs
from viaduct.sandbox.roads import PRIVATE_SINCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from viaduct.engine.health.facts import Access
    from viaduct.sandbox.qemu import Emulator

#: `problem`: builds fail. `warning`: some builds fail, or their result is not what one would think.
Level: TypeAlias = Literal["ok", "warning", "problem"]

#: openat2(2), by which paths are kept inside of a root file system.
_OLDEST_KERNEL = (5, 6)
# Debian's nobody is 65534, and an image may use every id below.
_ENOUGH_IDS = 65535
_GIB = 1 << 30
_LITTLE_SPACE, _NO_SPACE = 10 * _GIB, _GIB
_LITTLE_FILES, _NO_FILES = 200_000, 20_000
# Tokens of registries are valid from the second they are made on, give or take a minute.
_SKEW_WARNING, _SKEW_PROBLEM = 60.0, 3600.0
_ADD_SUBIDS = "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535"


class Finding(Value):
    """One line: what was looked at, how it is, and the command that mends it."""

    name: str
    level: Level
    text: str
    fix: str = ""


def diagnose(facts: Facts) -> tuple[Finding, ...]:
    """Every finding, in the order in which a build would meet what it is about."""
    return tuple(_findings(facts))


def worst(findings: Iterable[Finding]) -> Level:
    """The level of the whole."""
    levels = {finding.level for finding in findings}
    return "problem" if "problem" in levels else "warning" if "warning" in levels else "ok"


def _findings(facts: Facts) -> Iterator[Finding]:
    yield _kernel(facts)
    yield _namespaces(facts)
    yield _ids(facts)
    inside = facts.inside
    if isinstance(inside, Inside):
        yield _runtime(inside)
        yield _cgroups(facts, inside)
        yield _overlay(inside)
    yield _disk(facts)
    yield _qemu(facts)
    yield from _bugs(facts.emulators)
    yield from _binfmt(facts)
    if isinstance(inside, Inside):
        yield _platforms(facts, inside)
    if facts.access is not None:
        yield from _registry(facts.access)


def _kernel(facts: Facts) -> Finding:
    text = f"Linux {facts.release} on {facts.machine}"
    if facts.kernel < _OLDEST_KERNEL:
        return Finding(
            "kernel",
            "problem",
            f"{text}: 5.6 is needed to keep paths inside of root file systems",
            "boot a newer kernel",
        )
    return Finding("kernel", "ok", text)


def _namespaces(facts: Facts) -> Finding:
    if isinstance(facts.inside, Trouble):
        return _troubled("namespaces", facts.inside)
    return Finding("namespaces", "ok", "user, mount and pid namespaces can be made")


def _ids(facts: Facts) -> Finding:
    ids = facts.ids
    if ids.privileged:
        return Finding("ids", "ok", "root: files keep every owner")
    squashed = "every file in images will belong to root"
    grant = f"{_ADD_SUBIDS} {ids.user}"
    if ids.missing_tool:
        fix = "sudo apt-get install uidmap"
        if not (ids.uids and ids.gids):
            fix += f" && {grant}"
        return Finding("ids", "warning", f"{ids.missing_tool} is not installed: {squashed}", fix)
    if not (ids.uids and ids.gids):
        kind = "uids" if not ids.uids else "gids"
        if ids.user == "root":
            grant = "run Viaduct where root has more than one id, CAP_SETUID and CAP_SETGID"
        return Finding("ids", "warning", f"{ids.user} has no subordinate {kind}: {squashed}", grant)
    if ids.bounded:
        return Finding(
            "ids",
            "warning",
            f"set-uid programs gain nothing here (no-new-privileges): {squashed}",
            "start Viaduct without it (systemd: NoNewPrivileges=no, Kubernetes: "
            "allowPrivilegeEscalation: true)",
        )
    if ids.powerless_tool:
        return Finding(
            "ids",
            "problem",
            f"{ids.powerless_tool} can neither gain root (set-uid) nor has it the capability",
            "sudo apt-get install --reinstall uidmap",
        )
    count = min(ids.uids, ids.gids)
    if count < _ENOUGH_IDS:
        return Finding(
            "ids",
            "warning",
            f"{ids.user} has {count} subordinate ids: owners above that cannot be kept",
            grant,
        )
    return Finding("ids", "ok", f"{ids.user} has {ids.uids} subordinate uids and {ids.gids} gids")


def _runtime(inside: Inside) -> Finding:
    if inside.runtime_trouble is not None:
        return _troubled("runtime", inside.runtime_trouble)
    return Finding("runtime", "ok", f"{inside.runtime} ran a program in a container")


def _cgroups(facts: Facts, inside: Inside) -> Finding:
    if facts.cgroups == "v1" and "runc" not in facts.runtimes:
        level: Level = "warning" if inside.runtime_trouble is None else "problem"
        return Finding(
            "cgroups",
            level,
            "version 1 only, with which crun does not work",
            "sudo apt-get install runc",
        )
    told = {
        "v2": "version 2; steps get none of their own",
        "hybrid": "versions 1 and 2; steps see the second only, for crun refuses a mixture",
        "v1": "version 1 only; runc runs steps, for crun refuses it",
        "none": "none is mounted, and none is needed",
    }
    return Finding("cgroups", "ok", told[facts.cgroups])


def _overlay(inside: Inside) -> Finding:
    if (trouble := inside.overlay_trouble) is not None:
        text = f"{trouble.what}: root file systems are copied, which takes longer and more room"
        return Finding("overlayfs", "warning", text, trouble.hint)
    return Finding("overlayfs", "ok", "root file systems of steps can be mounted")


def _disk(facts: Facts) -> Finding:
    disk = facts.disk
    where = f"{disk.path} ({disk.kind})" if disk.kind else disk.path
    fix = "viaduct prune, or point VIADUCT_HOME at a larger disk"
    if disk.closed:
        return Finding(
            "disk",
            "problem",
            f"{disk.path}: {disk.closed} may not be written to",
            "point VIADUCT_HOME at a directory of your own",
        )
    if disk.free is None:
        return Finding("disk", "warning", f"{where}: cannot tell how much is free", fix)
    text = f"{disk.free / _GIB:.1f} GiB free for {where}"
    if disk.free < _NO_SPACE:
        return Finding("disk", "problem", text, fix)
    if disk.files is not None and disk.files < _LITTLE_FILES:
        level: Level = "problem" if disk.files < _NO_FILES else "warning"
        return Finding("disk", level, f"room for only {disk.files} more files in {where}", fix)
    if disk.free < _LITTLE_SPACE:
        return Finding("disk", "warning", text, fix)
    return Finding("disk", "ok", text)


def _qemu(facts: Facts) -> Finding:
    install = f"sudo apt-get install {PACKAGE}"
    if facts.emulators:
        releases: dict[str, list[str]] = {}
        for emulator in facts.emulators:
            releases.setdefault(emulator.release, []).append(emulator.arch)
        told = "; ".join(f"{key} for {', '.join(arches)}" for key, arches in releases.items())
        return Finding("qemu", "ok", told)
    if facts.dynamic:
        names = ", ".join(facts.dynamic)
        return Finding(
            "qemu",
            "warning",
            f"{names} needs libraries that images do not have: linked statically it would do",
            install,
        )
    if any(entry.enabled for entry in facts.table.registrations):
        return Finding("qemu", "ok", "not installed; the machine's handlers bring their own")
    return Finding(
        "qemu", "warning", f"not installed: steps run for linux/{facts.machine} only", install
    )


def _bugs(emulators: Iterable[Emulator]) -> Iterator[Finding]:
    """One line for each known bug, naming the emulators that have it."""
    found: dict[tuple[str, str], list[str]] = {}
    for emulator in emulators:
        for bug in known_bugs(emulator):
            found.setdefault((emulator.release, bug.symptom), []).append(emulator.arch)
    for (release, symptom), arches in found.items():
        yield Finding(
            "qemu",
            "warning",
            f"QEMU {release} for {', '.join(arches)}: {symptom}",
            f"sudo apt-get install {PACKAGE} (a newer one), or build those stages on "
            "$BUILDPLATFORM",
        )


def _binfmt(facts: Facts) -> Iterator[Finding]:
    inside = facts.inside
    if isinstance(inside, Trouble):
        return
    if inside.private_table:
        yield Finding("binfmt", "ok", "builds register emulators in a table of their own")
        return
    since = ".".join(map(str, PRIVATE_SINCE))
    why = (
        f"before Linux {since} only the machine has a table"
        if facts.kernel < PRIVATE_SINCE
        else "no table of our own can be mounted here"
    )
    if not facts.table.mounted:
        yield Finding(
            "binfmt",
            "warning",
            f"{why}, and its own is not to be seen",
            "sudo viaduct binfmt --install all",
        )
        return
    if not facts.table.enabled:
        yield Finding(
            "binfmt",
            "problem",
            f"{why}, and its own is switched off",
            "echo 1 | sudo tee /proc/sys/fs/binfmt_misc/status",
        )
        return
    yield from _host_table(facts, why)


def _host_table(facts: Facts, why: str) -> Iterator[Finding]:
    serving: list[str] = []
    flagless: list[tuple[str, str]] = []
    for arch, machine in MACHINES.items():
        entry = next((e for e in facts.table.registrations if e.handles(machine)), None)
        if entry is not None and "F" in entry.flags:
            serving.append(arch)
        elif entry is not None:
            flagless.append((arch, entry.name))
    for arch, name in flagless:
        yield Finding(
            "binfmt",
            "problem",
            f"{name} was registered without flag F: steps for {arch} do not find their emulator",
            f"sudo viaduct binfmt --uninstall {name} --install {arch}",
        )
    if serving:
        yield Finding("binfmt", "ok", f"{why}: it has handlers for {', '.join(serving)}")
    elif not flagless:
        yield Finding(
            "binfmt",
            "warning",
            f"{why}, and no emulator is registered in it",
            "sudo viaduct binfmt --install all",
        )


def _platforms(facts: Facts, inside: Inside) -> Finding:
    """What really ran; an emulator that is there and runs nothing is broken."""
    ran = {text.split("/")[1] for text in inside.platforms}
    broken = [e for e in facts.emulators if e.arch not in ran]
    if inside.private_table and broken:
        names = ", ".join(e.program for e in broken)
        return Finding(
            "platforms",
            "warning",
            f"programs did not run under {names}",
            f"sudo apt-get install --reinstall {PACKAGE}",
        )
    return Finding("platforms", "ok", f"programs ran for {', '.join(inside.platforms)}")


def _registry(access: Access) -> Iterator[Finding]:
    if access.trouble is not None:
        yield _troubled("registry", access.trouble)
        return
    yield Finding("registry", "ok", f"{access.host} answers")
    if access.pull is not None:
        yield _troubled("pull", access.pull)
    else:
        there = "the image is there" if access.exists else "no such image there yet"
        yield Finding("pull", "ok", f"{access.repository} can be read ({access.identity}); {there}")
    if access.push is not None:
        yield _troubled("push", access.push)
    else:
        yield Finding("push", "ok", f"{access.repository} can be pushed to ({access.identity})")
    if access.skew is not None:
        yield _clock(access.host, access.skew)


def _clock(host: str, skew: float) -> Finding:
    off = abs(skew)
    if off < _SKEW_WARNING:
        return Finding("clock", "ok", f"agrees with {host}")
    text = f"this machine's clock is {_duration(off)} {'behind' if skew > 0 else 'ahead of'} {host}"
    level: Level = "problem" if off >= _SKEW_PROBLEM else "warning"
    return Finding("clock", level, text, "sudo timedatectl set-ntp true")


def _duration(seconds: float) -> str:
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'s'[: count != 1]}"
    return f"{int(seconds)} seconds"


def _troubled(name: str, trouble: Trouble) -> Finding:
    # Errors elsewhere send people here, where that is no help.
    hint = "" if "viaduct doctor" in trouble.hint else trouble.hint
    return Finding(name, "problem", trouble.what, hint)
