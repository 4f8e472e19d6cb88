"""ARG and ENV: who sees which value, which one wins, what history and configuration keep."""

from __future__ import annotations

from typing import Any

import pytest
from tests.parts.lowering import PATH, environment, history, image, lowered, steps

from viaduct.base.errors import DockerfileError

# Lines of a file, build arguments, and what RUN sees besides PATH.
SEEN: list[tuple[str, dict[str, str], dict[str, str]]] = [
    # Outside of all stages an ARG is for FROM lines alone.
    ("ARG A=1\nFROM alpine\nRUN x", {}, {}),
    ("ARG A=1\nFROM alpine\nARG A\nRUN x", {}, {"A": "1"}),
    ("ARG A=1\nFROM alpine\nARG A=2\nRUN x", {}, {"A": "2"}),
    ("ARG A=1\nFROM alpine\nARG A\nRUN x", {"A": "3"}, {"A": "3"}),
    ("ARG A=1\nFROM alpine\nARG A=2\nRUN x", {"A": "3"}, {"A": "3"}),
    ("ARG A\nFROM alpine\nARG A\nRUN x", {}, {}),
    ("FROM alpine\nARG A\nRUN x", {"A": ""}, {"A": ""}),
    ("FROM alpine\nRUN x", {"A": "3"}, {}),
    # From its line to the end of the stage, and in stages built on it.
    ("FROM alpine\nRUN x\nARG A=1", {}, {}),
    ("FROM alpine AS b\nARG A=1\nFROM b\nRUN x", {}, {"A": "1"}),
    ("FROM alpine AS b\nARG A=1\nFROM alpine\nRUN x", {}, {}),
    # Defaults read what stands before them.
    ("ARG A=1\nARG B=$A-2\nFROM alpine\nARG B\nRUN x", {}, {"B": "1-2"}),
    ("ARG A=1\nARG B=$A-2\nFROM alpine\nARG B\nRUN x", {"A": "9"}, {"B": "9-2"}),
    ("FROM alpine\nARG A=1 B=$A\nRUN x", {}, {"A": "1", "B": "1"}),
    ("FROM alpine\nARG B=$A\nARG A=1\nRUN x", {}, {"B": "", "A": "1"}),
    ("FROM alpine\nARG A='a b' B=\"c d\" C=e\\ f\nRUN x", {}, {"A": "a b", "B": "c d", "C": "e f"}),
    # The later line of ENV and ARG is what RUN sees.
    ("FROM alpine\nARG A=1\nENV A=2\nRUN x", {"A": "3"}, {"A": "2"}),
    ("FROM alpine\nENV A=2\nARG A=1\nRUN x", {}, {"A": "1"}),
    ("FROM alpine\nARG A=1\nENV A=$A-x\nRUN x", {"A": "3"}, {"A": "3-x"}),
    # Each instruction sees the values from before it.
    ("FROM alpine\nENV A=1\nENV A=2 B=$A\nRUN x", {}, {"A": "2", "B": "1"}),
    ("FROM alpine\nENV A b c\nRUN x", {}, {"A": "b c"}),
    ("FROM alpine\nENV A= B=''\nRUN x", {}, {"A": "", "B": ""}),
    # What the builder knows about platforms wins over nothing, and loses to everything.
    ("FROM alpine\nARG TARGETARCH\nRUN x", {}, {"TARGETARCH": "arm64"}),
    ("FROM alpine\nARG TARGETARCH=amd64\nRUN x", {}, {"TARGETARCH": "amd64"}),
    ("ARG TARGETARCH=s390x\nFROM alpine\nARG TARGETARCH\nRUN x", {}, {"TARGETARCH": "s390x"}),
    ("FROM alpine\nARG TARGETARCH\nRUN x", {"TARGETARCH": "mine"}, {"TARGETARCH": "mine"}),
    ("FROM alpine\nRUN x $TARGETARCH", {}, {}),
    ("FROM alpine\nARG TARGETSTAGE\nRUN x", {}, {"TARGETSTAGE": "default"}),
    ("FROM alpine AS web\nARG TARGETSTAGE\nRUN x", {}, {"TARGETSTAGE": "web"}),
    # Arguments for the builder itself are not for steps.
    ("FROM alpine\nARG BUILDKIT_SBOM_SCAN_STAGE=1\nRUN x", {}, {}),
]


@pytest.mark.parametrize(("text", "build_args", "seen"), SEEN)
def test_what_a_step_sees(text: str, build_args: dict[str, str], seen: dict[str, str]) -> None:
    built = lowered(text, platform="linux/arm64", build_args=build_args)
    assert environment(built) == seen


def test_every_platform_argument_has_its_value() -> None:
    names = (
        "BUILDPLATFORM BUILDOS BUILDOSVERSION BUILDARCH BUILDVARIANT "
        "TARGETPLATFORM TARGETOS TARGETOSVERSION TARGETARCH TARGETVARIANT"
    )
    built = lowered(f"FROM alpine\nARG {names}\nRUN x", platform="linux/arm/v6")
    assert environment(built) == {
        "BUILDPLATFORM": "linux/amd64",
        "BUILDOS": "linux",
        "BUILDOSVERSION": "",
        "BUILDARCH": "amd64",
        "BUILDVARIANT": "",
        "TARGETPLATFORM": "linux/arm/v6",
        "TARGETOS": "linux",
        "TARGETOSVERSION": "",
        "TARGETARCH": "arm",
        "TARGETVARIANT": "v6",
    }


@pytest.mark.parametrize(
    ("start", "build_args", "base"),
    [
        ("ARG B=alpine\nFROM $B", {}, "alpine"),
        ("ARG B=nope\nFROM ${B:-nope}", {"B": "alpine"}, "alpine"),
        ("FROM ${B:-alpine}", {}, "alpine"),
        ("ARG B=alp\nARG C=ine\nFROM $B$C", {}, "alpine"),
        ("FROM base-$TARGETARCH", {}, "base-arm64"),
        ("FROM --platform=$BUILDPLATFORM base-$BUILDARCH", {}, "base-amd64"),
        ("ARG TARGETARCH=x\nFROM base-$TARGETARCH", {}, "base-x"),
    ],
)
def test_from_lines_expand_global_arguments(
    start: str, build_args: dict[str, str], base: str
) -> None:
    images = {f"docker.io/library/{base}:latest": image()}
    built = lowered(start, platform="linux/arm64", images=images, build_args=build_args)
    assert built.bases[0].reference == base


def test_only_env_reaches_the_configuration() -> None:
    built = lowered("FROM alpine\nARG A=1\nENV B=$A C='c d'\nENV B=2\nRUN x")
    assert built.config.config.env == (PATH, "B=2", "C=c d")


def test_history_shows_the_arguments_that_a_step_could_read() -> None:
    built = lowered("FROM alpine\nARG A=1\nARG B\nENV E=f\nRUN x\nARG C=3\nRUN y")
    assert history(built) == [
        "ARG A=1",
        "ARG B",
        "ENV E=f",
        "RUN |2 A=1 B= /bin/sh -c x # buildkit",
        "ARG C=3",
        "RUN |3 A=1 B= C=3 /bin/sh -c y # buildkit",
    ]


def test_proxies_reach_steps_and_leave_no_trace() -> None:
    proxies = {"HTTP_PROXY": "http://proxy:1", "no_proxy": "localhost"}
    built = lowered("FROM alpine\nRUN x", build_args=proxies)
    (step,) = steps(built)
    assert step.env == (PATH,)
    assert step.proxy_env == (
        "HTTP_PROXY=http://proxy:1",
        "http_proxy=http://proxy:1",
        "NO_PROXY=localhost",
        "no_proxy=localhost",
    )
    assert "proxy" not in str(built.config)
    declared = lowered("FROM alpine\nARG HTTP_PROXY\nRUN x", build_args=proxies)
    assert history(declared)[-1] == "RUN |1 HTTP_PROXY=http://proxy:1 /bin/sh -c x # buildkit"


@pytest.mark.parametrize(
    ("text", "build_args", "unused"),
    [
        ("FROM alpine", {"A": "1", "B": "2"}, ("A", "B")),
        ("FROM alpine\nARG A", {"A": "1", "B": "2"}, ("B",)),
        ("ARG A\nFROM alpine", {"A": "1"}, ()),
        ("FROM alpine", {"http_proxy": "x", "BUILDKIT_INLINE_CACHE": "1", "TARGETARCH": "y"}, ()),
    ],
)
def test_arguments_that_nothing_reads_are_told(
    text: str, build_args: dict[str, str], unused: tuple[str, ...]
) -> None:
    assert lowered(text, build_args=build_args).unused_build_args == unused


@pytest.mark.parametrize(
    ("text", "build_args", "epoch"),
    [
        ("FROM alpine\nARG SOURCE_DATE_EPOCH\nRUN x", {"SOURCE_DATE_EPOCH": "1234"}, 1234),
        ("ARG SOURCE_DATE_EPOCH=77\nFROM alpine", {}, 77),
        ("FROM alpine\nARG SOURCE_DATE_EPOCH=77", {}, None),
        ("FROM alpine", {"SOURCE_DATE_EPOCH": ""}, None),
        ("FROM alpine", {"SOURCE_DATE_EPOCH": "context"}, 1_700_000_000),
        (
            "FROM scratch AS src\nADD https://example.com/a /\nFROM alpine",
            {"SOURCE_DATE_EPOCH": "src"},
            1_700_000_000,
        ),
    ],
)
def test_the_age_of_an_image(text: str, build_args: dict[str, str], epoch: int | None) -> None:
    built = lowered(text, build_args=build_args)
    assert built.epoch == epoch
    ours = [entry.created for entry in built.config.history if entry.comment]
    assert not any(ours) or epoch is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM alpine", "invalid SOURCE_DATE_EPOCH: src"),
        ("FROM alpine AS src", "SOURCE_DATE_EPOCH stage must use FROM scratch"),
        ("FROM scratch AS src\nCOPY a b", "unsupported COPY instruction"),
        ("FROM scratch AS src\nADD a b", "must be a single HTTP(S) or Git ADD"),
        ("FROM scratch AS src", "must contain exactly one remote ADD"),
    ],
)
def test_an_age_that_is_none(text: str, message: str) -> None:
    options: dict[str, Any] = {"build_args": {"SOURCE_DATE_EPOCH": "src"}}
    with pytest.raises(DockerfileError) as caught:
        lowered(text, **options)
    assert message in caught.value.what


def test_a_step_knows_the_builders_settings() -> None:
    arguments = {"BUILDKIT_SANDBOX_HOSTNAME": "box", "BUILDKIT_CACHE_MOUNT_NS": "team"}
    text = "FROM alpine\nRUN --mount=type=cache,target=/c x"
    (step,) = steps(lowered(text, build_args=arguments))
    assert step.hostname == "box"
    assert [mount.id for mount in step.mounts if mount.kind == "cache"] == ["team//c"]
