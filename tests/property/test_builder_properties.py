"""What holds for builders whatever is done to them."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from viaduct.base.errors import ViaductError
from viaduct.engine.builder import edit, values
from viaduct.engine.builder.edit import Wish
from viaduct.engine.builder.values import Builder
from viaduct.oci.platform import parse

PLATFORMS = [parse(f"linux/{arch}") for arch in ("amd64", "arm64", "arm/v7", "s390x")]


@st.composite
def wishes(draw: st.DrawFn) -> Wish:
    """What a `create` for one builder may ask."""
    return Wish(
        name="b",
        node=draw(st.sampled_from(["", "b0", "b1", "other"])),
        endpoint=draw(st.sampled_from(["", "", "ssh://far", "tcp://there:1"])),
        platforms=tuple(draw(st.lists(st.sampled_from(PLATFORMS), max_size=2, unique=True))),
        driver_opts=draw(st.sampled_from([(), ("default-load=true",)])),
        append=draw(st.booleans()),
    )


LEAVINGS = st.sampled_from(["b0", "b1", "other"])


@given(st.lists(st.one_of(wishes(), LEAVINGS), max_size=12))
def test_nodes_platforms_and_endpoints_belong_to_one_node_each(
    changes: list[Wish | str],
) -> None:
    builder: Builder | None = None
    for change in changes:
        try:
            if isinstance(change, Wish):
                builder = edit.make(change, builder)
            elif builder is not None:
                builder = edit.leave(builder, change)
        except ViaductError:
            continue
        if builder is None:
            continue
        for many in (
            [node.name for node in builder.nodes],
            [node.endpoint for node in builder.nodes if node.endpoint != values.HERE],
            [platform for node in builder.nodes for platform in node.fixed],
        ):
            assert len(many) == len(set(many))
        assert msgspec.json.decode(msgspec.json.encode(builder), type=Builder) == builder


@given(st.text(max_size=20))
def test_a_name_is_a_file_of_its_folder_or_no_name(name: str) -> None:
    if values.is_name(name):
        assert "/" not in name
        assert name.isascii()
        assert not name.startswith(".")
        assert values.check_name(name) == name
