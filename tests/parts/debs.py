"""Debian packages of any architecture, fetched once and never installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from viaduct.base import fs

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).resolve().parents[2]
#: What `make clean` removes; survives from one run to the next.
WORK = TOP / ".work"


def native() -> str:
    """Debian's name of the architecture that tests run on."""
    done = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True)
    return done.stdout.decode().strip()


def fetch(arch: str, *packages: str, with_dependencies: bool = False) -> tuple[Path, ...]:
    """The `.deb` files of packages for `arch` (Debian's name), optionally with all they need."""
    option = ["--with-dependencies"] if with_dependencies else []
    done = subprocess.run(
        [str(TOP / "scripts/debs.sh"), *option, arch, *packages],
        check=True,
        stdout=subprocess.PIPE,
    )
    return tuple(Path(line) for line in done.stdout.decode().splitlines())


@contextlib.contextmanager
def made_once(path: Path) -> Iterator[Path | None]:
    """Yield a place to make the file or directory `path` in, or None when it is already there.

    What was made appears under `path` whole or not at all; test processes that want the same
    thing wait for the first one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with fs.locked(path.with_name(f".{path.name}.lock")):
        if path.exists():
            yield None
            return
        draft = path.with_name(f".{path.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.unlink(missing_ok=True)
        yield draft
        os.rename(draft, path)
