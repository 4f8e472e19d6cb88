"""How programs of an architecture come to run here: facts in, a road out. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from viaduct.base.errors import PlatformError
from viaduct.base.values import Value
from viaduct.sandbox import binfmt
from viaduct.sandbox.machines import MACHINES, Machine
from viaduct.sandbox.qemu import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

#: From this Linux on a user namespace has a table of its own.
PRIVATE_SINCE = (6, 7)

# What a processor must have for each x86-64 level, as /proc/cpuinfo spells it.
_LEVELS = {
    "v2": frozenset("cx16 lahf_lm pni popcnt sse4_1 sse4_2 ssse3".split()),
    "v3": frozenset("abm avx avx2 bmi1 bmi2 f16c fma movbe xsave".split()),
    "v4": frozenset("avx512bw avx512cd avx512dq avx512f avx512vl".split()),
}


class Facts(Value):
    """What decides which programs run here.

    `machine` is our own architecture. `relatives` are the others that the processor itself runs.
    `emulators` are the paths of static QEMU programs by architecture. `host` is the machine's
    table, as far as it can be seen. `own_namespace` says that we live in a user namespace that we
    made. `cpu_flags` are the processor's (x86).
    """

    machine: str
    kernel: tuple[int, int]
    own_namespace: bool = False
    relatives: tuple[str, ...] = ()
    emulators: Mapping[str, str] = msgspec.field(default_factory=dict)
    host: binfmt.Status = msgspec.field(default_factory=binfmt.Status)
    cpu_flags: frozenset[str] = frozenset()

    @property
    def private_table(self) -> bool:
        """Whether we can have a table of our own."""
        return self.own_namespace and self.kernel >= PRIVATE_SINCE


class Native(Value):
    """The processor runs it."""


class Private(Value):
    """An emulator to be registered in our own table."""

    machine: Machine
    program: str


class Host(Value):
    """The machine's table has it already."""

    registration: binfmt.Registration


class Unseen(Value):
    """The machine's table is not visible from here; only running something tells."""


class Missing(Value):
    """It does not run: why, and the command that changes it."""

    what: str
    hint: str


Road: TypeAlias = Native | Private | Host | Unseen | Missing


def decide(arch: str, facts: Facts, *, private: bool | None = None) -> Road:
    """How programs of `arch` come to run here.

    `private` overrides whether our own table is used; it hides the machine's.
    """
    if arch == facts.machine or arch in facts.relatives:
        return Native()
    machine = MACHINES.get(arch)
    if machine is None:
        return Missing(f"no emulator is known for {arch}", f"choose one of {', '.join(MACHINES)}")
    program = facts.emulators.get(arch)
    if facts.private_table if private is None else private:
        if program:
            return Private(machine, program)
        return Missing(
            f"cannot run {arch} programs: {machine.programs[0]} is not installed",
            f"sudo apt-get install {PACKAGE}",
        )
    return _by_host_table(machine, facts)


def _by_host_table(machine: Machine, facts: Facts) -> Road:
    arch = machine.arch
    entry = next((entry for entry in facts.host.registrations if entry.handles(machine)), None)
    if entry and facts.host.enabled:
        if "F" in entry.flags:
            return Host(entry)
        return Missing(
            f"cannot run {arch} programs: the handler {entry.name} was registered without flag F, "
            "so its emulator is looked for inside of the image",
            f"sudo viaduct binfmt --uninstall {entry.name} --install {arch}",
        )
    if not facts.host.mounted:
        return Unseen()
    return Missing(
        f"cannot run {arch} programs: no emulator is registered", _installation(arch, facts)
    )


def _installation(arch: str, facts: Facts) -> str:
    register = f"sudo viaduct binfmt --install {arch}"
    if arch in facts.emulators:
        return register
    return f"sudo apt-get install {PACKAGE} && {register}"


def refusal(arch: str, facts: Facts) -> PlatformError:
    """The error for programs of `arch` that turned out not to run here."""
    road = decide(arch, facts)
    if isinstance(road, Missing):
        return PlatformError(road.what, hint=road.hint)
    machine = MACHINES.get(arch)
    if isinstance(road, Private):
        return PlatformError(
            f"cannot run {arch} programs: {road.program} does not work here",
            hint=f"sudo apt-get install --reinstall {PACKAGE}",
        )
    name = machine.handler if machine else arch
    install = f"sudo viaduct binfmt --install {arch}"
    return PlatformError(
        f"cannot run {arch} programs: the kernel has no working handler {name}",
        hint=install if arch in facts.emulators else f"sudo apt-get install {PACKAGE} && {install}",
    )


def levels(flags: frozenset[str]) -> tuple[str, ...]:
    """The x86-64 levels above the first that a processor with these features has."""
    out: list[str] = []
    for level, needed in _LEVELS.items():
        if not needed <= flags:
            break
        out.append(level)
    return tuple(out)
