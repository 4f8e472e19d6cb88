"""What `create` makes of a builder that is there, or of none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from viaduct.base.errors import NotFound, UsageError, ViaductError
from viaduct.engine.builder import edit
from viaduct.engine.builder.edit import Wish
from viaduct.oci.platform import parse_list

if TYPE_CHECKING:
    from viaduct.engine.builder.values import Builder


def made(*wishes: Wish) -> Builder:
    """The builder after all wishes, from nothing."""
    builder = None
    for wish in wishes:
        builder = edit.make(wish, builder)
    assert builder is not None
    return builder


def test_a_new_builder_has_one_node_named_after_it() -> None:
    builder = made(Wish(name="multi-builder", driver="docker-container"))
    assert (builder.name, builder.driver) == ("multi-builder", "docker-container")
    assert [(node.name, node.endpoint) for node in builder.nodes] == [
        ("multi-builder0", "embedded")
    ]


def test_without_a_driver_it_is_the_embedded_engine() -> None:
    assert made(Wish(name="b")).driver == "embedded"


def test_appended_nodes_take_the_next_free_name() -> None:
    more = Wish(name="b", append=True)
    builder = made(Wish(name="b"), more, more)
    assert [node.name for node in builder.nodes] == ["b0", "b1", "b2"]
    again = edit.make(more, edit.leave(builder, "b1"))
    assert [node.name for node in again.nodes] == ["b0", "b2", "b1"]


def test_a_named_node_is_changed_in_place_and_keeps_what_was_not_mentioned() -> None:
    builder = made(
        Wish(name="b", driver_opts=("image=x",), platforms=parse_list(["linux/arm64"])),
        Wish(name="b", append=True),
        Wish(name="b", node="b0", flags=("--debug",)),
    )
    first = builder.nodes[0]
    assert [node.name for node in builder.nodes] == ["b0", "b1"]
    assert (first.driver_opts, first.flags) == ({"image": "x"}, ("--debug",))
    assert first.fixed == ("linux/arm64",)


def test_a_platform_belongs_to_the_node_that_was_told_last() -> None:
    builder = made(
        Wish(name="b", platforms=parse_list(["linux/amd64,linux/arm64"])),
        Wish(name="b", append=True, platforms=parse_list(["linux/arm64"])),
    )
    assert [node.fixed for node in builder.nodes] == [("linux/amd64",), ("linux/arm64",)]


@pytest.mark.parametrize(
    ("wishes", "kind", "what"),
    [
        (
            [Wish(name="b"), Wish(name="b")],
            UsageError,
            'existing instance for "b" but no append mode, specify the node name to make changes '
            "for existing instances",
        ),
        (
            [Wish(name="b"), Wish(name="b", node="b0", driver="kubernetes")],
            UsageError,
            'existing instance for "b" but has mismatched driver "embedded"',
        ),
        ([Wish(name="b", append=True)], NotFound, 'failed to find instance "b" for append'),
        (
            [Wish(name="b"), Wish(name="b", node="other")],
            NotFound,
            "node other not found, did you mean to append?",
        ),
        (
            [
                Wish(name="b", endpoint="ssh://host"),
                Wish(name="b", endpoint="ssh://host", append=True),
            ],
            UsageError,
            "invalid duplicate endpoint ssh://host",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_the_words_of_the_peers(
    wishes: list[Wish], kind: type[ViaductError], what: str
) -> None:
    with pytest.raises(kind) as caught:
        made(*wishes)
    assert caught.value.what == what


def test_a_node_leaves() -> None:
    builder = made(Wish(name="b"), Wish(name="b", append=True))
    assert [node.name for node in edit.leave(builder, "b0").nodes] == ["b1"]
    with pytest.raises(NotFound, match='node "b7" not found for b'):
        edit.leave(builder, "b7")
