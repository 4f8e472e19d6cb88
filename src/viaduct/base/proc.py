"""The one door to external programs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from viaduct.base.errors import SandboxError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence

# Debian keeps runc, newuidmap and mount helpers in sbin, which an ordinary user's PATH lacks.
_EXTRA_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")


def search_path() -> str:
    """PATH of this process, completed with the system directories."""
    parts = os.environ.get("PATH", "").split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([*filter(None, parts), *_EXTRA_PATH]))


def find(program: str) -> str | None:
    """The path of `program`, which may be one already, or None."""
    for directory in [""] if "/" in program else search_path().split(os.pathsep):
        path = os.path.join(directory, program)
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    return None


def replayable(argv: Sequence[str]) -> str:
    """The command as a person can paste it into a shell."""
    import shlex

    return shlex.join(argv)


def run(
    argv: Sequence[str],
    *,
    input_bytes: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    timeout: float | None = None,
    pass_fds: Sequence[int] = (),
    check: bool = True,
    hint: str = "",
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end and return what it printed.

    `env` replaces the environment when given; the descriptors `pass_fds` stay open. With `check`, a
    non-zero exit raises `SandboxError` with the last lines of its stderr and the command line; a
    missing program always raises it, with `hint`.
    """
    import subprocess

    program = find(argv[0]) if "/" not in argv[0] else argv[0]
    if program is None:
        raise SandboxError(f"{argv[0]} is not installed", hint=hint)
    try:
        done = subprocess.run(
            [program, *argv[1:]],
            input=input_bytes,
            env=None if env is None else dict(env),
            cwd=cwd,
            timeout=timeout,
            pass_fds=pass_fds,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise SandboxError(f"cannot start {argv[0]}: {error.strerror}", hint=hint) from error
    except subprocess.TimeoutExpired as error:
        raise SandboxError(f"{replayable(argv)} did not end within {timeout} s") from error
    if check and done.returncode != 0:
        tail = done.stderr.decode(errors="replace").strip().splitlines()[-5:]
        raise SandboxError(
            f"{replayable(argv)} failed with status {done.returncode}: {' / '.join(tail)}",
            hint=hint,
        )
    return done
