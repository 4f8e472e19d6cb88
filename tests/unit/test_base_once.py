"""Values that are made once, however many threads ask for them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from viaduct.base.errors import Canceled, NotFound
from viaduct.base.once import Once


def test_many_who_ask_get_what_the_first_made() -> None:
    once: Once[str, object] = Once()
    together = threading.Barrier(8, timeout=30)
    made = []

    def make() -> object:
        made.append(object())
        return made[-1]

    def ask(_number: int) -> object:
        together.wait()
        return once.get("key", make)

    with ThreadPoolExecutor(8) as pool:
        found = set(map(id, pool.map(ask, range(8))))
    assert (len(made), len(found)) == (1, 1)
    assert once.get("other", lambda: "another") == "another"


def test_a_failure_is_an_answer_and_a_cancellation_is_none() -> None:
    once: Once[str, str] = Once()
    failure = NotFound("no such image")

    def fail() -> str:
        raise failure

    def give_up() -> str:
        raise Canceled

    for make in (fail, lambda: "too late"):
        with pytest.raises(NotFound) as told:
            once.get("lost", make)
        assert told.value is failure
    with pytest.raises(Canceled):
        once.get("stopped", give_up)
    assert once.get("stopped", lambda: "found") == "found"
