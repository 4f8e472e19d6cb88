from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from viaduct.cli import git_labels

if TYPE_CHECKING:
    from pathlib import Path

ASKED = {"BUILDX_GIT_LABELS": "1"}


@pytest.fixture
def work_tree(tmp_path: Path) -> Path:
    """A repository with one commit, whose context is a directory in it."""
    top = tmp_path / "work"
    (top / "app").mkdir(parents=True)
    (top / "app/Dockerfile").write_text("FROM scratch\n")
    git(top, "init", "--quiet")
    git(top, "add", ".")
    git(top, "-c", "user.name=x", "-c", "user.email=x@y", "commit", "--quiet", "-m", "first")
    return top


def git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(directory), *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_labels_name_commit_remote_and_dockerfile(work_tree: Path) -> None:
    git(work_tree, "remote", "add", "origin", "https://me:secret@example.com/app.git")
    assert git_labels.labels(ASKED, str(work_tree / "app"), "") == {
        git_labels.REVISION: git(work_tree, "rev-parse", "HEAD"),
        git_labels.SOURCE: "https://example.com/app.git",
        git_labels.DOCKERFILE: "app/Dockerfile",
    }


def test_uncommitted_files_are_told_on_request(work_tree: Path) -> None:
    asked = {**ASKED, "BUILDX_GIT_CHECK_DIRTY": "true"}
    context = str(work_tree / "app")
    revision = git(work_tree, "rev-parse", "HEAD")
    assert git_labels.labels(asked, context, "")[git_labels.REVISION] == revision
    (work_tree / "new").write_text("")
    assert git_labels.labels(asked, context, "")[git_labels.REVISION] == f"{revision}-dirty"
    assert git_labels.labels(ASKED, context, "")[git_labels.REVISION] == revision


def test_a_dockerfile_from_elsewhere_is_not_named(work_tree: Path) -> None:
    for dockerfile in ("-", "https://example.com/Dockerfile", "/dev/null"):
        found = git_labels.labels(ASKED, str(work_tree), dockerfile)
        assert git_labels.DOCKERFILE not in found


def test_nothing_is_told_unless_asked_or_where_there_is_no_commit(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    assert git_labels.labels(ASKED, str(tmp_path / "plain"), "") == {}
    assert git_labels.labels(ASKED, "https://example.com/app.git", "") == {}
    assert git_labels.labels(ASKED, "-", "") == {}


def test_without_the_variable_git_is_not_even_asked(work_tree: Path) -> None:
    assert git_labels.labels({}, str(work_tree / "app"), "") == {}
    assert git_labels.labels({"BUILDX_GIT_LABELS": "0"}, str(work_tree / "app"), "") == {}


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("git@github.com:x/y.git", "git@github.com:x/y.git"),
        ("ssh://git@example.com/x.git", "ssh://git@example.com/x.git"),
        ("https://token@example.com/x.git", "https://example.com/x.git"),
    ],
)
def test_the_remote_is_told_without_credentials(work_tree: Path, url: str, told: str) -> None:
    git(work_tree, "remote", "add", "upstream", url)
    assert git_labels.labels(ASKED, str(work_tree), "app/Dockerfile")[git_labels.SOURCE] == told


def test_a_repository_cannot_have_programs_run(work_tree: Path, tmp_path: Path) -> None:
    """Its own settings came with it, wherever it is from."""
    spy = tmp_path / "spy"
    spy.write_text(f'#!/bin/sh\necho "$0 $@" >> {tmp_path}/ran\n')
    spy.chmod(0o755)
    hooks = work_tree / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "post-index-change").symlink_to(spy)
    (work_tree / ".git/info").mkdir(exist_ok=True)
    (work_tree / ".git/info/attributes").write_text("* filter=a=b.c\n")
    for key in ("core.fsmonitor", "filter.a=b.c.clean", "filter.a=b.c.process"):
        git(work_tree, "config", key, str(spy))
    git(work_tree, "config", "filter.a=b.c.required", "true")
    (work_tree / "app/Dockerfile").write_text("FROM scraTch\n")
    asked = {**ASKED, "BUILDX_GIT_CHECK_DIRTY": "1"}
    found = git_labels.labels(asked, str(work_tree), "")
    assert found[git_labels.REVISION].endswith("-dirty")
    assert not (tmp_path / "ran").exists()
