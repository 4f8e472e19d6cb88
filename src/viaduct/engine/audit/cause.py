"""Machine code that does not belong, with the line of the Dockerfile that it came by. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viaduct.engine.audit import foreign
from viaduct.engine.audit.verdict import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence, Set

    from viaduct.engine.audit.facts import ElfFile, Image
    from viaduct.engine.audit.foreign import Sorted
    from viaduct.oci.digest import Digest
    from viaduct.oci.platform import Platform

_BASE = (
    "the final stage stands on a base image of another platform: take --platform=$BUILDPLATFORM "
    "(or a fixed one) out of its FROM, or a digest that names one platform's image"
)
_COPIED = (
    "a file for one machine was copied: let the stage it comes from compile for $TARGETARCH, or "
    "copy the one of each platform (COPY app-${TARGETARCH} …)"
)
_FETCHED = (
    "what the step fetched or compiled is for a fixed machine: use $TARGETARCH, declared without "
    "a value (ARG TARGETARCH), where the step names one"
)
_NOTHING_KNOWN = "build it for this platform: viaduct build --check finds the usual causes"

# A line that copies a shell and more programs than this brings a whole system.
_FEW = 20
_SHOWN = 3

_SYSTEM = re.compile(r"(?:sh|bash|dash|busybox|ldconfig|libc[.-].*|libc\.so.*)")
_NOISE = re.compile(r"^/bin/sh -c #\(nop\)\s+|\s+# buildkit$")


def machine_code(
    image: Image, platform: Platform, found: Sorted, owners: Mapping[Digest, Set[str]]
) -> Iterator[Finding]:
    """What is wrong with the machine code of an image for `platform`; `owners` are the platforms
    that have each layer."""
    strangers = out_of_place(found)
    if strangers and not found.own:
        yield _nothing_own(image, platform, strangers, owners)
    else:
        for (layer, machine), files in _groups(strangers).items():
            line = created_by(image)[layer]
            yield Finding(
                "problem",
                "foreign-programs",
                f"{programs(len(files))} for {machine} in an image for {platform.architecture}"
                f"{_also(image, platform, layer, owners)}",
                _hint(line, files),
                machine,
                image.layers[layer].descriptor.digest,
                line,
                tuple(file.path for file in files),
            )
    yield from _loaders(found, image)


def out_of_place(found: Sorted) -> tuple[ElfFile, ...]:
    """The programs that are wrong. Those that a processor runs all the same are the wrong ones,
    too, where nothing else is there."""
    return found.foreign if found.own else (*found.companions, *found.foreign)


def _nothing_own(
    image: Image,
    platform: Platform,
    strangers: Sequence[ElfFile],
    owners: Mapping[Digest, Set[str]],
) -> Finding:
    """None of the programs is of the image's machine: one finding with the cause."""
    machines = sorted({file.program.machine for file in strangers})
    layer = min(file.layer for file in strangers)
    first = [file for file in strangers if file.layer == layer]
    line = created_by(image)[layer]
    all_of = f"all {len(strangers)} programs are" if len(strangers) > 1 else "its only program is"
    return Finding(
        "problem",
        "wrong-machine",
        f"{all_of} for {' and '.join(machines)}, none for {platform.architecture}"
        f"{_also(image, platform, layer, owners)}",
        _hint(line, first),
        machines[0],
        image.layers[layer].descriptor.digest,
        line,
        tuple(file.path for file in strangers),
    )


def _loaders(found: Sorted, image: Image) -> Iterator[Finding]:
    """Programs of the right machine that cannot start, for want of their dynamic loader."""
    lost = [file for file in found.own if not file.loadable]
    if not lost:
        return
    paths = tuple(file.path for file in lost)
    asked = sorted({file.program.loader for file in lost})
    loaders = ", ".join(asked[:_SHOWN]) + ", …"[: 3 * (len(asked) > _SHOWN)]
    text = f"{programs(len(lost))} cannot start: {loaders} is not in the image"
    others = {
        file.program.machine
        for files in found.excused.values()
        for file in files
        if foreign.is_loader(file.path)
    }
    if others and not any(foreign.is_loader(file.path) for file in found.own):
        line = created_by(image)[0] if image.layers else ""
        text += f"; the one that is there is for {' and '.join(sorted(others))}"
        yield Finding("problem", "missing-loader", text, _BASE, found.arch, "", line, paths)
    else:
        yield Finding("note", "missing-loader", text, files=paths, machine=found.arch)


def _groups(files: Sequence[ElfFile]) -> dict[tuple[int, str], list[ElfFile]]:
    groups: dict[tuple[int, str], list[ElfFile]] = {}
    for file in sorted(files, key=lambda file: file.layer):
        groups.setdefault((file.layer, file.program.machine), []).append(file)
    return groups


def _also(image: Image, platform: Platform, layer: int, owners: Mapping[Digest, Set[str]]) -> str:
    """A layer that holds machine code and is in the images of several machines says a lot."""
    others = sorted(owners.get(image.layers[layer].descriptor.digest, set()) - {str(platform)})
    return f", in a layer that {' and '.join(others)} has too" if others else ""


def _hint(line: str, files: Sequence[ElfFile]) -> str:
    word = shown_line(line).partition(" ")[0].upper()
    if word in ("COPY", "ADD"):
        whole = word == "ADD" or len(files) > _FEW
        return _BASE if whole and _is_system(files) else _COPIED
    if word == "RUN" or line.startswith("/bin/sh -c"):
        return _FETCHED
    return _BASE if _is_system(files) else _NOTHING_KNOWN


def _is_system(files: Sequence[ElfFile]) -> bool:
    """Whether these are a distribution's: its shell, its C library."""
    names = (file.path.rpartition("/")[2] for file in files)
    return any(_SYSTEM.fullmatch(name) or foreign.is_loader(name) for name in names)


def created_by(image: Image) -> list[str]:
    """The line of the history that made each layer; empty where the history does not tell."""
    history = image.config.history if image.config is not None else ()
    lines = [entry.created_by for entry in history if not entry.empty_layer]
    return lines if len(lines) == len(image.layers) else [""] * len(image.layers)


def shown_line(line: str) -> str:
    """A line of the history as it stands in a Dockerfile, as far as it shows."""
    return " ".join(_NOISE.sub("", line).split())


def programs(count: int) -> str:
    return f"{count} program{'s'[: count != 1]}"
