"""Builds with a state directory on an overlay, as in a container: slower, with the same images."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import signal
import sqlite3
import subprocess
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.parts import machine, readers, traces
from tests.parts.command import VIADUCT, viaduct
from tests.parts.contexts import BOTH
from tests.parts.filetree import build_layers
from tests.parts.users import ordinary_user

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.parts.contexts import Context

_TOLD = "root file systems are copied, which takes longer and more room"
_NET_RAW = bytes.fromhex("0100000200200000000000000000000000000000")

#: Layers with everything that is not only an addition.
_BASE = """
FROM BASE
RUN mkdir -p /old/sub /deep/er /swap /kept /names && echo x | tee /old/one /old/sub/two /deep/er/x
RUN ln -s er /deep/link && echo > /names/x && ln /names/x /names/y && echo > /becomes-directory
RUN rm /old/one && mkdir /swap/in && echo gone > /swap/in/x && mkdir /becomes-file
RUN rm -r /swap/in && echo in > /swap/in && rm /becomes-directory && mkdir /becomes-directory
"""

_DOCKERFILE = """
FROM base AS tools
RUN mkdir -p /t/a/b /t/c && echo tool > /t/a/b/tool && ln -s a/b /t/link
RUN mv /t/a /t/moved && rm /bin/sed && echo > /t/c/one && ln /t/c/one /t/two
FROM base
ARG TARGETARCH
RUN rm -r /old && rm -r /becomes-file && echo file > /becomes-file && mv /deep/er /deep/moved
RUN chown -R 12:34 /deep && chmod 4750 /kept && truncate -s 3M /sparse && mkfifo /fifo
ADD capable.tar /opt/
COPY --from=tools --chown=7:8 /t /from
COPY --link note /linked/note
RUN --mount=type=bind,from=tools,target=/m,rw rm -r /m/t /m/bin/sh && touch /m/new && ls /from
RUN --mount=type=cache,target=/cache echo $TARGETARCH > /cache/x && touch /opt/empty
RUN true
WORKDIR /work
COPY . .
RUN ls -l /work/note > /seen && rm note && ln /seen /seen-again
"""


def _elsewhere(name: str, tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "VIADUCT_HOME": str(tmp_path / name), "SOURCE_DATE_EPOCH": "1700000000"}


@pytest.fixture
def overlay(tmp_path: Path) -> tuple[str, ...]:
    """What starts a command that finds its state directory on an overlay."""
    return machine.with_overlay(tmp_path / "overlay")


@pytest.fixture
def env(tmp_path: Path) -> Mapping[str, str]:
    return _elsewhere("overlay/state", tmp_path)


def _capable() -> bytes:
    """An archive with a program that has a file capability."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("capable")
        info.mode, info.size = 0o755, 3
        value = _NET_RAW.decode("utf-8", "surrogateescape")
        info.pax_headers = {"SCHILY.xattr.security.capability": value}
        archive.addfile(info, io.BytesIO(b"abc"))
    return out.getvalue()


def _members(archive: Path) -> dict[str, tuple[object, ...]]:
    """Everything that the archive says of each file."""
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(archive) as members:
        for member in members:
            file = members.extractfile(member) if member.isreg() else None
            content = hashlib.sha256(file.read()).hexdigest() if file else ""
            looks = (member.type, member.mode, member.uid, member.gid, member.mtime)
            found[member.name] = (*looks, member.linkname, content, dict(member.pax_headers))
    return found


def _prepare(context: Context, registry: str) -> str:
    """Write the context, and push its base image of several layers."""
    base = f"{registry}/checkouts-base:1"
    context.dockerfile(_BASE)
    context.build(*BOTH, "-t", base, "--push")
    context.file("note", "note\n")
    context.file("capable.tar", _capable())
    (context.root / "Dockerfile").write_text(_DOCKERFILE.replace("FROM base", f"FROM {base}"))
    return base


def test_images_are_the_same_as_on_a_file_system_that_takes_overlays(
    context: Context,
    registry: str,
    tmp_path: Path,
    overlay: Sequence[str],
    env: Mapping[str, str],
) -> None:
    _prepare(context, registry)
    plain = _elsewhere("plain", tmp_path)
    builds: list[tuple[str, Mapping[str, str], Sequence[str]]] = [
        ("plain", plain, ()),
        ("copied", env, overlay),
    ]
    for name, home, around in builds:
        image = f"type=image,name={registry}/checkouts-{name}:1,push=true,rewrite-timestamp=true"
        tar = f"type=tar,dest={tmp_path}/{name}.tar"
        built = context.build(*BOTH, "-o", image, "-o", tar, env=home, around=around)
        assert built.stderr.count(_TOLD) == (name == "copied")
    trees = [_members(tmp_path / f"{name}.tar") for name in ("plain", "copied")]
    assert trees[0] == trees[1]
    assert trees[0]["linux_amd64/opt/capable"][-1]
    for arch in ("amd64", "arm64"):
        configs = [
            readers.config(f"docker://{registry}/checkouts-{name}:1", f"linux/{arch}")
            for name in ("plain", "copied")
        ]
        # With the diff ids of all layers.
        assert configs[0] == configs[1]


def test_only_a_directory_made_anew_makes_another_layer(
    context: Context, tmp_path: Path, overlay: Sequence[str], env: Mapping[str, str]
) -> None:
    """overlayfs hides what was in it as a whole, and here every name is hidden."""
    context.dockerfile(
        "FROM BASE\nRUN mkdir /d && touch /d/old /d/kept\n"
        "RUN rm -r /d && mkdir /d && touch /d/new\n"
    )
    plain = build_layers(context, env=_elsewhere("plain", tmp_path))
    copied = build_layers(context, env=env, around=overlay)
    assert [names for _, names in plain[:-1]] == [names for _, names in copied[:-1]]
    assert plain[-1][1] == ("d", "d/.wh..wh..opq", "d/new")
    assert sorted(copied[-1][1]) == ["d", "d/.wh.kept", "d/.wh.old", "d/new"]


def test_names_of_one_file_stay_together(
    context: Context, overlay: Sequence[str], env: Mapping[str, str]
) -> None:
    """As everywhere but on overlayfs, which makes a file of its own of a name that is changed."""
    context.dockerfile("FROM BASE\nRUN echo 1 > /x && ln /x /y\nRUN echo 2 > /x && cat /y\n")
    built = context.build(env=env, around=overlay)
    assert built.log.step("cat /y").output == ["2"]


def test_what_was_built_is_in_the_cache_and_can_be_run(
    context: Context, overlay: Sequence[str], env: Mapping[str, str]
) -> None:
    context.dockerfile("FROM BASE\nRUN echo made > /made && rm /bin/sed\nRUN echo more >> /made\n")
    context.build("-t", "it", "--load", env=env, around=overlay)
    again = context.build("-t", "it", "--load", env=env, around=overlay)
    assert again.log.step("echo more").cached
    script = "cat /made; test -e /bin/sed || echo gone; echo > /new"
    for _ in range(2):
        ran = viaduct("run", "--rm", "it", "sh", "-c", script, env=env, around=overlay)
        assert ran.stdout == b"made\nmore\ngone\n"
        assert ran.stderr.decode().startswith(f"WARNING: {_TOLD}")


def test_a_build_and_the_doctor_say_why_and_what_to_do(
    context: Context, overlay: Sequence[str], env: Mapping[str, str]
) -> None:
    context.dockerfile("FROM BASE\nRUN true\n")
    built = context.build(env=env, around=overlay)
    (told,) = [line for line in built.stderr.splitlines() if _TOLD in line]
    assert "the file system of VIADUCT_HOME (overlay) cannot hold overlays" in told
    findings = viaduct("doctor", env=env, around=overlay).stdout.decode().splitlines()
    (finding,) = [line for line in findings if "overlayfs:" in line]
    assert finding.startswith("warning  overlayfs: the file system of VIADUCT_HOME (overlay)")
    for text in (told, finding):
        assert (
            "point VIADUCT_HOME at ext4, xfs, btrfs or tmpfs (in a container, at a volume)" in text
        )


def test_state_that_was_begun_on_an_overlay_stays_right_elsewhere(
    context: Context, tmp_path: Path, overlay: Sequence[str], env: Mapping[str, str]
) -> None:
    """What hides a file there would not hide it in an overlay."""
    context.dockerfile("FROM BASE\nRUN rm /bin/sed\nRUN test ! -e /bin/sed\n")
    context.build(env=env, around=overlay)
    context.dockerfile("FROM BASE\nRUN rm /bin/sed\nRUN test ! -e /bin/sed && echo right\n")
    moved = {**env, "VIADUCT_HOME": str(tmp_path / "overlay.upper/state")}
    built = context.build(env=moved)
    assert built.log.step("rm /bin/sed").cached
    assert "was begun where overlays cannot stand; point VIADUCT_HOME at a new" in built.stderr


def test_a_killed_build_leaves_nothing_after_the_next_start(
    context: Context, tmp_path: Path, overlay: Sequence[str], env: Mapping[str, str]
) -> None:
    context.dockerfile("FROM BASE\nRUN echo made > /made\nRUN echo started; sleep 1000\n")
    arguments = [*overlay, *VIADUCT, "build", "--progress", "plain", str(context.root)]
    with subprocess.Popen(
        arguments, env=dict(env), stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as build:
        assert build.stderr is not None
        assert any(line.endswith(" started\n") for line in build.stderr)
        os.killpg(build.pid, signal.SIGKILL)
    state = tmp_path / "overlay.upper/state"
    assert traces.settled(str(tmp_path)) == []
    left = set(os.listdir(state / "snapshots"))
    assert viaduct("du", env=env, around=overlay).returncode == 0
    assert set(os.listdir(state / "snapshots")) < left
    assert _unknown_snapshots(state) == []
    assert [name for name in os.listdir(state / "trash") if not name.startswith("stuck.")] == []


def _unknown_snapshots(state: Path) -> list[str]:
    """Snapshot directories that no finished snapshot has."""
    with contextlib.closing(sqlite3.connect(state / "viaduct.db")) as db:
        known = {
            str(row[0]) for row in db.execute("SELECT directory FROM snapshots WHERE owner IS NULL")
        }
    return sorted(set(os.listdir(state / "snapshots")) - known)


@pytest.mark.parametrize("subids", [True, False])
def test_an_ordinary_user_builds_too(busybox: str, *, subids: bool) -> None:
    with ordinary_user(subids=subids) as made:
        home = made.home / "overlay"
        for part in ("", ".upper", ".work", ".lower"):
            home.with_name(f"overlay{part}").mkdir()
            made.own(home.with_name(f"overlay{part}"))
        user = replace(made, around=machine.with_overlay(home, ordinary=True, subids=subids))
        root = made.home / "context"
        root.mkdir()
        (root / "Dockerfile").write_text(
            f"FROM {busybox}\nRUN mkdir /mine && chown 12:34 /mine && rm /bin/sed\n"
            "RUN stat -c %u:%g /mine; test ! -e /bin/sed\n"
        )
        made.own(root)
        done = user.viaduct(
            *("build", "--progress", "plain", str(root)), env={"VIADUCT_HOME": str(home / "state")}
        )
        log = done.stderr.decode()
        assert log.count(_TOLD) == 1
        assert (" 12:34\n" if subids else " 0:0\n") in log
        assert traces.settled(str(made.home)) == []
