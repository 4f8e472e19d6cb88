"""Platforms: what they are called, and which one runs on which.

Names are normalised as containerd's `platforms` package does, which is what users of the peers
see: `aarch64` is `arm64`, `armhf` is `arm/v7`, `arm64/v8` is `arm64`, `amd64/v1` is `amd64`.
"""

from __future__ import annotations

import os as _os
import re
import sys
from typing import TYPE_CHECKING, NamedTuple

from viaduct.base.errors import PlatformError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PART = re.compile(r"[A-Za-z0-9_.-]+")
# `os`, or `os(version+feature+feature)`, as containerd's extended form has it.
_SYSTEM = re.compile(
    r"(?P<os>[A-Za-z0-9_-]+)"
    r"(?:\((?P<version>[A-Za-z0-9_.%-]*)(?P<features>(?:\+[A-Za-z0-9_.%-]+)*)\))?"
)
_SYSTEM_SHOWN = r"^([A-Za-z0-9_-]+)(?:\\(([A-Za-z0-9_.%-]*)((?:\\+[A-Za-z0-9_.%-]+)*)\\))?$"
_ESCAPED = re.compile(r"%([0-9A-Fa-f]{2})")

_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "ppc64el": ("ppc64le", ""),
    "mips64el": ("mips64le", ""),
    "loongarch64": ("loong64", ""),
}

_KNOWN_ARCHITECTURES = frozenset(
    "386 amd64 amd64p32 arm armbe arm64 arm64be loong64 mips mipsle mips64 mips64le mips64p32 "
    "mips64p32le ppc ppc64 ppc64le riscv riscv64 s390 s390x sparc sparc64 wasm".split()
)
_KNOWN_SYSTEMS = frozenset(
    "aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 "
    "solaris windows zos wasip1 wasi".split()
)

_SYSTEM_NAMES = {"macos": "darwin"}


class Platform(NamedTuple):
    """An operating system and a machine, in normal form when made by `parse` or `normalize`."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    @property
    def full(self) -> str:
        """The name with version and features of the system: `windows(10.0.20348.1)/amd64`."""
        features = (f"+{_escape(feature)}" for feature in self.os_features)
        options = _escape(self.os_version) + "".join(features)
        system = f"{self.os}({options})" if options else self.os
        return "/".join(filter(None, (system, self.architecture, self.variant)))

    @property
    def path_name(self) -> str:
        """The name as one path component, as the local exporter spells it (`linux_arm_v7`)."""
        return str(self).replace("/", "_")


def normalize(platform: Platform) -> Platform:
    """The same platform under its usual names."""
    system = platform.os.lower()
    system = _SYSTEM_NAMES.get(system, system)
    arch, variant = platform.architecture.lower(), platform.variant.lower()
    if arch in _ARCHITECTURES:
        arch, implied = _ARCHITECTURES[arch]
        variant = "" if arch == "386" else implied or variant
    if arch == "arm64":
        variant = {"8": "", "v8": "", "v8.0": "", "9": "v9", "9.0": "v9", "v9.0": "v9"}.get(
            variant, variant
        )
    elif arch == "amd64" and variant == "v1":
        variant = ""
    elif arch == "arm":
        variant = {"": "v7", "7": "v7", "6": "v6", "5": "v5", "8": "v8"}.get(variant, variant)
    features = tuple(sorted(set(platform.os_features)))
    return Platform(system, arch, variant, platform.os_version, features)


def parse(text: str, *, local: Platform | None = None) -> Platform:
    """Read `os/arch[/variant]`, `arch`, `os` or `local`; `os` may be `os(version+feature…)`.

    A missing half is taken from `local` (default: the machine we run on). Raises `PlatformError`
    for empty parts, strange characters or an unknown single word.
    """
    here = local or native()
    text = text.strip()
    if text == "local":
        return here
    first, *rest = text.split("/")
    head = _SYSTEM.fullmatch(first)
    if head is None or len(rest) > 2 or not all(_PART.fullmatch(part) for part in rest):
        raise _malformed(text, first, rest)
    version = _unescape(head["version"] or "")
    features = tuple(_unescape(part) for part in (head["features"] or "").split("+") if part)
    if rest:
        return normalize(Platform(head["os"], rest[0], "".join(rest[1:]), version, features))
    word = head["os"].lower()
    if _SYSTEM_NAMES.get(word, word) in _KNOWN_SYSTEMS:
        return normalize(Platform(word, here.architecture, here.variant, version, features))
    machine = normalize(Platform(here.os, first))
    if machine.architecture in _KNOWN_ARCHITECTURES:
        return machine
    raise _invalid(f'"{text}": unknown operating system or architecture')


def _malformed(text: str, first: str, rest: Sequence[str]) -> PlatformError:
    """What is wrong with it, in containerd's words."""
    if "*" in text:
        return _invalid(f'"{text}": wildcards not yet supported')
    if not _SYSTEM.fullmatch(first):
        return _invalid(
            f'"{first}" is an invalid OS component of "{text}": OSAndVersion specifier component '
            f'must match "{_SYSTEM_SHOWN}"'
        )
    for part in rest[:3]:
        if not _PART.fullmatch(part):
            return _invalid(
                f'"{part}" is an invalid component of "{text}": platform specifier component must '
                'match "^[A-Za-z0-9_.-]+$"'
            )
    return _invalid(f'"{text}": cannot parse platform specifier')


def _invalid(why: str) -> PlatformError:
    return PlatformError(
        f"{why}: invalid argument", hint="write it as os/arch[/variant], like linux/arm64"
    )


def _escape(option: str) -> str:
    return re.sub(r"[%+()/]", lambda match: f"%{ord(match[0]):02X}", option)


def _unescape(option: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), option)


def parse_list(values: Iterable[str], *, local: Platform | None = None) -> tuple[Platform, ...]:
    """Platforms from repeated, comma-separated options, first mention kept."""
    texts = [part for value in values for part in value.split(",") if part.strip()]
    return tuple(dict.fromkeys(parse(text, local=local) for text in texts))


def native() -> Platform:
    """The platform of the machine this process runs on."""
    machine = _os.uname().machine
    if match := re.match(r"armv([5-8])", machine):
        return Platform("linux", "arm", f"v{match[1]}")
    if machine in ("mips", "mips64") and sys.byteorder == "little":
        machine += "le"  # uname does not tell the two apart
    return normalize(Platform("linux", machine))


def compatible(wanted: Platform) -> tuple[Platform, ...]:
    """Platforms whose images serve `wanted`, best first (containerd's `platforms.Only` order).

    A machine runs what was made for older levels of its architecture, amd64 also 386 and arm64
    also 32-bit arm. An arm64 variant that no rule knows serves only itself.
    """
    wanted = normalize(wanted)
    arch, variant = wanted.architecture, wanted.variant
    names = [(arch, variant)]
    level = re.fullmatch(r"v(\d{1,2})", variant)
    if arch == "amd64":
        if level:
            names += [("amd64", f"v{n}") for n in range(int(level[1]) - 1, 0, -1)]
        names.append(("386", ""))
    elif arch == "arm" and level:
        names += [("arm", f"v{n}") for n in range(int(level[1]) - 1, 4, -1)]
    elif arch == "arm64" and (levels := _arm64_levels(variant)):
        names = [("arm64", text) for text in levels]
        names += [("arm", f"v{n}") for n in range(8, 4, -1)]
    served = (
        normalize(Platform(wanted.os, arch, variant, wanted.os_version, wanted.os_features))
        for arch, variant in names
    )
    return tuple(dict.fromkeys(served))


def _arm64_levels(variant: str) -> list[str]:
    """Levels of arm64 that `variant` includes: Armv9.x has what Armv8.(x+5) has."""
    match = re.fullmatch(r"v([89])(?:\.([0-9]))?", variant or "v8")
    if match is None or match[0] in ("v9.8", "v9.9"):
        return []
    minor = int(match[2] or 0)
    if match[1] == "8":
        return [f"v8.{n}" for n in range(minor, -1, -1)]
    return [f"v9.{n}" for n in range(minor, -1, -1)] + [
        f"v8.{n}" for n in range(min(minor + 5, 9), -1, -1)
    ]


def best(wanted: Platform, offered: Sequence[Platform | None]) -> int | None:
    """Index of the entry of `offered` that serves `wanted` best, or None.

    Entries without a platform are never chosen, nor are those that ask for an `os.feature` which
    `wanted` lacks. Among equals the one with most features wins, then the first. Windows builds
    must agree in their first three numbers where both are told.
    """
    wanted = normalize(wanted)
    normal = [normalize(entry) if entry else None for entry in offered]
    for candidate in compatible(wanted):
        found = [
            (-len(_features(entry)), index)
            for index, entry in enumerate(normal)
            if entry is not None
            and (entry.os, entry.architecture, entry.variant)
            == (candidate.os, candidate.architecture, candidate.variant)
            and _features(entry) <= _features(wanted)
            and _same_build(wanted, entry)
        ]
        if found:
            return min(found)[1]
    return None


def _features(platform: Platform) -> set[str]:
    # Older indexes name win32k without meaning a requirement.
    return set(platform.os_features) - {"win32k"}


def _same_build(wanted: Platform, entry: Platform) -> bool:
    if wanted.os != "windows" or not wanted.os_version or not entry.os_version:
        return True
    return wanted.os_version.split(".")[:3] == entry.os_version.split(".")[:3]
