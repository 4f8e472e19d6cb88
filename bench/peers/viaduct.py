"""Viaduct, as installed in this environment, or where `$VIADUCT_BENCH_VIADUCT` says: an environment
of its own holds what users have, and does not change while the checkout is worked on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.peers.state import State

import viaduct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.peers.peer import Build

PROGRAM = os.environ.get("VIADUCT_BENCH_VIADUCT") or str(Path(sys.executable).with_name("viaduct"))


class Viaduct:
    name = "viaduct"

    def __init__(self, place: Path) -> None:
        self._state = State(place / "viaduct")

    def why_not(self, *, foreign: bool) -> str:
        if not Path(PROGRAM).exists():
            return f"{PROGRAM} is not there; run make setup"
        if foreign and not shutil.which("qemu-aarch64-static"):
            return "no qemu-aarch64-static"
        return ""

    def version(self) -> str:
        done = subprocess.run([PROGRAM, "version"], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def start(self) -> None:
        # Installed packages have their bytecode; a checkout that is worked on may lack some.
        package = Path(viaduct.__file__).parent
        subprocess.run([sys.executable, "-m", "compileall", "-q", package], check=True)
        self._state.renew()

    def stop(self) -> None:
        self._state.remove()

    def commands(self, build: Build) -> list[list[str]]:
        argv = [PROGRAM, "build", "--progress", "plain", "--platform", ",".join(build.platforms)]
        for name, value in build.args.items():
            argv += ["--build-arg", f"{name}={value}"]
        argv += ["-t", build.tag, "--push"] if build.tag else ["--output", "type=cacheonly"]
        return [[*argv, str(build.context)]]

    def environment(self) -> Mapping[str, str]:
        # Whatever namespace the benchmark runs in, Viaduct enters one of its own, as it does for
        # everybody.
        env = {name: value for name, value in os.environ.items() if name != "VIADUCT_NAMESPACE"}
        return {**env, "VIADUCT_HOME": str(self._state.path)}

    def daemons(self) -> Sequence[int]:
        return ()

    def forget(self) -> None:
        self._state.renew()


def registered() -> bool:
    """Whether the kernel hands arm64 programs to an emulator."""
    return Path("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists()


def search_path() -> str:
    """Where peers are looked for: `$VIADUCT_BENCH_BUILDKIT`, directories separated by colons, PATH,
    and where Debian keeps the programs of administrators."""
    more = os.environ.get("VIADUCT_BENCH_BUILDKIT", "")
    return os.pathsep.join(filter(None, (more, os.environ.get("PATH", ""), "/usr/sbin", "/sbin")))
