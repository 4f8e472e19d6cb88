"""Contexts that are no plain directory, and named ones: what of them reaches the image."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

from tests.parts.filetree import build_tree
from tests.parts.site import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parts.contexts import Context


def test_a_link_to_a_context_is_that_context(context: Context, tmp_path: Path) -> None:
    context.file("d/f", "x")
    context.dockerfile("FROM scratch\nCOPY . /o/\n")
    (tmp_path / "link").symlink_to(context.root)
    assert "o/d/f" in build_tree(context, where=str(tmp_path / "link"))


def test_what_cannot_be_read_is_named_and_may_be_ignored(context: Context) -> None:
    """A path of more than 4095 bytes cannot be opened, not even by root."""
    context.dockerfile("FROM scratch\nCOPY . /\n")
    deep = os.open(context.root, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=deep)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)
    failed = context.build(check=False)
    assert failed.status == 1
    assert f"cannot read {'d' * 200}…: File name too long\n" in failed.stderr
    assert "hint: make it readable, or leave it out with .dockerignore" in failed.stderr
    assert "Dockerfile:2" in failed.stderr
    context.file(".dockerignore", "dddd*\n")
    context.build()


def test_a_dockerfile_that_links_to_itself_is_told(context: Context) -> None:
    (context.root / "Dockerfile").symlink_to("Dockerfile")
    failed = context.build(check=False)
    assert failed.status == 1
    assert "/Dockerfile: too many levels of symbolic links" in failed.stderr


def test_a_dockerfile_in_the_place_of_a_context_is_told(context: Context) -> None:
    file = context.dockerfile("FROM scratch\nCOPY . /\n")
    failed = context.build(check=False, where=str(file))
    assert failed.status == 1
    assert f'path "{file}" is not a directory' in failed.stderr
    assert "the Dockerfile is named with -f" in failed.stderr


def test_a_dockerfile_may_be_a_link_within_the_context_only(
    context: Context, tmp_path: Path
) -> None:
    context.file("docker/real", "FROM scratch\nCOPY docker/real /o\n")
    (context.root / "Dockerfile").symlink_to("docker/real")
    assert "o" in build_tree(context)
    (tmp_path / "secret").write_text("password 12345\n")
    (context.root / "Dockerfile").unlink()
    (context.root / "Dockerfile").symlink_to(tmp_path / "secret")
    for named in ((), ("-f", str(context.root / "Dockerfile"))):
        failed = context.build(*named, check=False)
        assert failed.status == 1
        assert "open Dockerfile: no such file or directory" in failed.stderr
        assert "12345" not in failed.stderr
    failed = context.build("-f", str(tmp_path / "secret"), check=False)
    assert "unknown instruction: password" in failed.stderr, "what a person names is read"


def test_a_directory_can_be_what_a_stage_stands_on(context: Context, tmp_path: Path) -> None:
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/name").write_text("mine")
    (tmp_path / "root/ignored").write_text("x")
    (tmp_path / "root/.dockerignore").write_text("ignored\n")
    context.file("more")
    context.dockerfile("FROM rootfs\nCOPY more /etc/\n")
    tree = build_tree(context, "--build-context", f"rootfs={tmp_path / 'root'}")
    assert tree.below("etc") == ["more", "name"]
    assert "ignored" not in tree


def test_a_directory_that_is_not_there_fails_even_when_nothing_reads_it(context: Context) -> None:
    context.dockerfile("FROM BASE\n")
    for value, shown in (("none", "none"), ("", '""')):
        failed = context.build("--build-context", f"other={value}", check=False)
        assert failed.status == 1
        assert f"failed to get build context other: {shown}: no such directory" in failed.stderr


def test_owners_in_an_archive_on_standard_input_are_kept(context: Context) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data, owner in (
            ("Dockerfile", b"FROM scratch\nCOPY . /o/\n", 0),
            ("f", b"x", 5),
        ):
            member = tarfile.TarInfo(name)
            member.size, member.uid, member.gid, member.mode = len(data), owner, owner, 0o4711
            archive.addfile(member, io.BytesIO(data))
    tree = build_tree(context, stdin=packed.getvalue(), where="-")
    assert (tree.owner("o/f"), tree.mode("o/f")) == ((5, 5), 0o4711)


def test_an_archive_behind_a_named_address_stays_a_file(context: Context, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    with tarfile.open(site / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("inside"))
    context.dockerfile("FROM scratch\nCOPY --from=web . /o/\n")
    with serving(site) as address:
        tree = build_tree(context, "--build-context", f"web=http://{address}/a.tar")
    assert tree.below("o") == ["context"]


def test_a_commit_can_be_fetched_that_no_branch_points_to(context: Context, tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "d").mkdir(parents=True)
    git = ["git", "-C", str(work), "-c", "user.name=x", "-c", "user.email=x@example.org"]

    def run(*words: str) -> str:
        done = subprocess.run([*git, *words], check=True, capture_output=True)
        return done.stdout.decode().strip()

    run("init", "--quiet", "--initial-branch=main")
    commits = []
    for text in ("old", "new"):
        (work / "f").write_text(text)
        run("add", ".")
        run("commit", "--quiet", "--message=x")
        commits.append(run("rev-parse", "HEAD"))
    run("update-server-info")
    with serving(tmp_path) as address:
        source = f"http://{address}/work/.git?commit={commits[0]}&fetch-by-commit=1"
        context.dockerfile(f"FROM scratch\nADD {source} /o/\n")
        tree = build_tree(context)
    assert tree.text("o/f") == "old"
