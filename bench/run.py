"""`make bench`: measure Viaduct and its peers in turn, and print what came out.

    python -m bench.run --cases a,b --rounds 5 --peers viaduct,buildkit

In each round every peer has its turn, so that what else the machine does hits all of them alike.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bench import measure, start, table
from bench.cases import CASES
from bench.peers.buildah import Buildah
from bench.peers.buildkit import BuildKit
from bench.peers.viaduct import Viaduct
from bench.world import open_world
from tests.parts import debs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.cases import Case
    from bench.peers.peer import Build, Peer
    from bench.world import World

_PEERS = (Viaduct, BuildKit, Buildah)
_LANGUAGE = "language"
_KEYS = (*dict.fromkeys(case.key for case in CASES), start.KEY, _LANGUAGE)


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _arguments(arguments)
    place = asked.place / f"run-{os.getpid()}"
    print(table.machine(), flush=True)
    native = [case for case in CASES if case.key in asked.cases and not case.foreign]
    foreign = [case for case in CASES if case.key in asked.cases and case.foreign]
    failed = False
    if native or start.KEY in asked.cases:
        with ExitStack() as stack:
            world = stack.enter_context(open_world(place))
            failed |= _compare(world, native, asked.peers, asked.rounds)
            if start.KEY in asked.cases:
                print(f"\n{start.run(world)}", flush=True)
    if foreign:
        failed |= _emulated(foreign, asked.place, asked.peers, asked.rounds)
    if _LANGUAGE in asked.cases:
        failed |= _language(asked.rounds)
    return int(failed)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    names = [peer.name for peer in _PEERS]
    parser.add_argument("--cases", type=_choice(_KEYS), default=_KEYS, help=", ".join(_KEYS))
    parser.add_argument("--peers", type=_choice(names), default=names, help=", ".join(names))
    parser.add_argument("--rounds", type=int, default=3, help="runs of each peer in each case")
    parser.add_argument(
        "--place",
        type=lambda text: Path(text).absolute(),
        default=debs.WORK / "bench",
        help="a directory for everything that is written; 40 GB on a quiet disk",
    )
    return parser.parse_args(arguments)


def _choice(known: Sequence[str]) -> Callable[[str], list[str]]:
    def chosen(text: str) -> list[str]:
        names = list(known) if text == "all" else text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(known)}")
        return names

    return chosen


def _compare(world: World, cases: Sequence[Case], names: Sequence[str], rounds: int) -> bool:
    """Run and print `cases`; whether something failed."""
    failed = False
    peers = [peer(world.place) for peer in _PEERS if peer.name in names]
    with ExitStack() as stack:
        here = []
        for peer in peers:
            if peer.why_not(foreign=False):
                continue
            stack.callback(peer.stop)
            peer.start()
            here.append(peer)
            print(f"{peer.name}: {peer.version()}", flush=True)
        for case in cases:
            absent = {peer.name: peer.why_not(foreign=case.foreign) for peer in peers}
            able = [peer for peer in here if not absent[peer.name]]
            costs, broken = _measure(case, world, able, rounds)
            failed |= bool(broken)
            absent = {name: why for name, why in {**absent, **broken}.items() if why}
            print(f"\n{table.show(case, costs, absent)}", flush=True)
    return failed


def _measure(
    case: Case, world: World, peers: Sequence[Peer], rounds: int
) -> tuple[dict[str, table.Cost], dict[str, str]]:
    """What `case` costs each peer, and why those that failed did."""
    builds = case.prepare(world)
    samples: dict[str, list[measure.Sample]] = {peer.name: [] for peer in peers}
    peaks = dict.fromkeys(samples, 0)
    broken: dict[str, str] = {}
    # A first round that does not count: it fills page caches, and what a warm case needs.
    for turn in range(rounds + 1 + case.memory):
        for peer in peers:
            if peer.name in broken:
                continue
            if case.cold or turn == 0:
                peer.forget()
            watched = turn > rounds
            try:
                build = builds(f"{peer.name}-{turn}")
                sample = _once(peer, build, world, memory=watched)
            except measure.CommandFailed as error:
                broken[peer.name] = f"failed: {error}"
                continue
            if watched:
                peaks[peer.name] = sample.peak
            elif turn:
                samples[peer.name].append(sample)
    for peer in peers:
        peer.forget()
    costs = {
        name: table.Cost(runs, peaks[name]) for name, runs in samples.items() if name not in broken
    }
    return costs, broken


def _once(peer: Peer, build: Build, world: World, *, memory: bool) -> measure.Sample:
    return measure.run(
        peer.commands(build),
        env=peer.environment(),
        log=world.place / f"{peer.name}.log",
        daemons=peer.daemons(),
        memory=memory,
    )


def _emulated(cases: Sequence[Case], place: Path, names: Sequence[str], rounds: int) -> bool:
    """The same where QEMU is registered with the kernel, which the peers need: in a user namespace
    of our own, so that this machine stays as it is. The peers' daemons run in it too."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0
    status = 1
    try:
        from viaduct.oci import platform
        from viaduct.sandbox import binfmt
        from viaduct.sandbox.emulate import Emulators
        from viaduct.sandbox.enter import enter

        enter()
        emulators = Emulators(own_namespace=True)
        emulators.ensure([platform.parse("linux/arm64")])
        binfmt.mount_host(Path(binfmt.HOST_TABLE))
        with open_world(place / f"emulated-{os.getpid()}") as world:
            status = int(_compare(world, cases, names, rounds))
        emulators.close()
    finally:
        sys.stdout.flush()
        os._exit(status)


def _language(rounds: int) -> bool:
    """The figures of the Dockerfile language, which have a program of their own."""
    if importlib.util.find_spec("bench.language") is None:
        print(f"\n({_LANGUAGE}) not measured: there is no bench/language.py")
        return False
    print(f"\n({_LANGUAGE})", flush=True)
    argv = [sys.executable, "-m", "bench.language", str(rounds)]
    return subprocess.run(argv, check=False).returncode != 0


if __name__ == "__main__":
    sys.exit(main())
