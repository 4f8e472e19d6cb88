"""What is measured: the same builds for every peer, and what is wanted of Viaduct.

A cold case begins with an empty state, as a fresh CI machine does: the base image comes from the
registry, nothing is cached. A warm case has the base image and, unless an argument differs from
run to run, every result of the last run.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import world
from bench.peers.peer import AMD64, ARM64, Build
from tests.parts import rootfs

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.world import World

    #: Gives the build of one run by a name that no other run has.
    Builds = Callable[[str], Build]

_STEPS = 30
_BRANCHES = 10
_PEAK = 200_000_000


@dataclass(frozen=True)
class Wanted:
    """What Viaduct is meant to reach: at most `ratio` times BuildKit's wall clock, at most
    `seconds` of it, at most `peak` bytes of memory; 0 is no wish."""

    ratio: float = 0
    seconds: float = 0
    peak: int = 0


@dataclass(frozen=True)
class Case:
    """One measurement. `prepare` makes the inputs, once; `memory` adds a run that is watched;
    `foreign` cases execute programs of another machine."""

    key: str
    title: str
    prepare: Callable[[World], Builds]
    wanted: Wanted = Wanted()
    cold: bool = False
    memory: bool = False
    foreign: bool = False


def _rebuild(place: World) -> Builds:
    """Two platforms, compiled for on the builder's own; the steps of both are all in the cache."""
    context = place.context(
        "rebuild",
        f"""\
FROM --platform=$BUILDPLATFORM {place.base()} AS build
ARG TARGETARCH
COPY main.txt /src/
RUN mkdir /out && sed "s/ARCH/$TARGETARCH/" /src/main.txt > /out/app
RUN sha256sum /out/app > /out/app.sum
FROM {place.base()}
COPY --from=build /out/ /opt/app/
COPY etc/ /etc/app/
WORKDIR /opt/app
ENV APP=1
CMD ["cat", "app"]
""",
    )
    (context / "main.txt").write_text("built for ARCH\n")
    (context / "etc").mkdir()
    for number in range(20):
        (context / f"etc/{number}.conf").write_text(f"value = {number}\n")
    tags: dict[str, str] = {}

    def build(run: str) -> Build:
        # A peer's first run is not measured; the others find the same name as it left.
        peer = run.partition("-")[0]
        tag = tags.setdefault(peer, place.reference(f"rebuild/{peer}:1"))
        return Build(context, (AMD64, ARM64), tag)

    return build


def _steps(place: World) -> Builds:
    lines = "".join(f'RUN echo "step {number}" > /step-{number}\n' for number in range(_STEPS))
    context = place.context("steps", f"FROM {place.base()}\nARG RUN_NAME\n{lines}")
    return lambda run: Build(context, args={"RUN_NAME": run})


def _files(place: World) -> Builds:
    context = place.context("files", f"FROM {place.base()}\nCOPY files /data\n")
    shutil.copytree(world.many_files(), context / "files")
    return lambda _run: Build(context)


def _layer(place: World) -> Builds:
    context = place.context("layer", f"FROM {place.base()}\nCOPY layer /data\n")
    shutil.copytree(world.big_files(), context / "layer")
    # A repository of its own for each run: what is there already would not be uploaded.
    return lambda run: Build(context, tag=place.reference(f"layer/{run}:1"))


def _pulled(name: str, tree: Callable[[], object]) -> Callable[[World], Builds]:
    def prepare(place: World) -> Builds:
        reference = place.have(f"with-{name}", world.image_with(name, tree()))  # type: ignore[arg-type]
        # A step wants the whole root file system, whoever unpacks lazily.
        context = place.context(f"pull-{name}", f'FROM {reference}\nRUN ["/bin/true"]\n')
        return lambda _run: Build(context)

    return prepare


def _diamond(place: World) -> Builds:
    branches = "".join(
        f"FROM base AS branch{number}\n"
        f"RUN seq {number} {2000 + number} | sha256sum > /made-{number}\n"
        for number in range(_BRANCHES)
    )
    copies = "".join(
        f"COPY --from=branch{number} /made-{number} /\n" for number in range(_BRANCHES)
    )
    context = place.context(
        "diamond",
        f"FROM {place.base()} AS base\nARG RUN_NAME\nRUN echo $RUN_NAME > /base\n"
        f"{branches}FROM base\n{copies}RUN cat /made-* > /all\n",
    )
    return lambda run: Build(context, args={"RUN_NAME": run})


def _foreign_install(place: World) -> Builds:
    """apt and dpkg for arm64, with the packages in the context: no mirror's mood is measured."""
    context = place.context(
        "install",
        f"FROM {place.base('debian')}\nARG RUN_NAME\n"
        "RUN --mount=type=bind,source=packages,target=/packages \\\n"
        "    apt-get install -y --no-install-recommends /packages/*.deb\n",
    )
    packages = context / "packages"
    packages.mkdir()
    for package in rootfs.debian_packages("arm64", "python3-minimal", "make", "xz-utils"):
        shutil.copy(package, packages)
    return lambda run: Build(context, (ARM64,), args={"RUN_NAME": run})


CASES = (
    Case(
        "a",
        "no-op rebuild for two platforms, pushed",
        _rebuild,
        Wanted(ratio=2, seconds=0.3),
        foreign=True,
    ),
    Case("b", f"{_STEPS} small RUN steps", _steps, Wanted(ratio=1.2)),
    Case(
        "c",
        f"COPY of {world.FILES:,} small files, cold",
        _files,
        Wanted(ratio=1.2, peak=_PEAK),
        cold=True,
        memory=True,
    ),
    Case(
        "d",
        f"a layer of {world.LAYER_MB} MB built and pushed, cold",
        _layer,
        Wanted(ratio=0.5, peak=_PEAK),
        cold=True,
        memory=True,
    ),
    Case(
        "e",
        f"pull and unpack an image of {world.FILES:,} files, and a step in it",
        _pulled("files", world.many_files),
        Wanted(ratio=0.5, peak=_PEAK),
        cold=True,
        memory=True,
    ),
    Case(
        "e",
        f"pull and unpack an image of {world.LAYER_MB} MB, and a step in it",
        _pulled("layer", world.big_files),
        Wanted(ratio=0.5, peak=_PEAK),
        cold=True,
        memory=True,
    ),
    Case("f", f"a diamond of {_BRANCHES + 2} stages", _diamond, Wanted(ratio=1.2)),
    Case("g", "apt-get install for arm64 on amd64", _foreign_install, foreign=True),
)
