"""Parser directives: `# syntax=`, `# escape=`, `# check=` at the very top of a file."""

from __future__ import annotations

import re

from viaduct.base.errors import DockerfileError
from viaduct.base.spans import Source, Span
from viaduct.dockerfile.gotext import SPACE
from viaduct.dockerfile.syntax import Directive

_ASSIGNMENT = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)[ \t\n\f\r]*=[ \t\n\f\r]*(.+?)[ \t\n\f\r]*")
_KNOWN = frozenset(("syntax", "escape", "check"))


class DirectiveZone:
    """The top of a file while it is read: the first line that is no directive closes it."""

    def __init__(self, source: Source, mark: str = "#") -> None:
        self._source = source
        self._mark = mark
        self.open = True
        self.found: dict[str, Directive] = {}

    def read(self, line: str, number: int) -> Directive | None:
        """The directive on this line, if it is one. Raises `DockerfileError` for a second one."""
        if not self.open:
            return None
        match = None
        if line.startswith(self._mark):
            match = _ASSIGNMENT.fullmatch(line[len(self._mark) :].lstrip(SPACE))
        name = match[1].lower() if match else ""
        if match is None or name not in _KNOWN:
            self.open = False
            return None
        span = Span(self._source, number, number)
        if name in self.found:
            raise DockerfileError(f"only one {name} parser directive can be used", where=span)
        directive = self.found[name] = Directive(name, match[2], span)
        return directive


def find(source: Source, name: str) -> Directive | None:
    """A directive as the front end looks for it before parsing: behind a `#!` line, too."""
    return _find(source, name, "#")


def requested_syntax(source: Source) -> tuple[str, Span] | None:
    """The frontend image that the file asks for, and where.

    Besides the directive, `// syntax=` and a JSON document's `syntax` name one: such files are not
    Dockerfiles.
    """
    for mark in ("#", "//"):
        if directive := _find(source, "syntax", mark):
            return directive.value.partition(" ")[0], directive.span
    if source.text.lstrip("\ufeff \t\r\n").startswith("{"):
        import json

        try:
            document = json.loads(_body(source)[0])
        except (ValueError, RecursionError):
            return None
        value = document.get("syntax") if isinstance(document, dict) else None
        if isinstance(value, str):
            return value, Span(source, 1, 1)
    return None


def _body(source: Source) -> tuple[str, int]:
    """The text without byte order mark and `#!` line, and how many lines that took."""
    text = source.text.removeprefix("\ufeff")
    if text.startswith("#!"):
        return text.partition("\n")[2], 1
    return text, 0


def _find(source: Source, name: str, mark: str) -> Directive | None:
    text, skipped = _body(source)
    zone = DirectiveZone(source, mark)
    for number, line in enumerate(text.split("\n"), skipped + 1):
        try:
            zone.read(line.removesuffix("\r"), number)
        except DockerfileError:
            break
        if not zone.open:
            break
    return zone.found.get(name)
