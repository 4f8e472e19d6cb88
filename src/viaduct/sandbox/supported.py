"""Every platform that runs here, found by running a program for each."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from viaduct.oci.platform import Platform
from viaduct.sandbox import binfmt, probe
from viaduct.sandbox.emulate import gather
from viaduct.sandbox.machines import MACHINES
from viaduct.sandbox.roads import Facts, Missing, Private, decide, levels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def supported(*, own_namespace: bool) -> tuple[Platform, ...]:
    """Our own platform with its variants first, then in the order of the peers.

    Inside of a user namespace that we made (`own_namespace`) the emulators that are installed count
    where it can have a table of them, and for good as far as this process goes: that table hides
    the machine's. Otherwise what the machine's table runs counts.
    """
    facts = gather(own_namespace=own_namespace)
    running = {facts.machine, *facts.relatives}
    # The machine's table first, for what we have no emulator of our own for.
    running |= _running(a for a in MACHINES if a not in running and a not in facts.emulators)
    left = [arch for arch in MACHINES if arch not in running]
    with _table(facts) as table:
        # Every emulator is registered before the first program runs: they run side by side.
        reached = [arch for arch in left if _reach(arch, facts, table)]
        statuses = probe.run_all(reached)
    running |= {arch for arch, status in statuses.items() if probe.ran(arch, status)}
    return _listed(facts, running, emulated_level=(statuses.get("amd64") or 64) - 64)


@contextlib.contextmanager
def _table(facts: Facts) -> Iterator[int | None]:
    """A table of our own; None where none can be had: the kernel was built without, or somebody
    forbids it."""
    try:
        table = binfmt.open_private() if facts.private_table else None
    except OSError:
        table = None
    try:
        yield table
    finally:
        if table is not None:
            os.close(table)


def _reach(arch: str, facts: Facts, table: int | None) -> bool:
    """Have programs of `arch` find their emulator, if there is a way."""
    road = decide(arch, facts, private=table is not None)
    if isinstance(road, Private) and table is not None:
        # With the flags that every version of QEMU knows, so that none has to be asked for its own.
        try:
            binfmt.register(table, road.machine, road.program, binfmt.ALWAYS)
        except OSError as error:
            return error.errno == errno.EEXIST
    return not isinstance(road, Missing)


def _running(arches: Iterable[str]) -> set[str]:
    """Those of `arches` whose programs run as things are."""
    return {arch for arch, status in probe.run_all(arches).items() if probe.ran(arch, status)}


def _listed(facts: Facts, running: set[str], *, emulated_level: int) -> tuple[Platform, ...]:
    out = [Platform("linux", facts.machine)]
    if facts.machine == "amd64":
        out += [Platform("linux", "amd64", level) for level in levels(facts.cpu_flags)]
    for arch in MACHINES:
        if arch == facts.machine or arch not in running:
            continue
        if arch == "arm":
            out += [Platform("linux", "arm", "v7"), Platform("linux", "arm", "v6")]
        else:
            out.append(Platform("linux", arch))
        if arch == "amd64" and emulated_level >= 2:
            out.append(Platform("linux", "amd64", "v2"))
    return tuple(out)
