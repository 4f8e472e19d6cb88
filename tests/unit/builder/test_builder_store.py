"""Builders as files: kept whole, found by any spelling, and no harm in what is damaged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from viaduct.base.errors import StoreError
from viaduct.engine.builder.store import BuilderStore
from viaduct.engine.builder.values import Builder, Node

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> BuilderStore:
    return BuilderStore(tmp_path / "builders")


def builder(name: str) -> Builder:
    return Builder(name=name, driver="docker-container", nodes=(Node(name=f"{name}0"),))


def test_an_absent_directory_holds_no_builders(store: BuilderStore) -> None:
    assert store.names() == []
    assert store.load("b") is None
    assert store.current() == "default"
    assert store.running("b") == frozenset()
    assert store.last_activity("b") == 0


def test_what_was_saved_comes_back_under_any_case(store: BuilderStore) -> None:
    store.save(builder("Multi"))
    assert store.names() == ["multi"]
    assert store.load("mULTI") == builder("Multi")


def test_the_choice_is_kept_as_buildx_keeps_it(store: BuilderStore) -> None:
    store.use("b", key="unix:///x", everywhere=True)
    kept = json.loads((store.root / "current").read_bytes())
    assert kept == {"Name": "b", "Key": "unix:///x", "Global": True}
    assert store.current() == "b"
    store.use("default", key="", everywhere=False)
    assert store.current() == "default"


def test_removing_forgets_everything(store: BuilderStore) -> None:
    store.save(builder("b"))
    store.set_running("b", ["b0"])
    store.touch("b", 1_700_000_000)
    store.use("b", key="", everywhere=False)
    store.remove("b")
    left = [path.name for path in store.root.rglob("*") if path.is_file()]
    assert left == []


def test_times_of_use_and_running_nodes_are_kept(store: BuilderStore) -> None:
    store.touch("B", 1_700_000_000.4)
    assert store.last_activity("b") == 1_700_000_000
    store.set_running("b", ["b1", "b0"])
    assert store.running("B") == {"b0", "b1"}
    store.set_running("b", [])
    assert store.running("b") == frozenset()


def test_a_damaged_builder_names_its_file_and_the_way_out(store: BuilderStore) -> None:
    store.save(builder("b"))
    (store.root / "instances/b").write_text("{")
    with pytest.raises(StoreError) as caught:
        store.load("b")
    assert str(store.root / "instances/b") in caught.value.what
    assert caught.value.hint == "viaduct rm b"


def test_damage_to_lesser_files_is_no_more_than_forgetting(store: BuilderStore) -> None:
    for name in ("current", "activity/b"):
        path = store.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\xff{")
    assert store.current() == "default"
    assert store.last_activity("b") == 0


@pytest.mark.parametrize("how", ["saved", "used"])
def test_the_first_builder_makes_a_state_root_that_is_nobody_else_s(
    how: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    store = BuilderStore(home / "builders")
    if how == "saved":
        store.save(builder("b"))
    else:
        store.touch("b", 1)
    assert home.stat().st_mode & 0o077 == 0


def test_a_note_of_use_that_cannot_be_written_is_no_error(store: BuilderStore) -> None:
    store.root.parent.mkdir(exist_ok=True)
    store.root.write_text("a file where the directory should be")
    store.touch("b", 1)


def test_state_that_cannot_be_written_is_an_error_with_a_place(store: BuilderStore) -> None:
    store.root.write_text("a file where the directory should be")
    with pytest.raises(StoreError, match=r"saving a builder"):
        store.save(builder("b"))
    with pytest.raises(StoreError, match=r"opening the builders"), store.lock():
        pass
