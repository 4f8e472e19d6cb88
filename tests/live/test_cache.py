"""What a second build takes from the first, and what it does again."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.parts import users
from tests.parts.contexts import BOTH
from tests.parts.filetree import build_layers, build_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.parts.contexts import Context

_HIT, _MISS = "CACHED", "DONE"


def _touch(root: Path) -> None:
    os.utime(root / "f", (1, 1))


def _own(root: Path) -> None:
    users.give(root / "f", 5, 6)


def _change(root: Path) -> None:
    (root / "f").write_text("other")


def _chmod(root: Path) -> None:
    (root / "f").chmod(0o755)


def _elsewhere(root: Path) -> None:
    (root / "unread").write_text("x")


@pytest.mark.parametrize(
    ("edit", "outcome"),
    [(_touch, _HIT), (_own, _HIT), (_elsewhere, _HIT), (_change, _MISS), (_chmod, _MISS)],
)
def test_a_copied_file_counts_by_content_mode_and_name(
    context: Context, edit: Callable[[Path], None], outcome: str
) -> None:
    context.file("f", edit.__name__)
    context.dockerfile("FROM BASE\nCOPY f /\nRUN cat /f\n")
    context.build()
    edit(context.root)
    log = context.build().log
    assert (log.step("COPY f").outcome, log.step("RUN cat").outcome) == (outcome, outcome)


@pytest.mark.parametrize(
    ("name", "before", "after", "outcome"),
    [
        ("declared", "ARG A\nRUN true declared", ("--build-arg", "A=2"), _MISS),
        ("late", "RUN true late\nARG A", ("--build-arg", "A=2"), _HIT),
        ("proxy", "RUN true proxy", ("--build-arg", "http_proxy=http://x"), _HIT),
        ("limit", "RUN true limit", ("--ulimit", "nofile=100", "--shm-size", "8m"), _HIT),
        ("off", "RUN true off", ("--no-cache",), _MISS),
    ],
)
def test_a_step_counts_by_what_may_decide_its_result(
    context: Context, name: str, before: str, after: tuple[str, ...], outcome: str
) -> None:
    context.dockerfile(f"FROM BASE\n{before}\n")
    context.build()
    assert context.build(*after).log.step(f"RUN true {name}").outcome == outcome


def test_a_bind_mount_counts_by_what_is_seen_through_it(context: Context) -> None:
    context.file("d/f", "bind")
    context.file("other")
    context.dockerfile("FROM BASE\nRUN --mount=target=/m,source=d cat /m/f\n")
    context.build()
    context.file("other", "changed")
    assert context.build().log.step("RUN --mount").outcome == _HIT
    context.file("d/f", "changed")
    assert context.build().log.step("RUN --mount").outcome == _MISS


def test_a_linked_layer_moves_to_another_base_without_being_made_again(context: Context) -> None:
    context.file("f", "linked")
    context.dockerfile("FROM BASE\nRUN echo 1 > /x\nCOPY --link f /d/\n")
    first = build_layers(context)
    context.dockerfile("FROM BASE\nRUN echo 2 > /x\nCOPY --link f /d/\n")
    second = build_layers(context)
    assert first[-2] != second[-2]
    assert first[-1] == second[-1]
    assert build_tree(context).text("x") == "2\n"


def test_caches_without_a_name_are_one_for_each_platform(context: Context, tmp_path: Path) -> None:
    context.dockerfile(
        "FROM BASE\nARG TARGETARCH\n"
        "RUN --mount=type=cache,target=/own touch /own/$TARGETARCH && ls /own > /own.txt\n"
        "RUN --mount=type=cache,target=/all,id=all,sharing=locked"
        " touch /all/$TARGETARCH && ls /all > /all.txt\n"
    )
    out = tmp_path / "out"
    context.build(*BOTH, "-o", f"type=local,dest={out}")
    seen = []
    for arch in ("amd64", "arm64"):
        assert (out / f"linux_{arch}/own.txt").read_text() == f"{arch}\n"
        seen.append((out / f"linux_{arch}/all.txt").read_text().split())
    assert sorted(map(len, seen)) == [1, 2]


#: Each of these costs a build milliseconds, and is for work that a build from the cache has not.
_FOR_WORK = (
    *("click", "dataclasses", "email", "http.client", "rich", "secrets", "shutil", "ssl"),
    *("subprocess", "tempfile"),
    *("viaduct.export.files", "viaduct.export.layout", "viaduct.layer.extract"),
    *("viaduct.ops.git", "viaduct.ops.http", "viaduct.ops.mounts", "viaduct.ops.ssh"),
    *("viaduct.sandbox.emulate", "viaduct.sandbox.runtime", "viaduct.sandbox.spec"),
)


def test_a_build_in_which_nothing_changed_imports_only_what_it_needs(context: Context) -> None:
    context.file("f", "x")
    context.dockerfile("FROM BASE\nCOPY f /\nRUN cat /f\nWORKDIR /w\n")
    built = context.build("-o", "type=cacheonly")
    assert "CACHED" not in built.stderr
    script = (
        "import sys\n"
        "from viaduct.cli.main import run\n"
        "status = run('viaduct', ['build', '--progress=quiet', '-otype=cacheonly', sys.argv[1]])\n"
        f"print(status, *sorted(set({_FOR_WORK!r}) & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, context.root], capture_output=True, text=True, check=False
    )
    assert done.stderr == "0\n"
