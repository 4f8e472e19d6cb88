"""Stages: how they are named, found and built, and who may read from whom."""

from __future__ import annotations

import pytest
from tests.parts.lowering import IMAGES, image, lowered, names, steps

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile.lower import required_images
from viaduct.dockerfile.options import LowerOptions
from viaduct.dockerfile.parse import decode, parse
from viaduct.graph.node import walk
from viaduct.oci.platform import Platform

THREE = "FROM alpine AS first\nRUN 1\nFROM alpine AS Second\nRUN 2\nFROM alpine\nRUN 3"


def run(text: str, *, target: str = "") -> list[str]:
    """The commands that a build runs."""
    return [step.args[-1] for step in steps(lowered(text, target=target))]


@pytest.mark.parametrize(
    ("target", "commands"),
    [("", ["3"]), ("first", ["1"]), ("FIRST", ["1"]), ("second", ["2"]), ("Second", ["2"])],
)
def test_a_target_is_a_name_in_any_case(target: str, commands: list[str]) -> None:
    assert run(THREE, target=target) == commands


def test_only_what_the_target_needs_is_built() -> None:
    text = "FROM alpine AS a\nRUN 1\nFROM alpine AS b\nRUN 2\nFROM scratch\nCOPY --from=a x y"
    assert run(text) == ["1"]
    everything = lowered("FROM nowhere AS a\nFROM alpine\nRUN 1")
    assert [base.reference for base in everything.bases] == ["alpine"]


@pytest.mark.parametrize("origin", ["a", "A", "0", "+0"])
def test_an_earlier_stage_is_a_name_or_a_number(origin: str) -> None:
    assert run(f"FROM alpine AS a\nRUN 1\nFROM scratch\nCOPY --from={origin} x y") == ["1"]


def test_a_later_stage_of_the_same_name_hides_the_earlier() -> None:
    text = "FROM alpine AS a\nRUN 1\nFROM alpine AS a\nRUN 2\nFROM scratch\nCOPY --from=a x y"
    assert run(text) == ["2"]


def test_a_name_that_is_no_stage_is_an_image() -> None:
    images = {**IMAGES, "docker.io/library/tools:latest": image(architecture="arm64")}
    built = lowered(
        "FROM alpine\nCOPY --from=tools /t /t\nRUN --mount=from=tools,target=/t x", images=images
    )
    found = [(base.reference, base.index, base.line) for base in built.bases]
    assert found == [("alpine", 0, 1), ("tools", -1, 2), ("tools", -1, 3)]


@pytest.mark.parametrize(
    "text",
    [
        "FROM alpine AS a\nCOPY --from=a x y",
        "FROM alpine AS a\nRUN --mount=from=a,target=/x y",
        "FROM alpine AS a\nCOPY --from=b x y\nFROM alpine AS b\nCOPY --from=a x y",
        "FROM alpine AS a\nCOPY --from=b x y\nFROM alpine AS b\nRUN --mount=from=a,target=/x y",
    ],
)
def test_stages_that_read_each_other_are_refused(text: str) -> None:
    with pytest.raises(DockerfileError, match="circular dependency detected on stage: a"):
        lowered(text)


def test_a_platform_flag_decides_for_the_whole_chain() -> None:
    text = "FROM --platform=$BUILDPLATFORM alpine AS a\nRUN 1\nFROM --platform=linux/s390x a\nRUN 2"
    built = lowered(text, platform="linux/arm64", multi_platform=True)
    assert names(built)[-1] == "[linux/amd64 stage-1 1/1] RUN 2"
    assert built.config.architecture == "arm64"


def test_images_of_other_platforms_are_resolved_for_theirs() -> None:
    text = (
        "FROM --platform=$BUILDPLATFORM golang AS build\n"
        "FROM --platform=linux/riscv64 tools AS tools\n"
        "FROM alpine\nCOPY --from=build / /\nCOPY --from=tools / /\nCOPY --from=busybox / /"
    )
    options = LowerOptions(build_platform=Platform("linux", "amd64"))
    wanted = required_images(parse(decode(text.encode())), options, Platform("linux", "arm64"))
    assert {(name.split("/")[-1], str(platform)) for name, platform in wanted} == {
        ("golang:latest", "linux/amd64"),
        ("tools:latest", "linux/riscv64"),
        ("alpine:latest", "linux/arm64"),
        ("busybox:latest", "linux/arm64"),
    }


def test_steps_for_other_machines_are_marked() -> None:
    text = (
        "FROM --platform=$BUILDPLATFORM alpine AS a\nRUN 1\nFROM alpine\nRUN 2\nCOPY --from=a / /"
    )
    built = lowered(text, platform="linux/arm64")
    emulated = {
        node.name.rpartition(" ")[2]: node.emulated for node in walk([built.root]) if built.root
    }
    assert (emulated["1"], emulated["2"]) == (False, True)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("base", "docker.io/library/alpine:latest"),
        ("base::linux/arm64", "docker.io/library/alpine:latest"),
        ("nowhere:1", "docker.io/library/alpine:latest"),
    ],
)
def test_a_named_context_takes_the_place_of_a_stage_or_image(key: str, value: str) -> None:
    text = "FROM nowhere:1 AS base\nRUN 1\nFROM base\nRUN 2"
    built = lowered(text, platform="linux/arm64", named_contexts={key: value})
    ran = [step.args[-1] for step in steps(built)]
    assert ran == (["1", "2"] if key.startswith("nowhere") else ["2"])


def test_no_cache_may_be_for_some_stages() -> None:
    text = "FROM alpine AS a\nRUN 1\nFROM alpine AS b\nRUN 2\nCOPY --from=a / /"
    for options, expected in (
        ({"no_cache": True}, {"1": True, "2": True}),
        ({"no_cache_filter": ("A",)}, {"1": True, "2": False}),
        ({}, {"1": False, "2": False}),
    ):
        built = lowered(text, **options)
        nodes = walk([built.root]) if built.root else ()
        found = {node.name.rpartition(" ")[2]: node.no_cache for node in nodes}
        assert {name: found[name] for name in expected} == expected
