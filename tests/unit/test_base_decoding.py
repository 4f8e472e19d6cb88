from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from viaduct.base import decoding

# Classes that nobody has read yet, so that all threads want to know what they look like at once.
_TOGETHER = """
import sys, threading
import msgspec
from viaduct.base import decoding
sys.setswitchinterval(1e-6)
for _ in range(200):
    inner = msgspec.defstruct("Inner", [(f"i{n}", "list[str] | None", None) for n in range(20)])
    outer = msgspec.defstruct("Outer", [(f"o{n}", tuple[inner, ...], ()) for n in range(20)])
    start = threading.Barrier(6)
    read = []
    def decode(turn):
        start.wait()
        if turn % 3 == 0:
            read.append(decoding.from_json(b'{"o1": [{"i3": ["x"]}]}', outer).o1[0])
        elif turn % 3 == 1:
            read.append(decoding.from_plain({"o1": [{"i3": ["x"]}]}, outer).o1[0])
        else:
            read.append(decoding.from_json(b'{"i3": ["x"]}', inner))
    threads = [threading.Thread(target=decode, args=(turn,)) for turn in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert read == 6 * [inner(i3=["x"])]
"""


class Point(msgspec.Struct, frozen=True):
    x: int
    names: tuple[str, ...] = ()


def test_threads_that_read_a_class_for_the_first_time_do_not_kill_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", _TOGETHER], check=False, capture_output=True)
    assert (done.returncode, done.stderr.decode()) == (0, "")


def test_values_are_checked() -> None:
    assert decoding.from_json(b'{"x": 1, "names": ["a"]}', Point) == Point(1, ("a",))
    assert decoding.from_json('[{"x": 1}]', list[Point]) == [Point(1)]
    assert decoding.from_plain({"x": 1}, Point) == Point(1)
    with pytest.raises(msgspec.DecodeError):
        decoding.from_json(b"{", Point)
    with pytest.raises(msgspec.ValidationError, match=r"\$\.x"):
        decoding.from_json(b'{"x": "1"}', Point)
    with pytest.raises(msgspec.ValidationError, match=r"\$\.x"):
        decoding.from_plain({"x": "1"}, Point)
