"""Figures of the Dockerfile language: reading a large Dockerfile, and ignore files over a large
context.

    python -m bench.language [ROUNDS]

`run` is what `bench.run` prints; both can be used without a registry, a network or root.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.parts.lowering import IMAGES, Images

from viaduct.base.spans import Source
from viaduct.dockerfile.ignore import Matcher
from viaduct.dockerfile.lint.context import LintContext
from viaduct.dockerfile.lint.run import check
from viaduct.dockerfile.lower import lower
from viaduct.dockerfile.options import LowerOptions
from viaduct.dockerfile.parse import parse
from viaduct.oci.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What the figures are to stay under, in seconds.
DOCKERFILE_LIMIT = 0.050
CONTEXT_LIMIT = 1.5

_STAGES = 60
_LINES = 1000
_FILES = 100_000
_PATTERNS = 200


def run(rounds: int = 5) -> str:
    """Measure, and tell in a few lines: the best of `rounds`."""
    return "\n".join([*_dockerfile(rounds), *_context(rounds)])


def large_dockerfile() -> str:
    """1,000 lines in 60 stages that build on and copy from each other."""
    lines = ["# syntax=docker/dockerfile:1", "ARG VERSION=1.2.3", "ARG REGISTRY=docker.io/library"]
    for number in range(_STAGES):
        base = "$REGISTRY/alpine" if number % 3 == 0 else f"stage{number - 1}"
        lines += [
            f"FROM {base} AS stage{number}",
            "ARG VERSION TARGETARCH",
            f"ENV NAME=stage-{number} PREFIX=/opt/${{VERSION%.*}} \\",
            f'    FLAGS="-O2 -DNUMBER={number}"',
            "WORKDIR /src/$NAME",
            "COPY --chown=1000:1000 go.mod go.sum *.json ./",
            "RUN --mount=type=cache,target=/root/.cache --mount=type=secret,id=token \\",
            "    set -eux; \\",
            "    # fetch what this architecture needs",
            f"    curl -fsSLO https://example.com/tool-${{VERSION}}-${{TARGETARCH}}-{number}; \\",
            "    make -j4 PREFIX=$PREFIX",
            f"LABEL org.example.stage={number} org.example.version=$VERSION",
            "RUN <<EOF",
            f"echo {number} > /etc/stage",
            "EOF",
        ]
        if number > 2:
            lines.append(f"COPY --from=stage{number - 2} /etc/stage /etc/stage-{number - 2}")
    lines += [f"ENV FILLER_{number}=$NAME" for number in range(_LINES - len(lines))]
    return "\n".join(lines) + "\n"


def ignore_patterns() -> list[str]:
    """200 patterns of all the kinds that ignore files have, exceptions among them."""
    kinds = (
        "**/name{0}",
        "dir{0}",
        "dir{0}/**/cache",
        "**/*.ext{0}",
        "dir{0}/sub*/file1",
        "!dir{0}/keep",
        "**/build{0}/*.o",
        "*/sub{0}",
        "dir1?/sub{0}/*[0-9].tmp",
        "**/a{0}/**/b",
    )
    return [kinds[number % len(kinds)].format(number) for number in range(_PATTERNS)]


def _dockerfile(rounds: int) -> Iterator[str]:
    text = large_dockerfile()
    options = LowerOptions(build_platform=Platform("linux", "amd64"))
    target = Platform("linux", "arm64")

    def read() -> None:
        lower(parse(Source("Dockerfile", text)), options, target, Images(IMAGES))

    def look() -> None:
        check(parse(Source("Dockerfile", text)), LintContext())

    # Short work is easily met by somebody else's: more goes find a quiet moment.
    taken = _best(read, 5 * rounds)
    yield _line("parse and lower 1,000 lines, 60 stages", taken, DOCKERFILE_LIMIT)
    yield _line("parse and check the same", _best(look, rounds))


def _context(rounds: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="viaduct-bench-") as folder:
        _make_files(Path(folder))
        plain = _best(lambda: _walk(folder), rounds)
        patterns = ignore_patterns()
        asked = _best(lambda: _walk(folder, Matcher(patterns)), rounds)
    yield _line("walk 100,000 files with os.scandir", plain)
    yield _line("the same, each asked of 200 ignore patterns", asked, CONTEXT_LIMIT)
    yield f"    {asked / plain:.1f} times the plain walk"


def _make_files(root: Path) -> None:
    for number in range(_FILES // 100):
        folder = root / f"dir{number // 50}" / f"sub{number % 50}"
        folder.mkdir(parents=True)
        for file in range(100):
            os.close(os.open(folder / f"file{file}.c", os.O_CREAT | os.O_WRONLY))


def _walk(folder: str, matcher: Matcher | None = None) -> int:
    """Visit every file; with a matcher, ask it about each. How many were seen."""
    seen = 0
    waiting = [(folder, "")]
    while waiting:
        path, prefix = waiting.pop()
        with os.scandir(path) as entries:
            for entry in entries:
                name = f"{prefix}{entry.name}"
                seen += matcher is None or not matcher.excludes(name)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, f"{name}/"))
    return seen


def _best(work: Callable[[], object], rounds: int) -> float:
    """The shortest of several runs: nothing here waits, so what is longer is somebody else's."""
    work()
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def _line(what: str, taken: float, limit: float | None = None) -> str:
    bound = "" if limit is None else f"  (limit {limit * 1000:.0f} ms)"
    return f"{what:48} {taken * 1000:8.1f} ms{bound}"


if __name__ == "__main__":
    print(run(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
