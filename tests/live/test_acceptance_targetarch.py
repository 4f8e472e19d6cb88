"""Acceptance: the arguments that tell a Dockerfile its platform (S-16 to S-23)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.parts import readers
from tests.parts.contexts import BOTH, Context
from tests.parts.published import MACHINES, blank
from tests.parts.site import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parts.plainlog import PlainLog

_NAMES = [f"{side}{what}" for side in ("TARGET", "BUILD") for what in ("PLATFORM", "OS", "ARCH")]
#: The guide's Dockerfile asks for it; busybox has wget.
_CURL = '#!/bin/sh\n# curl -fsSL URL -o FILE\nexec wget -q -O "$4" "$2"\n'


@pytest.fixture(scope="module")
def steps(busybox: str, tmp_path_factory: pytest.TempPathFactory) -> PlainLog:
    """The log of a build for both platforms in which each leg prints its arguments."""
    place = tmp_path_factory.mktemp("arguments")
    context = Context(place, busybox)
    lines = [f"ARG {name}\n" for name in _NAMES]
    context.dockerfile(
        f"FROM BASE\n{''.join(lines)}RUN " + "; ".join(f"echo {name}=${name}" for name in _NAMES)
    )
    return context.build(*BOTH, env=blank(place)).log


def value(steps: PlainLog, arch: str, name: str) -> str:
    """What an argument was in the leg of an architecture."""
    output = steps.step(f"[linux/{arch} 2/2] RUN").output
    return dict(line.split("=", 1) for line in output)[name]


def test_s16_targetplatform_is_the_platform_of_the_leg(steps: PlainLog) -> None:
    for arch in MACHINES:
        assert value(steps, arch, "TARGETPLATFORM") == f"linux/{arch}"


def test_s17_targetarch_is_the_architecture_of_the_leg(steps: PlainLog) -> None:
    for arch in MACHINES:
        assert value(steps, arch, "TARGETARCH") == arch


def test_s18_targetos_is_linux_in_both_legs(steps: PlainLog) -> None:
    for arch in MACHINES:
        assert value(steps, arch, "TARGETOS") == "linux"


def test_s19_buildarch_is_the_machine_that_builds_in_both_legs(steps: PlainLog) -> None:
    (here,) = [arch for arch, machine in MACHINES.items() if machine == os.uname().machine]
    for arch in MACHINES:
        assert value(steps, arch, "BUILDARCH") == here
        assert value(steps, arch, "BUILDPLATFORM") == f"linux/{here}"
        assert value(steps, arch, "BUILDOS") == "linux"


def test_s20_undeclared_it_is_empty_in_run_and_there_in_from(context: Context) -> None:
    context.dockerfile(
        "FROM BASE AS on-amd64\nRUN echo chose amd64\n"
        "FROM BASE AS on-arm64\nRUN echo chose arm64\n"
        'FROM on-$TARGETARCH\nRUN echo "platform=[$TARGETPLATFORM] arch=[$TARGETARCH]"\n'
    )
    log = context.build(*BOTH).log
    for arch in MACHINES:
        assert log.step(f"[linux/{arch} on-{arch} 2/2] RUN").output == [f"chose {arch}"]
        assert log.step(f"[linux/{arch} stage-2 1/1] RUN").output == ["platform=[] arch=[]"]


def test_s21_the_guides_dockerfile_gives_each_image_its_own_download(
    context: Context, registry: str, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    for arch in MACHINES:
        (site / f"tool-linux-{arch}").write_text(f"tool for {arch}")
    context.file("curl", _CURL, mode=0o755)
    name = f"{registry}/s21:1"
    with serving(site) as address:
        context.dockerfile(
            "FROM BASE\n"
            "COPY curl /usr/bin/curl\n"
            "ARG TARGETARCH\n"
            'RUN case "${TARGETARCH}" in \\\n'
            f'      amd64) BINARY_URL="http://{address}/tool-linux-amd64" ;; \\\n'
            f'      arm64) BINARY_URL="http://{address}/tool-linux-arm64" ;; \\\n'
            "    esac && \\\n"
            '    curl -fsSL "${BINARY_URL}" -o /usr/local/bin/tool && \\\n'
            "    chmod +x /usr/local/bin/tool\n"
        )
        context.build(*BOTH, "-t", name, "--push")
    for arch in MACHINES:
        root = readers.unpack(f"docker://{name}", tmp_path / arch, platform=f"linux/{arch}")
        tool = root / "usr/local/bin/tool"
        assert tool.read_text() == f"tool for {arch}"
        assert tool.stat().st_mode & 0o111 == 0o111


def test_s22_a_default_value_pins_every_leg_and_its_line_is_warned_of(context: Context) -> None:
    context.dockerfile("FROM BASE\nARG TARGETARCH=amd64\nRUN echo arch=$TARGETARCH\n")
    built = context.build(*BOTH)
    said = [step.output for step in built.log.steps if "RUN echo arch" in step.name]
    assert said == [["arch=amd64"], ["arch=amd64"]]
    (warning,) = [line for line in built.stderr.splitlines() if line.startswith(" - PlatformArg")]
    assert warning.endswith("(line 2)")


def test_s23_a_build_argument_overrides_and_the_platform_stays(
    context: Context, registry: str
) -> None:
    context.dockerfile("FROM BASE\nARG TARGETARCH\nRUN echo arch=$TARGETARCH\n")
    name = f"{registry}/s23:1"
    log = context.build(*BOTH, "--build-arg", "TARGETARCH=mine", "-t", name, "--push").log
    said = [step.output for step in log.steps if "RUN echo arch" in step.name]
    assert said == [["arch=mine"], ["arch=mine"]]
    assert readers.platforms(f"docker://{name}") == ["linux/amd64", "linux/arm64"]
    for arch in MACHINES:
        assert readers.config(f"docker://{name}", f"linux/{arch}")["architecture"] == arch
