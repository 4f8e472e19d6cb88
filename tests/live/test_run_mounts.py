"""RUN --mount: what a step sees through its mounts, and what they leave behind."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.parts.filetree import build_layers, build_tree

if TYPE_CHECKING:
    from tests.parts.contexts import Context


def test_a_cache_mounted_twice_by_one_step_is_one_directory(context: Context) -> None:
    context.dockerfile(
        "FROM BASE\nRUN --mount=type=cache,id=twice,target=/a --mount=type=cache,id=twice,target=/b"
        " touch /a/x && ls /b > /o\n"
    )
    assert build_tree(context).text("o") == "x\n"


def test_caches_that_began_differently_are_not_the_same(context: Context) -> None:
    context.dockerfile(
        "FROM BASE AS seed\nRUN mkdir /s && touch /s/seeded\n"
        "FROM BASE\n"
        "RUN --mount=type=cache,id=began,target=/c touch /c/plain && stat -c %a /c > /1\n"
        "RUN --mount=type=cache,id=began,target=/c,mode=1711,uid=5,gid=6"
        " stat -c '%a %u %g' /c > /2 && ls /c >> /2\n"
        "RUN --mount=type=cache,id=began,target=/c,from=seed,source=/s ls /c > /3\n"
        "RUN --mount=type=cache,id=began,target=/c ls /c > /4\n"
        "RUN --mount=type=cache,id=began,target=/c,mode=0 stat -c %a /c > /5\n"
    )
    tree = build_tree(context)
    assert [tree.text(str(n)) for n in range(1, 6)] == [
        "755\n",
        "711 5 6\n",
        "seeded\n",
        "plain\n",
        "0\n",
    ]


def test_source_of_a_cache_is_a_directory_inside_of_it(context: Context) -> None:
    context.dockerfile(
        "FROM BASE\nRUN --mount=type=cache,id=inside,target=/c mkdir -p /c/sub && touch /c/sub/f\n"
        "RUN --mount=type=cache,id=inside,target=/c,source=sub ls /c > /o\n"
    )
    assert build_tree(context).text("o") == "f\n"
    context.dockerfile("FROM BASE\nRUN --mount=type=cache,id=inside,target=/c,source=none true\n")
    failed = context.build(check=False)
    assert (failed.status, '"/none": not found' in failed.stderr) == (1, True)


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_mount_points_leave_nothing_but_what_was_put_beside_them(
    context: Context, runtime: str
) -> None:
    context.file("f")
    context.dockerfile(
        "FROM BASE\nRUN ln -s /nowhere/at /link\n"
        "RUN --mount=target=/p/q/m --mount=target=/r/file,source=f"
        " --mount=type=tmpfs,target=/link touch /p/q/beside\n"
    )
    env = {**os.environ, "VIADUCT_RUNTIME": runtime}
    (_, names) = build_layers(context, "--no-cache", env=env)[-1]
    assert names == ("p", "p/q", "p/q/beside")
    tree = build_tree(context)
    assert (tree.mode("p"), tree.mode("p/q")) == (0o755, 0o755)


def test_a_tmpfs_can_be_read_only(context: Context) -> None:
    context.dockerfile(
        "FROM BASE\nRUN --mount=type=tmpfs,target=/t,ro touch /t/x 2>/dev/null || echo no > /o\n"
    )
    assert build_tree(context).text("o") == "no\n"


def test_relative_targets_are_below_the_working_directory(context: Context) -> None:
    context.file("secret", "value")
    context.dockerfile(
        "FROM BASE\nWORKDIR /w\n"
        "RUN --mount=type=secret,id=s,target=deep/s --mount=target=ctx"
        " cat /w/deep/s /w/ctx/secret > /o\n"
    )
    tree = build_tree(context, "--secret", f"id=s,src={context.root / 'secret'}")
    assert tree.text("o") == "valuevalue"
