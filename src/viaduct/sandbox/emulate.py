"""Which platforms run here, and making those run that can.

`gather` looks at the machine, `viaduct.sandbox.roads` decides, and `Emulators` walks the road:
where the kernel allows it, QEMU is registered in a binfmt_misc table that belongs to our own user
namespace and vanishes with it.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from viaduct.base import proc
from viaduct.base.errors import PlatformError
from viaduct.oci.platform import normalize
from viaduct.sandbox import binfmt, kernel, probe, qemu
from viaduct.sandbox.machines import MACHINES, Machine, of_uname
from viaduct.sandbox.mounts import Bind
from viaduct.sandbox.roads import (
    Facts,
    Host,
    Missing,
    Native,
    Private,
    Unseen,
    decide,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from viaduct.oci.platform import Platform

# Architectures that a processor may run beside its own; trying tells whether it does.
_RELATIVES = {"amd64": ("386",), "arm64": ("arm",), "ppc64": ("ppc64le",), "mips64": ("mips64le",)}


def gather(
    arches: Iterable[str] | None = None,
    *,
    own_namespace: bool,
    table: Path = Path(binfmt.HOST_TABLE),
) -> Facts:
    """Look at this machine, with emulators for `arches` only (default: all that are known)."""
    machine = _own()
    wanted = tuple(MACHINES if arches is None else arches)
    relatives = tuple(
        arch for arch in _RELATIVES.get(machine, ()) if arch in wanted and probe.runs(arch)
    )
    emulators = {}
    for arch in wanted:
        if arch != machine and arch not in relatives and arch in MACHINES:
            program = find_emulator(MACHINES[arch])
            if program:
                emulators[arch] = program
    return Facts(
        machine=machine,
        kernel=kernel.version(),
        own_namespace=own_namespace,
        relatives=relatives,
        emulators=emulators,
        host=binfmt.status(table),
        cpu_flags=_cpu_flags() if machine == "amd64" else frozenset(),
    )


def find_emulator(machine: Machine, directory: Path | None = None) -> str | None:
    """A static QEMU for `machine` in `directory`, or else on the system's path.

    One that is linked dynamically would look for its libraries inside of the image.
    """
    for name in machine.programs:
        path = str(directory / name) if directory else proc.find(name)
        if path and qemu.is_static(path):
            return path
    return None


def natives() -> frozenset[str]:
    """The architectures whose programs our processor runs by itself."""
    machine = _own()
    relatives = (arch for arch in _RELATIVES.get(machine, ()) if probe.runs(arch))
    return frozenset((machine, *relatives))


class Emulators:
    """The emulators of this process; safe to use from several threads.

    Holds our own table, whose entries last until `close`. Used inside of `viaduct.sandbox.enter`
    (`own_namespace`), or without as far as the machine's table goes.
    """

    def __init__(self, *, own_namespace: bool) -> None:
        self._own_namespace = own_namespace
        self._lock = threading.Lock()
        self._table = -1
        # The architectures that run, and whether an emulator does it.
        self._ready: dict[str, bool] = {}

    def ensure(self, platforms: Iterable[Platform]) -> None:
        """Have programs of all `platforms` run from now on.

        Raises `PlatformError`, naming the package or command that mends it, for the first one that
        cannot. Does not start anything, unless the machine's table cannot be seen.
        """
        arches = list(dict.fromkeys(normalize(platform).architecture for platform in platforms))
        with self._lock:
            arches = [arch for arch in arches if arch not in self._ready and arch != _own()]
            if not arches:
                return
            facts = gather(arches, own_namespace=self._own_namespace)
            private = self._table >= 0 or (
                facts.private_table and not _host_covers(arches, facts) and self._open()
            )
            for arch in arches:
                self._walk(arch, facts, private=private)

    def emulated(self, platform: Platform) -> bool:
        """Whether programs of `platform` run through an emulator, as far as `ensure` found out."""
        arch = normalize(platform).architecture
        return self._ready.get(arch, arch != _own())

    def close(self) -> None:
        """Give our own table up."""
        with self._lock:
            if self._table >= 0:
                os.close(self._table)
                self._table = -1
            self._ready.clear()

    def _open(self) -> bool:
        """Get a table of our own, which hides the machine's; false where none can be had after all:
        the kernel was built without, or somebody forbids it."""
        try:
            self._table = binfmt.open_private()
        except OSError:
            return False
        return True

    def _walk(self, arch: str, facts: Facts, *, private: bool) -> None:
        """Go the road of `arch`; raises `PlatformError` at a dead end."""
        road = decide(arch, facts, private=private)
        match road:
            case Native() | Host():
                pass
            case Private(machine, program):
                self._register(machine, program)
            case Unseen():
                if not probe.runs(arch):
                    raise refusal(arch, replace(facts, own_namespace=False))
            case Missing(what, hint):
                raise PlatformError(what, hint=hint)
        self._ready[arch] = not isinstance(road, Native)

    def _register(self, machine: Machine, program: str) -> None:
        try:
            # The kernel hands a step the very file, which root of a step may own: opened through a
            # mount that cannot be written, it cannot be overwritten by way of /proc/PID/exe.
            Bind(Path(program), Path(program), readonly=True).execute()
            flags = binfmt.flags_for(kernel.version(), qemu.version_beside(program))
            binfmt.register(self._table, machine, program, flags)
        except FileExistsError:
            pass
        except OSError as error:
            raise PlatformError(
                f"cannot register {program} for {machine.arch} programs: {error.strerror}",
                hint=f"sudo viaduct binfmt --install {machine.arch}",
            ) from error


def _host_covers(arches: Iterable[str], facts: Facts) -> bool:
    """Whether the machine's table runs what our own programs do not, so that it is kept."""
    return any(arch not in facts.emulators for arch in arches) and all(
        isinstance(decide(arch, facts, private=False), (Native, Host)) for arch in arches
    )


def _own() -> str:
    return of_uname(os.uname().machine)


def _cpu_flags() -> frozenset[str]:
    with open("/proc/cpuinfo", "rb") as file:
        for row in file:
            if row.startswith(b"flags"):
                return frozenset(row.decode(errors="replace").partition(":")[2].split())
    return frozenset()
