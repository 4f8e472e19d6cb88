"""What kind of thing a word with an architecture in it is: a URL, a package, a path, a triple …"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from viaduct.dockerfile.lint import arch

if TYPE_CHECKING:
    from viaduct.dockerfile.lint.arch import ArchToken
    from viaduct.dockerfile.lint.shell import Command
    from viaduct.dockerfile.lint.words import ShellWord

_SENTENCES = {
    "url": 'URL "{0}" fetches {1} for every platform',
    "triple": 'Target triple "{0}" stands for {1} on every platform',
    "platform": '"{0}" asks for {1} on every platform',
    "goarch": "{0} compiles for {1} on every platform",
    "image": 'Image "{0}" is for {1} only',
    "package": 'Package "{0}" is for {1} only',
    "path": 'Path "{0}" exists on {1} only',
    "file": 'File "{0}" is for {1} only',
    "variable": '"{0}" says {1} on every platform',
    "argument": '"{0}" says {1} on every platform',
}
_ORDER = {kind: rank for rank, kind in enumerate(_SENTENCES)}

_TRIPLE = re.compile(r"-(?:\w+-)?linux(?:-\w+)?-(?:gnu|musl|uclibc)|-(?:unknown|pc|alpine|redhat)-")
_ARCHIVE = re.compile(
    r"(?:\.(?:tar|t?gz|t?bz2|t?xz|txz|zst|zip|deb|rpm|apk|sh|run|bin|asc|sha\d+))+$"
)
_INSTALLERS = frozenset(
    "apt apt-get aptitude apt-fast apk yum dnf microdnf tdnf zypper rpm dpkg pip pip3 npm yarn "
    "pnpm conda mamba gem pacman install_packages apt-install clean-install nala".split()
)
# Text that people or compilers read: it is the same on every machine.
_SOURCE = re.compile(
    r"\.(?:patch|diff|go|[chsS]|cc|cpp|hpp|rs|py|md|txt|ya?ml|json|cmake|mk|conf)$"
)
# The machine in these names is the one that the tool works for, not the one it runs on.
_TOOL_FOR = re.compile(
    r"qemu|binfmt|crossbuild|cross-|-cross|libc6-dev-|linux-libc-dev-|musl-tools"
    r"|(?:gcc|g\+\+|gfortran|binutils|cpp|gdb|pkg-config|crossbuild-essential|gccgo|libstdc\+\+)-",
    re.IGNORECASE,
)


class Artefact(NamedTuple):
    """A word that names one architecture; `index` is where in the word's text."""

    kind: str
    word: ShellWord
    token: ArchToken
    shown: str

    @property
    def rank(self) -> int:
        """Lower is worth more: a URL says more about a step than the file that it makes."""
        return _ORDER[self.kind]

    @property
    def names(self) -> frozenset[str]:
        """The parts of the word that name the architecture, as other commands may call them."""
        return frozenset(
            _ARCHIVE.sub("", part)
            for part in re.split(r"[/=:]", self.word.text)
            if arch.names_architecture(part) and part != self.token.text
        )

    @property
    def shape(self) -> str:
        """The word with every architecture blotted out."""
        text = self.word.text
        for token in reversed(arch.tokens(text)):
            text = f"{text[: token.start]}*{text[token.end :]}"
        return text

    def sentence(self, more: int = 0) -> str:
        """What to tell the author; `more` such words stand in the same command."""
        text = _SENTENCES[self.kind].format(self.shown, self.token.text)
        return f"{text} (and {more} more like it)" if more else text


def artefact(word: ShellWord, command: Command | None = None, name: str = "") -> Artefact | None:
    """The architecture that a word names literally; None when it names none, or names one that
    is not the image's own (another system's program, an emulator's or cross compiler's target).

    `command` is what the word is an argument of, `name` the variable that it is the value of.
    """
    text = word.text
    found = arch.tokens(text)
    if not found or arch.for_another_system(text) or _TOOL_FOR.search(text):
        return None
    if "://" not in text and _SOURCE.search(text):
        return None
    token = found[0]
    return Artefact(_kind(word, token, command, name), word, token, _shown(word, token, name))


def _kind(word: ShellWord, token: ArchToken, command: Command | None, name: str) -> str:
    text = word.text
    program = command.name if command else ""
    if "[arch=" in text:
        return "argument"
    if "://" in text:
        return "url"
    if name == "GOARCH" or text.startswith("GOARCH="):
        return "goarch"
    if _TRIPLE.match(text, token.end):
        return "path" if "/" in text else "triple"
    if text.startswith("--platform") or re.search(r"(?:^|=|\s)linux/$", text[: token.start]):
        return "platform"
    if program in _INSTALLERS and (text[0] == "@" or "/" not in text):
        return "package"
    if "/" in text and " " not in text:
        return "path"
    if _ARCHIVE.search(text) and not name:
        return "file"
    if name:
        return "variable"
    return "argument"


def _shown(word: ShellWord, token: ArchToken, name: str) -> str:
    """The word as written, shortened around the architecture."""
    raw = word.raw.strip("'\"")
    if name and "://" not in raw and "/" not in raw:
        raw = f"{name}={raw}"
    raw = " ".join(raw.split())
    if "[arch=" in raw:
        raw = raw[max(0, raw.rfind("deb", 0, raw.find("[arch="))) :]
    if len(raw) <= 72:
        return raw
    at = raw.find(token.text)
    if at < 0:
        return raw[:71] + "…"
    begin, end = max(0, at - 36), min(len(raw), at + 36)
    return ("…" if begin else "") + raw[begin:end] + ("…" if end < len(raw) else "")
