"""Build contexts, and builds of them as a user's shell starts them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.parts.command import viaduct
from tests.parts.plainlog import PlainLog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

BOTH = ("--platform", "linux/amd64,linux/arm64")


@dataclass(frozen=True)
class Built:
    """How a build ended and what it said; `log` reads standard error as a plain log."""

    status: int
    stdout: str
    stderr: str

    @property
    def log(self) -> PlainLog:
        return PlainLog(self.stderr)


@dataclass(frozen=True)
class Context:
    """A directory to build; `base` is what `FROM BASE` means in its Dockerfiles."""

    root: Path
    base: str

    def dockerfile(self, text: str, *, name: str = "Dockerfile") -> Path:
        """Write a Dockerfile, in which the word BASE is the base image."""
        path = self.root / name
        path.write_text(re.sub(r"\bBASE\b", self.base, text))
        return path

    def file(self, name: str, data: bytes | str = "", *, mode: int = 0o644) -> Path:
        """Write a file of the context, with its directories."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        path.chmod(mode)
        return path

    def build(
        self,
        *options: str,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        progress: str = "plain",
        where: str = "",
        around: Sequence[str] = (),
    ) -> Built:
        """`viaduct build` of the directory (or of `where`), started by `around`. With `check` a
        failure is an AssertionError that shows what was printed."""
        shown = ("--progress", progress) if progress else ()
        done = viaduct(
            *("build", *shown, *options, where or str(self.root)),
            env=env,
            stdin=stdin,
            check=check,
            around=around,
        )
        return Built(
            done.returncode,
            done.stdout.decode(errors="replace"),
            done.stderr.decode(errors="replace"),
        )
