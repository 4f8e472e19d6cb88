"""The words by which architectures are called, and which of them belong together.

One machine has several names: Go, Debian and OCI say `amd64`, the kernel, RPM, Alpine and compilers
say `x86_64`, Node says `x64`. A name belongs to a convention by how it spells two machines:

    convention   amd64     arm64      used by
    go           amd64     arm64      TARGETARCH, Go, dpkg
    kernel       x86_64    aarch64    uname -m, rpm, apk, GNU and LLVM triples
    node         x64       arm64      Node, .NET, VS Code
"""

from __future__ import annotations

import re
from typing import NamedTuple

PLATFORM_ARGS = frozenset(
    "TARGETPLATFORM TARGETOS TARGETOSVERSION TARGETARCH TARGETVARIANT "
    "BUILDPLATFORM BUILDOS BUILDOSVERSION BUILDARCH BUILDVARIANT".split()
)
"""Arguments that the builder gives a value for each platform when a stage declares them."""

_FAMILIES = {
    "x86": (
        "amd64(?:v[1-4])?|x86[_-]64(?:[_-]?v[1-4])?|x64|linux64|linux[_-]64(?:bit)?|64bit"
        "|i[3-6]86|(?<=linux[_-])(?:x86|386)"
    ),
    "arm": (
        "arm64(?:v8)?(?:ec|e)?|aarch64(?:_be)?|armv[4-8][a-z]{0,5}|arm32v[5-7]|armhf|armel"
        "|armeabi(?:-v7a)?|armhfp?|thumbv[4-8][a-z]*|arm(?=-(?:\\w+-)?linux)"
    ),
    "power": "ppc64le|ppc64el|powerpc64le",
    "z": "s390x",
    "riscv": "riscv64(?:gc)?",
    "mips": "mips(?:64)?(?:el|le)(?:r6)?|mips64",
    "loong": "loong(?:arch)?64",
}

# These patterns are left to be compiled by the first text that needs them; many builds have none.
_TOKEN = (
    r"(?<![A-Za-z0-9])(?:"
    + "|".join(f"(?P<{family}>{pattern})" for family, pattern in _FAMILIES.items())
    + r")(?![A-Za-z0-9])"
)

# Cheap: most instructions name no architecture, and this search costs a fifth of the exact one.
_HINT = re.compile(r"64|86|armv|arm32|armhf|armel|armeabi|arm-|thumb|s390|mips", re.IGNORECASE)

# In the name of a stage or a file a short word says enough.
_SHORT = re.compile(r"(?<![A-Za-z0-9])(?:386|arm|ppc64|mips|riscv|x86|x32)(?![A-Za-z0-9])")

_FOREIGN_SYSTEM = (
    r"(?<![a-z])(?:windows|win(?:32|64)?|darwin|mac(?:os|osx)?|apple|mingw(?:32|64)?|w64|msvc|osx"
    r"|freebsd|openbsd|netbsd|linux-android|efi|uefi|ovmf|bios)(?![a-z])"
)

_SELECTOR = re.compile(
    r"arch|platform|machine|uname|cpu|triple|triplet|variant|deb_host|multiarch|_host\b",
    re.IGNORECASE,
)


class ArchToken(NamedTuple):
    """An architecture's name in a text: where, as written, and its family (`x86`, `arm`, …)."""

    start: int
    end: int
    text: str
    family: str


def tokens(text: str) -> list[ArchToken]:
    """The architecture names in `text`, words of their own between punctuation or underscores."""
    if not _HINT.search(text):
        return []
    return [
        ArchToken(match.start(), match.end(), match[0], match.lastgroup or "")
        for match in re.finditer(_TOKEN, text, re.IGNORECASE)
    ]


def families(text: str) -> set[str]:
    """The families of the architectures that `text` names."""
    return {token.family for token in tokens(text)}


def names_architecture(text: str) -> bool:
    """Whether `text` names an architecture."""
    return bool(_HINT.search(text)) and re.search(_TOKEN, text, re.IGNORECASE) is not None


def names_target(text: str) -> bool:
    """Whether the name of a stage, file or folder says which architecture it is for."""
    return names_architecture(text) or _SHORT.search(text) is not None


def selects(text: str) -> bool:
    """Whether a condition looks at the architecture: it names one, or a variable called so."""
    return _SELECTOR.search(text) is not None or names_architecture(text)


def for_another_system(text: str) -> bool:
    """Whether `text` names something that is not for Linux, whatever its machine."""
    return re.search(_FOREIGN_SYSTEM, text, re.IGNORECASE) is not None
