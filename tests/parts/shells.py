"""A person's shell in which Docker's command line is a command, and Viaduct too."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.parts.command import VIADUCT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Shell:
    """`docker` and `viaduct` are commands, the current directory is `where`."""

    where: Path
    path: str

    def __call__(self, script: str, *, check: bool = True, **env: str) -> str:
        """Type a line; what it prints to standard output. With `check` a failure is an
        AssertionError that shows both streams; without, the streams and the status are returned."""
        done = subprocess.run(
            ["sh", "-c", script],
            cwd=self.where,
            env=self.env(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        if check:
            assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
            return done.stdout
        return f"{done.stdout}{done.stderr}{done.returncode}"

    def env(self, more: Mapping[str, str]) -> dict[str, str]:
        return {**os.environ, "PATH": self.path, **more}


def docker_shell(programs: Path, docker: str, where: Path) -> Shell:
    """A shell in `where` whose `docker` is that one, without the plugin; its commands are made in
    the new directory `programs`."""
    programs.mkdir()
    (programs / "docker").symlink_to(docker)
    words = " ".join(f"'{word}'" for word in VIADUCT)
    (programs / "viaduct").write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    (programs / "viaduct").chmod(0o755)
    return Shell(where, f"{programs}:{os.environ['PATH']}")
