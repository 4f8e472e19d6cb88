"""What a build check is: a name, a page, and a pure function from a Dockerfile to what it found."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from viaduct.base.spans import Span
from viaduct.dockerfile.lint.checked import Checked

if TYPE_CHECKING:
    from viaduct.dockerfile.syntax import Instruction

DOCKER_PAGES = "https://docs.docker.com/go/dockerfile/rule/"
OWN_PAGES = "docs/rules/"

_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Hit(NamedTuple):
    """One place where a rule is broken: the sentence to show, the instruction, and the place when
    it is narrower than the instruction."""

    text: str
    on: Instruction
    where: Span | None = None


class Rule(msgspec.Struct, frozen=True):
    """A build check.

    `name` is what `check=skip=` and messages call it, `description` the rule in one sentence.
    `check` reads and never changes its input; it yields hits in any order. An `experimental` rule
    runs only when asked for. `multi_arch` marks the rules about images for several platforms.
    """

    name: str
    description: str
    check: Callable[[Checked], Iterator[Hit]]
    experimental: bool = False
    multi_arch: bool = False
    has_docker_page: bool = True

    @property
    def slug(self) -> str:
        """The name in kebab case: the file name of its page under `docs/rules/`."""
        return _CAPITAL.sub("-", self.name).lower()

    @property
    def url(self) -> str:
        """Where to read more; empty for the one check of Docker's that has no page."""
        if self.multi_arch:
            return f"{OWN_PAGES}{self.slug}.md"
        return f"{DOCKER_PAGES}{self.slug}/" if self.has_docker_page else ""


class Finding(msgspec.Struct, frozen=True):
    """A broken rule, ready to be shown."""

    rule: Rule
    text: str
    where: Span

    @property
    def short(self) -> str:
        """The finding on one line, as it is listed after a build."""
        return f"{self.rule.name}: {self.text} (line {self.where.start})"
