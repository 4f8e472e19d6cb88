"""buildah, with its storage in the benchmark's directory."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from bench.peers.state import State
from bench.peers.viaduct import registered, search_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.peers.peer import Build


class Buildah:
    name = "buildah"

    def __init__(self, place: Path) -> None:
        self._state = State(place / "buildah")
        # Debian's crun refuses a machine with both versions of cgroups, runc works everywhere.
        runtime = shutil.which("runc", path=search_path()) or "runc"
        self._build = ["build", "--layers", "--runtime", runtime]

    def why_not(self, *, foreign: bool) -> str:
        if not shutil.which("buildah"):
            return "buildah is not installed"
        if foreign and not registered():
            return "the kernel has no handler for arm64 programs"
        return ""

    def version(self) -> str:
        done = subprocess.run(["buildah", "--version"], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def start(self) -> None:
        self._state.renew()

    def stop(self) -> None:
        self._state.remove()

    def commands(self, build: Build) -> list[list[str]]:
        state = self._state.path
        buildah = ["buildah", "--root", f"{state}/root", "--runroot", f"{state}/run"]
        buildah += ["--storage-driver", "overlay"]
        argv = [*buildah, *self._build]
        argv += ["--tls-verify=false", "--platform", ",".join(build.platforms)]
        for name, value in build.args.items():
            argv += ["--build-arg", f"{name}={value}"]
        several = len(build.platforms) > 1
        # With several platforms side by side, 1.28 now and then loses a base image it has pulled.
        argv += ["--jobs", "1" if several else str(os.cpu_count() or 1)]
        name = build.tag or "localhost/bench:it"
        argv += ["--manifest" if several else "--tag", name, str(build.context)]
        commands = [argv]
        if several:
            # A manifest list that exists is added to; a user removes it first, too.
            drop = [*buildah, "manifest", "rm", name]
            commands.insert(0, ["sh", "-c", '"$@" || true', "sh", *drop])
        if build.tag:
            push = ["manifest", "push", "--all"] if several else ["push"]
            commands.append([*buildah, *push, "--tls-verify=false", name, f"docker://{build.tag}"])
        return commands

    def environment(self) -> Mapping[str, str]:
        return os.environ

    def daemons(self) -> Sequence[int]:
        return ()

    def forget(self) -> None:
        self._state.renew()
