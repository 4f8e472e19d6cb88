"""Looking at the machine: the only part of the doctor that touches it.

Outside of the namespaces files are read and programs asked for their version. Inside, in a child
process, a build's doings are tried on the smallest scale: an overlay in the state's file system, a
container with a program of 150 bytes, one program for every machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from viaduct.base import home, proc
from viaduct.base.errors import SandboxError, ViaductError
from viaduct.engine.health.facts import Cgroups, Disk, Facts, Ids, Inside, Trouble
from viaduct.sandbox import (
    binfmt,
    emulate,
    ground,
    kernel,
    mapper,
    mountinfo,
    mounts,
    probe,
    qemu,
    roads,
    trial,
)
from viaduct.sandbox.machines import MACHINES, of_uname
from viaduct.sandbox.namespace import current
from viaduct.sandbox.runtime import Runtime
from viaduct.sandbox.spec import ContainerSpec
from viaduct.sandbox.supported import supported

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from viaduct.oci.reference import Reference
    from viaduct.registry.access import Access

_ROOT_DIRECTORIES = ("dev", "proc", "sys")


def gather(env: Mapping[str, str], ref: Reference | None = None) -> Facts:
    """Everything there is to know; with a reference, its registry is asked as well.

    For a process with one thread that has not entered the namespaces. Raises `UsageError` for a
    registry configuration that makes no sense.
    """
    release = os.uname().release
    machine = of_uname(os.uname().machine)
    state = home.state_root(env)
    emulators, dynamic = _emulators(emulate.natives())
    return Facts(
        release=release,
        kernel=kernel.version(release),
        machine=machine,
        ids=_ids(),
        inside=_inside(state, env),
        disk=_disk(state),
        cgroups=_cgroups(),
        runtimes={name: path for name in ("crun", "runc") if (path := proc.find(name))},
        emulators=emulators,
        dynamic=dynamic,
        table=binfmt.seen(Path(binfmt.HOST_TABLE)),
        access=_access(env, ref) if ref is not None else None,
    )


def _ids() -> Ids:
    uid, gid = os.geteuid(), os.getegid()
    maps = mapper.available(uid, gid)
    ranges = mapper.subordinate(uid)
    return Ids(
        user=mapper.user_name(uid),
        privileged=maps.mode == "root",
        uids=sum(count for _, count in ranges.uids),
        gids=sum(count for _, count in ranges.gids),
        missing_tool=mapper.missing_tool(),
        bounded=mapper.without_privileges(),
        powerless_tool=next((t for t in mapper.TOOLS if not _may_gain(proc.find(t))), ""),
    )


def _may_gain(program: str | None) -> bool:
    """Whether a program runs with more rights than its caller has, or does not exist."""
    if program is None:
        return True
    with contextlib.suppress(OSError):
        if os.stat(program).st_mode & stat.S_ISUID:
            return True
        return bool(os.getxattr(program, "security.capability"))
    return False


def _emulators(natives: frozenset[str]) -> tuple[tuple[qemu.Emulator, ...], tuple[str, ...]]:
    """The emulators for machines that we are not, and those that are of no use."""
    found, dynamic = [], []
    for arch, other in MACHINES.items():
        if arch in natives:
            continue
        if program := emulate.find_emulator(other):
            found.append(qemu.look(arch, program))
        else:
            dynamic += [path for name in other.programs if (path := proc.find(name))]
    return tuple(found), tuple(dynamic)


def _disk(state: Path) -> Disk:
    place = _existing(state)
    try:
        told = os.statvfs(place)
    except OSError:
        return Disk(str(state))
    return Disk(
        str(state),
        kind=mountinfo.kind_at(place),
        free=told.f_bavail * told.f_frsize,
        files=told.f_favail if told.f_files else None,
        closed="" if _is_ours(place) else str(place),
    )


def _cgroups() -> Cgroups:
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        return "v2"
    if (root / "unified/cgroup.procs").exists():
        return "hybrid"
    with contextlib.suppress(OSError):
        if any(entry.is_dir() for entry in root.iterdir()):
            return "v1"
    return "none"


def _existing(path: Path) -> Path:
    """The closest directory to `path` that there is, as far as we may look."""
    return next(place for place in (path, *path.parents) if os.path.exists(place))


def _is_ours(place: Path) -> bool:
    return os.access(place, os.W_OK | os.X_OK, effective_ids=True)


def _inside(state: Path, env: Mapping[str, str]) -> Inside | Trouble:
    # On the state's file system, but not in the state: there may be none yet.
    beside = _existing(state)
    try:
        place = tempfile.mkdtemp(
            prefix=".viaduct-doctor-", dir=beside if _is_ours(beside) else None
        )
    except OSError as error:
        return Trouble(f"cannot make a directory at {error.filename}: {error.strerror}")
    try:
        return trial.in_namespaces(lambda: _try(Path(place), env))
    except ViaductError as error:
        return Trouble(error.what, error.hint)
    except OSError as error:
        return Trouble(str(error))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _try(place: Path, env: Mapping[str, str]) -> Inside:
    """What a build does inside of the namespaces; leaves `place` empty."""
    namespace = current()
    assert namespace is not None
    refusal = ground.try_out(place)
    runtime, runtime_trouble = _runtime(place, env)
    platforms = supported(own_namespace=True)
    for entry in place.iterdir():
        # Only here are we allowed to: an overlay's work directory is closed to an ordinary user.
        shutil.rmtree(entry, ignore_errors=True)
    return Inside(
        mode=namespace.mode,
        private_table=kernel.version() >= roads.PRIVATE_SINCE and _has_table(),
        platforms=tuple(map(str, platforms)),
        runtime=runtime,
        runtime_trouble=runtime_trouble,
        overlay_trouble=Trouble(refusal.why, refusal.remedy) if refusal else None,
    )


def _has_table() -> bool:
    try:
        os.close(binfmt.open_private())
    except OSError:
        return False
    return True


def _runtime(place: Path, env: Mapping[str, str]) -> tuple[str, Trouble | None]:
    """Which runtime is used, and what came of running the smallest program with it."""
    scratch = place / "run"
    machine = of_uname(os.uname().machine)
    try:
        mounts.mount_scratch(scratch)
        runtime = Runtime.find(scratch, env=env)
        rootfs = scratch / "rootfs"
        for name in _ROOT_DIRECTORIES:
            (rootfs / name).mkdir(parents=True)
        program = rootfs / "probe"
        program.write_bytes(probe.program(MACHINES[machine]))
        program.chmod(0o755)
        ended = runtime.run(ContainerSpec(args=("/probe",), rootfs=rootfs))
    except ViaductError as error:
        return "", Trouble(error.what, error.hint)
    told = _version([runtime.program, "--version"]) or runtime.program
    if not probe.ran(machine, ended.status):
        said = f"{told} ran a program that should succeed, which ended with status {ended.status}"
        return told, Trouble(said, "set VIADUCT_RUNTIME to another runtime (runc or crun)")
    return told, None


def _version(argv: Sequence[str]) -> str:
    """The first line of what a program says about its version: `runc version 1.1.5`."""
    with contextlib.suppress(SandboxError, OSError):
        said = proc.run(argv, timeout=10, check=False).stdout.decode(errors="replace")
        return said.partition("\n")[0].replace(" version ", " ").strip()
    return ""


def _access(env: Mapping[str, str], ref: Reference) -> Access:
    from viaduct.registry import access
    from viaduct.registry import client as registry
    from viaduct.registry.credentials import Keychain

    client = registry.connect(env)
    try:
        return access.examine(client, Keychain(env), ref)
    finally:
        client.close()
