"""Leases and liveness: who runs now, told by locks that die with their owners."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
from tests.parts.stores import Partner, other_process

from viaduct.base.errors import Canceled, StoreError
from viaduct.base.tasks import Stop
from viaduct.store import liveness
from viaduct.store.leases import Leases
from viaduct.store.liveness import Session
from viaduct.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_the_oldest_running_build_counts(tmp_path: Path) -> None:
    clock = Clock(100.0)
    leases = Leases(tmp_path, clock=clock)
    assert leases.oldest() is None
    with leases.hold() as first:
        assert first.started == 100.0
        clock.now = 200.0
        with leases.hold():
            assert leases.oldest() == 100.0
            assert leases.used_since() == 200.0, "the youngest of ours has to be noted"
        assert leases.used_since() == 100.0
    assert leases.oldest() is None
    assert os.listdir(tmp_path) == []


def test_without_a_lease_uses_are_noted_coarsely(tmp_path: Path) -> None:
    clock = Clock(1_000.0)
    assert Leases(tmp_path, clock=clock).used_since() == 940.0


def test_a_clock_that_is_set_back_takes_no_use_away(tmp_path: Path) -> None:
    clock = Clock(1_000.0)
    leases = Leases(tmp_path, clock=clock)
    with leases.hold() as lease:
        clock.now = 10.0
        assert leases.now() >= lease.started
    assert leases.now() == 10.0


def test_a_lease_is_seen_by_other_processes_until_its_process_ends(root: Path) -> None:
    script = """
with store.leases.hold() as lease:
    print(lease.started, flush=True)
    sys.stdin.readline()
"""
    store = Store.open(root)
    with Partner(root, script) as partner:
        started = float(partner.wait_for_line())
        assert store.leases.oldest() == started
        partner.finish()
    assert store.leases.oldest() is None
    store.close()


def test_a_killed_build_holds_nothing(root: Path) -> None:
    other_process(root, "with store.leases.hold():\n    die()")
    store = Store.open(root)
    assert len(os.listdir(root / "leases")) == 1
    assert store.leases.oldest() is None
    assert os.listdir(root / "leases") == []
    store.close()


def test_leases_that_cannot_be_taken_are_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="taking a lease"), Leases(tmp_path / "gone").hold():
        pass
    with pytest.raises(StoreError, match="looking for running builds"):
        Leases(tmp_path / "gone").oldest()


def test_a_claimed_file_belongs_to_the_living(tmp_path: Path) -> None:
    name, fd = liveness.claim(tmp_path, "mine-")
    path = tmp_path / name
    assert name.startswith("mine-")
    assert liveness.is_alive(path)
    assert liveness.seize(path) is None
    liveness.reap(tmp_path)
    assert path.exists()
    os.close(fd)
    assert not liveness.is_alive(path)
    liveness.reap(tmp_path)
    assert not path.exists()
    assert not liveness.is_alive(path)
    assert liveness.seize(path) is None


def test_only_one_seizes_what_a_dead_process_left(tmp_path: Path) -> None:
    (tmp_path / "left").touch()
    first = liveness.seize(tmp_path / "left")
    assert first is not None
    assert liveness.seize(tmp_path / "left") is None
    os.close(first)


def test_claims_survive_others_that_reap(tmp_path: Path) -> None:
    """A file that was not locked yet may be taken for a dead one's: then another is made."""
    done = threading.Event()

    def reap() -> None:
        while not done.is_set():
            liveness.reap(tmp_path)

    thread = threading.Thread(target=reap)
    thread.start()
    try:
        for _ in range(300):
            name, fd = liveness.claim(tmp_path)
            assert (tmp_path / name).exists()
            os.close(fd)
    finally:
        done.set()
        thread.join()


def test_a_session_lives_until_it_is_closed(tmp_path: Path) -> None:
    session = Session(tmp_path)
    assert os.listdir(tmp_path) == [], "who does not write needs no file"
    token = session.token
    assert session.token == token
    assert session.lives(token)
    other = Session(tmp_path)
    assert other.lives(token)
    assert not other.lives("somebody-else")
    session.close()
    assert not other.lives(token)
    assert os.listdir(tmp_path) == []


def test_a_lock_is_held_by_one_or_shared_by_many(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with liveness.hold(path) as mine:
        with liveness.try_hold(path) as other:
            assert other is None
        mine.share()
        with liveness.hold(path, exclusive=False):
            pass
    with liveness.try_hold(path) as free:
        assert free is not None


def test_waiting_for_a_lock_can_be_stopped(tmp_path: Path) -> None:
    stop = Stop()
    path = tmp_path / "lock"
    with liveness.hold(path):
        timer = threading.Timer(0.05, stop.set)
        timer.start()
        with pytest.raises(Canceled), liveness.hold(path, stop=stop):
            pass
        timer.join()


def test_a_lock_file_may_be_removed_by_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    entered: list[int] = []

    def enter() -> None:
        with liveness.hold(path):
            entered.append(1)

    with liveness.hold(path):
        thread = threading.Thread(target=enter)
        thread.start()
        path.unlink()
    thread.join()
    assert entered == [1]
