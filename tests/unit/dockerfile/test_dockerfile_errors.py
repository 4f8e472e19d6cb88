"""Every mistake that a Dockerfile can hold: what is said, and where.

The sentences are those of the builders that people know, so that what they search for is found.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.parts.lowering import lowered

from viaduct.base.errors import ViaductError

TABLE = Path(__file__).parents[2] / "golden" / "mistakes.txt"


def mistakes() -> list[tuple[str, str, int]]:
    """Dockerfiles with what is wrong with them. Each paragraph of the table is a file, its lines
    behind `|`, and a line number (0: nowhere) with the message."""
    found = []
    for paragraph in TABLE.read_text().split("\n\n"):
        *lines, told = paragraph.rstrip("\n").split("\n")
        line, _, message = told.partition(": ")
        text = "".join(f"{one[2:]}\n" for one in lines)
        found.append((text, message, int(line)))
    return found


@pytest.mark.parametrize(("text", "message", "line"), mistakes())
def test_a_mistake_is_named_with_its_line(text: str, message: str, line: int) -> None:
    with pytest.raises(ViaductError) as caught:
        lowered(text)
    assert caught.value.what == message
    assert (caught.value.where.start if caught.value.where else 0) == line


def test_the_place_is_shown_with_the_lines_around_it() -> None:
    with pytest.raises(ViaductError) as caught:
        lowered("FROM alpine\nRUN a \\\n  b\nENV A=${B!x} \\\n  C=d\nUSER u\nCMD x\n")
    assert caught.value.where is not None
    assert caught.value.where.excerpt() == (
        "Dockerfile:4\n"
        "--------------------\n"
        "   3 |       b\n"
        "   4 | >>> ENV A=${B!x} \\\n"
        "   5 | >>>   C=d\n"
        "   6 |     USER u\n"
        "--------------------\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("COPY --from=c x y", 'cannot copy from stage "c", it needs to be defined before'),
        (
            "RUN --mount=from=c,target=/x y",
            'cannot mount from stage "c" to "/x", stage needs to be',
        ),
    ],
)
def test_a_later_stage_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(ViaductError, match=message) as caught:
        lowered(f"FROM alpine AS b\n{text}\nFROM alpine AS c\nRUN 2\n", target="b")
    assert caught.value.where is not None
    assert caught.value.where.start == 2


@pytest.mark.parametrize(
    ("target", "suffix"), [("bild", " (did you mean build?)"), ("else", ""), ("7", "")]
)
def test_an_unknown_target_is_named(target: str, suffix: str) -> None:
    with pytest.raises(ViaductError) as caught:
        lowered("FROM alpine AS build\nFROM alpine AS run\n", target=target)
    assert caught.value.what == f'target stage "{target}" could not be found{suffix}'


def test_hints_say_what_to_do() -> None:
    with pytest.raises(ViaductError) as caught:
        lowered("")
    assert caught.value.hint == "begin with FROM and the image to build on"
    with pytest.raises(ViaductError) as caught:
        lowered("FROM alpine\nRUN --network=host x\n")
    assert caught.value.hint == "grant it with --allow network.host"


def test_a_zero_byte_is_refused_where_it_stands() -> None:
    with pytest.raises(ViaductError, match="on line 2: there is a zero byte") as caught:
        lowered("FROM scratch\nWORKDIR /a\0\n")
    assert caught.value.where is not None
    assert caught.value.where.start == 2


def test_a_trigger_of_a_trigger_is_refused_however_deep_it_is() -> None:
    with pytest.raises(ViaductError, match="Chaining ONBUILD"):
        lowered("FROM scratch\n" + "ONBUILD " * 5000 + "RUN x\n")
