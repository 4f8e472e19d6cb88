"""Git repositories as records of the cache."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from viaduct.base.fs import locked
from viaduct.base.tasks import Stop
from viaduct.engine import collect
from viaduct.graph.ops import GitSource
from viaduct.ops.git import Repositories
from viaduct.ops.kept import KeptRepositories
from viaduct.store.keep import Rule
from viaduct.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@example.com")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "state")
    yield opened
    opened.close()


@pytest.fixture
def fetched(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A commit of a repository that was checked out through the store's."""
    remote = tmp_path / "remote"
    subprocess.run(["git", "init", "-q", str(remote)], check=True)
    (remote / "file").write_text("x" * 10_000)
    git = ["git", "-C", str(remote), *_IDENTITY]
    subprocess.run([*git, "add", "file"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True)
    commit = subprocess.run(
        [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    repositories = Repositories(store.root / "git")
    # Only network protocols are allowed to Dockerfiles; a file is as good here.
    repositories._env["GIT_ALLOW_PROTOCOL"] = "file"
    source = GitSource(remote=f"file://{remote}", ref=commit)
    (tmp_path / "tree").mkdir()
    repositories.checkout(source, commit, "", tmp_path / "tree")
    assert (tmp_path / "tree" / "file").exists()
    return commit


def test_a_repository_is_a_record_of_the_cache(store: Store, fetched: str) -> None:
    (record,) = collect.records(store)
    assert record.id.startswith("git-")
    assert record.description.startswith("git repository file://")
    assert record.mutable
    assert not record.in_use
    assert record.size > 10_000
    with store.leases.hold() as lease:
        os.utime(next((store.root / "git").glob("*.lock")), (lease.started, lease.started))
        (record,) = collect.records(store)
        assert record.in_use


def test_a_repository_is_pruned_when_nobody_uses_it(store: Store, fetched: str) -> None:
    (record,) = collect.records(store)
    kept = KeptRepositories(store.root / "git", store.trash)
    assert kept.remove("something else", lambda _used: True) is None
    assert kept.remove(record.id, lambda _used: False) is False
    with locked(next((store.root / "git").glob("*.lock"))):
        assert kept.remove(record.id, lambda _used: True) is False
    assert [gone.id for gone in collect.prune(store, Rule(), Stop())] == [record.id]
    assert collect.records(store) == ()


def test_checkouts_of_killed_builds_are_removed(store: Store) -> None:
    left = store.root / "git" / "checkout-abc"
    left.mkdir(parents=True)
    with store.leases.hold():
        list(collect.prune(store, Rule(), Stop()))
        assert left.exists(), "a build is running: it may be its"
    list(collect.prune(store, Rule(), Stop()))
    assert not left.exists()
