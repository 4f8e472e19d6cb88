"""Viaduct's command line as a user's shell starts it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: Arguments that start Viaduct in this environment.
VIADUCT = (sys.executable, "-m", "viaduct")


def viaduct(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes = b"",
    check: bool = True,
    timeout: float = 100,
    around: Sequence[str] = (),
) -> subprocess.CompletedProcess[bytes]:
    """Run one command to its end. `env` replaces the environment when given; `around` is a command
    that starts the one that follows it.

    With `check`, an exit status other than 0 raises AssertionError with what was printed.
    """
    done = subprocess.run(
        [*around, *VIADUCT, *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        env=None if env is None else dict(env),
        cwd=cwd,
        timeout=timeout,
    )
    if check:
        printed = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
        assert done.returncode == 0, f"viaduct {' '.join(arguments)}: {done.returncode}\n{printed}"
    return done
