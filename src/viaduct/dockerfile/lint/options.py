"""Which checks run: `# check=skip=A,B;error=true;experimental=C`, in a file or a build argument."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile.gotext import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viaduct.base.spans import Span
    from viaduct.dockerfile.lint.rule import Rule
    from viaduct.dockerfile.syntax import Comment, Document

BUILD_ARG = "BUILDKIT_DOCKERFILE_CHECK"

_TRUE = frozenset("1 t T true TRUE True".split())
_FALSE = frozenset("0 f F false FALSE False".split())
_COMMENT = re.compile(r"\s*check\s*=\s*(\S+)", re.IGNORECASE)


class CheckOptions(msgspec.Struct, frozen=True):
    """`skip_all` leaves out every check that is not experimental; `error` fails the build when
    anything is found."""

    skip: frozenset[str] = frozenset()
    skip_all: bool = False
    experimental: frozenset[str] = frozenset()
    experimental_all: bool = False
    error: bool = False

    def runs(self, rule: Rule) -> bool:
        """Whether a rule is to be looked at."""
        if rule.experimental:
            return self.experimental_all or rule.name in self.experimental
        return not (self.skip_all or rule.name in self.skip)

    def also(self, comments: tuple[Comment, ...]) -> CheckOptions:
        """These options with those of a `# check=…` comment above one instruction.

        The first such comment counts; one that cannot be read changes nothing.
        """
        for comment in comments:
            match = _COMMENT.match(comment.text)
            if match is None:
                continue
            try:
                more = parse_options(match[1])
            except DockerfileError:
                return self
            return msgspec.structs.replace(
                self,
                skip=self.skip | more.skip,
                skip_all=self.skip_all or more.skip_all,
                experimental=self.experimental | more.experimental,
                experimental_all=self.experimental_all or more.experimental_all,
            )
        return self


def parse_options(
    text: str, *, what: str = "check options", where: Span | None = None
) -> CheckOptions:
    """Read `skip=A,B|all;error=BOOL;experimental=A,B|all`.

    Raises `DockerfileError`, about `what` and at `where`, for an unknown key or a value that is no
    boolean.
    """
    if not text.strip():
        return CheckOptions()
    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    skip_all = experimental_all = error = False
    for part in text.strip().split(";", 2):
        key, equals, value = part.partition("=")
        key, value = key.strip(), value.strip()
        if not equals:
            raise _wrong(what, f"invalid check option {quote(part)}", where)
        if key == "skip":
            skip_all = value == "all"
            skip = frozenset() if skip_all else _names(value)
        elif key == "experimental":
            experimental_all = value == "all"
            experimental = frozenset() if experimental_all else _names(value)
        elif key == "error" and value in _TRUE | _FALSE:
            error = value in _TRUE
        elif key == "error":
            why = f"strconv.ParseBool: parsing {quote(value)}: invalid syntax"
            raise _wrong(what, f"failed to parse check option {quote(part)}: {why}", where)
        else:
            raise _wrong(what, f"invalid check option {quote(key)}", where)
    return CheckOptions(skip, skip_all, experimental, experimental_all, error)


def options_for(document: Document, build_args: Mapping[str, str]) -> CheckOptions:
    """The options of a build: the build argument's, and without one the `check` directive's.

    Raises `DockerfileError` when they cannot be read.
    """
    if BUILD_ARG in build_args:
        return parse_options(build_args[BUILD_ARG], what=f"build-arg:{BUILD_ARG}")
    directive = document.directive("check")
    if directive is None:
        return CheckOptions()
    # A blank ends the options, as in the peers; what follows is a remark.
    return parse_options(directive.value.partition(" ")[0], where=directive.span)


def _wrong(what: str, why: str, where: Span | None) -> DockerfileError:
    return DockerfileError(f"failed to parse {what}: {why}", hint=_HINT, where=where)


def _names(value: str) -> frozenset[str]:
    return frozenset(name.strip() for name in value.split(","))


_HINT = "write it as skip=Rule,Rule;error=true, with skip=all for none"
