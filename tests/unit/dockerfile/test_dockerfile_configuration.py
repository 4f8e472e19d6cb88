"""What instructions make of an image's configuration and history."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.parts.lowering import PATH, history, image, lowered, names, steps

from viaduct.oci.models import Healthcheck, ImageConfig

RICH = image(
    env=("PATH=/bin", "A=base"),
    cmd=("serve",),
    entrypoint=("/start",),
    working_dir="/srv",
    user="app",
    labels={"z": "1", "a": "2"},
    exposed_ports={"80/tcp": {}},
    volumes={"/data": {}},
    stop_signal="SIGINT",
    shell=("/bin/bash", "-c"),
)
IMAGES = {
    "docker.io/library/alpine:latest": image(),
    "docker.io/library/rich:latest": RICH,
    "docker.io/library/windows:latest": image(system="windows", env=()),
}


def built(text: str, **options: Any) -> ImageConfig:
    return lowered(text, images=IMAGES, **options).config


def run_config(text: str, **options: Any) -> dict[str, Any]:
    """The configuration as its JSON, without the environment of the base."""
    data = msgspec.json.encode(built(text, **options).config)
    found: dict[str, Any] = msgspec.json.decode(data)
    if found.get("Env") in ([PATH], ["PATH=/bin", "A=base"]):
        del found["Env"]
    return found


ALPINE = "FROM alpine\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CMD a b", {"Cmd": ["/bin/sh", "-c", "a b"], "ArgsEscaped": True}),
        ('CMD ["a", "$B"]', {"Cmd": ["a", "$B"], "ArgsEscaped": True}),
        ("CMD ['a']", {"Cmd": ["/bin/sh", "-c", "['a']"], "ArgsEscaped": True}),
        ("CMD []", {"ArgsEscaped": True}),
        ("CMD a\nCMD b", {"Cmd": ["/bin/sh", "-c", "b"], "ArgsEscaped": True}),
        ("ENTRYPOINT a", {"Entrypoint": ["/bin/sh", "-c", "a"]}),
        (
            'SHELL ["/s", "-e"]\nENTRYPOINT a',
            {"Shell": ["/s", "-e"], "Entrypoint": ["/s", "-e", "a"]},
        ),
        ("LABEL a=1 b='x y' c=\"$PATH\"", {"Labels": {"a": "1", "b": "x y", "c": PATH[5:]}}),
        ("LABEL a b c", {"Labels": {"a": "b c"}}),
        ("LABEL b=1\nLABEL a=2 b=3", {"Labels": {"a": "2", "b": "3"}}),
        ("EXPOSE 80 53/udp 9/SCTP", {"ExposedPorts": {"53/udp": {}, "80/tcp": {}, "9/sctp": {}}}),
        ("EXPOSE 80-82", {"ExposedPorts": {"80/tcp": {}, "81/tcp": {}, "82/tcp": {}}}),
        ("EXPOSE 127.0.0.1:8080:80", {"ExposedPorts": {"80/tcp": {}}}),
        ("ENV P=80 Q='81 82'\nEXPOSE $P $Q", None),
        ("VOLUME /b /a", {"Volumes": {"/a": {}, "/b": {}}}),
        ('VOLUME ["/a b"]', {"Volumes": {"/a b": {}}}),
        ("USER u:g", {"User": "u:g"}),
        ("USER u\nUSER ${X:-v}", {"User": "v"}),
        ("WORKDIR a\nWORKDIR b/../c", {"WorkingDir": "/a/c"}),
        ("WORKDIR /a\nWORKDIR $NOPE", {"WorkingDir": "/a"}),
        ("STOPSIGNAL SIGRTMIN+3", {"StopSignal": "SIGRTMIN+3"}),
        ("STOPSIGNAL 9", {"StopSignal": "9"}),
        ("HEALTHCHECK NONE", {"Healthcheck": {"Test": ["NONE"]}}),
        ("HEALTHCHECK CMD a b", {"Healthcheck": {"Test": ["CMD-SHELL", "a b"]}}),
        ("ONBUILD RUN a  b\nONBUILD copy a b", {"OnBuild": ["RUN a  b", "copy a b"]}),
        ("ONBUILD RUN <<E\na\nE", {"OnBuild": ["RUN <<E\na\nE"]}),
    ],
)
def test_instructions(text: str, expected: dict[str, Any] | None) -> None:
    found = run_config(ALPINE + text)
    if expected is None:
        ports: dict[str, Any] = {"80/tcp": {}, "81/tcp": {}, "82/tcp": {}}
        expected = {"Env": [PATH, "P=80", "Q=81 82"], "ExposedPorts": ports}
    assert found == expected


def test_healthcheck_durations_are_nanoseconds() -> None:
    text = (
        "HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=0 --start-interval=1.5s "
        '--retries=3 CMD ["a", "b"]'
    )
    assert built(ALPINE + text).config.healthcheck == Healthcheck(
        test=("CMD", "a", "b"),
        interval=90 * 10**9,
        timeout=5 * 10**8,
        start_interval=15 * 10**8,
        retries=3,
    )


@pytest.mark.parametrize(
    ("text", "entrypoint", "cmd"),
    [
        ("FROM rich", ("/start",), ("serve",)),
        ('FROM rich\nENTRYPOINT ["x"]', ("x",), None),
        ('FROM rich\nCMD ["y"]\nENTRYPOINT ["x"]', ("x",), ("y",)),
        ('FROM rich\nENTRYPOINT ["x"]\nCMD ["y"]', ("x",), ("y",)),
        ('FROM rich AS b\nCMD ["y"]\nFROM b\nENTRYPOINT ["x"]', ("x",), None),
    ],
)
def test_a_new_entrypoint_forgets_the_inherited_command(
    text: str, entrypoint: tuple[str, ...], cmd: tuple[str, ...] | None
) -> None:
    config = built(text).config
    assert (config.entrypoint, config.cmd) == (entrypoint, cmd)


def test_a_stage_starts_with_all_that_its_base_has() -> None:
    config = built("FROM rich AS b\nENV B=$A\nFROM b\nLABEL q=3 z=9\nEXPOSE 90").config
    assert config.env == ("PATH=/bin", "A=base", "B=base")
    assert config.labels == {"a": "2", "q": "3", "z": "9"}
    assert list(config.exposed_ports) == ["80/tcp", "90/tcp"]
    assert config.working_dir == "/srv"
    assert (config.user, config.stop_signal) == ("app", "SIGINT")
    assert config.shell == ("/bin/bash", "-c")


def test_steps_run_as_and_where_the_configuration_says() -> None:
    text = 'FROM rich\nRUN a\nUSER other\nWORKDIR x\nSHELL ["/sh"]\nRUN b'
    first, second = steps(lowered(text, images=IMAGES))
    assert (first.args, first.user, first.cwd) == (("/bin/bash", "-c", "a"), "app", "/srv")
    assert (second.args, second.user, second.cwd) == (("/sh", "b"), "other", "/srv/x")


def test_scratch_starts_with_a_path_and_a_directory() -> None:
    config = built("FROM scratch\nLABEL a=b", platform="linux/arm64")
    assert (config.os, config.architecture) == ("linux", "arm64")
    assert config.config.env == (PATH,)
    assert config.config.working_dir == "/"
    assert [entry.created_by for entry in config.history] == ["LABEL a=b"]


def test_a_windows_image_is_written_as_windows_reads_it() -> None:
    text = "FROM windows\nWORKDIR c:\\app\nWORKDIR sub\nRUN dir\nCMD run"
    found = lowered(text, images=IMAGES, platform="windows/amd64")
    assert found.config.config.working_dir == "\\app\\sub"
    assert found.config.config.env == ()
    assert found.config.config.cmd == ("cmd", "/S", "/C", "run")
    (step,) = steps(found)
    assert (step.args, step.cwd) == (("cmd", "/S", "/C", "dir"), "/app/sub")
    assert history(found)[:2] == ["WORKDIR /app", "WORKDIR /app/sub"]


def test_the_result_is_stamped_with_the_platform_that_was_asked_for() -> None:
    assert built("FROM alpine", platform="linux/arm64").architecture == "arm64"
    kept = built("FROM alpine", platform="linux/arm64", explicit_platform=False)
    assert kept.architecture == "amd64"
    assert built("FROM alpine", platform="linux/arm/v7").variant == "v7"


def test_labels_of_the_command_line_come_last() -> None:
    config = built("FROM rich\nLABEL a=3", labels={"a": "4", "b": "5"}).config
    assert config.labels == {"a": "4", "b": "5", "z": "1"}


def test_maintainer_is_the_author() -> None:
    assert built(ALPINE + "MAINTAINER me <me@example.com>").author == "me <me@example.com>"


HISTORY = [
    ("RUN a  b", "RUN /bin/sh -c a  b # buildkit", False),
    ('RUN ["a", "b c"]', "RUN a b c # buildkit", False),
    ("RUN <<E\na\nb\nE", "RUN /bin/sh -c a\nb\n # buildkit", False),
    ("RUN <<E cat\na\nE", "RUN /bin/sh -c <<E cat\na\nE # buildkit", False),
    ("RUN <<E\n#!/x\nE", "RUN /bin/sh -c /dev/pipes/E # buildkit", False),
    ("COPY a b c/", "COPY a b c/ # buildkit", False),
    ('COPY ["a b", "c"]', "COPY a b c # buildkit", False),
    (
        "COPY --chown=u:g --chmod=755 --link a b",
        "COPY --chown=u:g --chmod=755 a b # buildkit",
        False,
    ),
    ("COPY <<A <<B /x/\na\nA\nb\nB", "COPY <<A <<B /x/ # buildkit", False),
    ("ADD a.tar /b", "ADD a.tar /b # buildkit", False),
    ("WORKDIR a", "WORKDIR /a", False),
    ("WORKDIR /", "WORKDIR /", True),
    ("ENV a=b c='d e'", "ENV a=b c=d e", True),
    ("ENV a b  c", "ENV a=b  c", True),
    ("LABEL a=b", "LABEL a=b", True),
    ("ARG a", "ARG a", True),
    ("ARG a=b c", "ARG a=b c", True),
    ('CMD ["a", "b c"]', 'CMD ["a" "b c"]', True),
    ("ENTRYPOINT a", 'ENTRYPOINT ["/bin/sh" "-c" "a"]', True),
    ('SHELL ["a", "b"]', "SHELL [a b]", True),
    ("EXPOSE 80 53/udp", "EXPOSE [53/udp 80/tcp]", True),
    ("VOLUME /a /b", "VOLUME [/a /b]", True),
    ("USER u", "USER u", True),
    ("STOPSIGNAL 9", "STOPSIGNAL 9", True),
    ("MAINTAINER m", "MAINTAINER m", True),
    (
        "HEALTHCHECK --interval=90s CMD a",
        "HEALTHCHECK {Test:[CMD-SHELL a] Interval:1m30s Timeout:0s StartPeriod:0s "
        "StartInterval:0s Retries:0}",
        True,
    ),
]


@pytest.mark.parametrize(("text", "line", "empty"), HISTORY)
def test_history(text: str, line: str, empty: bool) -> None:
    entry = built(ALPINE + text).history[-1]
    assert (entry.created_by, entry.empty_layer) == (line, empty)
    assert entry.comment == "buildkit.dockerfile.v0"


def test_triggers_leave_no_history_and_run_in_the_child() -> None:
    parent = lowered(ALPINE + "ONBUILD RUN a\nONBUILD ENV A=b")
    assert history(parent) == []
    images = {"docker.io/library/parent:latest": parent.config}
    child = lowered("FROM parent\nRUN c", images=images)
    assert history(child) == [
        "RUN /bin/sh -c a # buildkit",
        "ENV A=b",
        "RUN /bin/sh -c c # buildkit",
    ]
    assert child.config.config.on_build is None
    assert [name.partition("] ")[2] for name in names(child)[1:]] == ["ONBUILD RUN a", "RUN c"]


def test_triggers_of_a_stage_run_in_stages_built_on_it_only_once() -> None:
    text = "FROM alpine AS a\nONBUILD RUN x\nFROM a AS b\nFROM b\nRUN y"
    assert [step.args[-1] for step in steps(lowered(text))] == ["x", "y"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            ALPINE + "RUN a\nCOPY b c",
            ["[1/3] FROM docker.io/library/alpine", "[2/3] RUN a", "[3/3] COPY b c"],
        ),
        (ALPINE + "ENV A=b\nrun c $A", ["[1/2] FROM docker.io/library/alpine", "[2/2] RUN c b"]),
        (
            "FROM scratch AS x\nCOPY b c\nFROM scratch\nCOPY --from=x c d",
            ["[x 1/1] COPY b c", "[stage-1 1/1] COPY --from=x c d"],
        ),
    ],
)
def test_steps_are_numbered_in_their_stage(text: str, shown: list[str]) -> None:
    assert [name.partition(":latest@")[0] for name in names(lowered(text))] == shown


def test_steps_of_several_platforms_name_theirs() -> None:
    text = "FROM --platform=$BUILDPLATFORM alpine\nARG TARGETARCH\nRUN a $TARGETARCH"
    built_for = lowered(text, platform="linux/arm64", multi_platform=True)
    assert names(built_for)[-1] == "[linux/amd64->arm64 2/2] RUN a arm64"
