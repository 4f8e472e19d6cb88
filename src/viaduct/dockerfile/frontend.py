"""`# syntax=…`: which front end a file asks for, and whether this is one.

Viaduct reads the language of `docker/dockerfile` itself and never fetches a front end. The image's
tag only says which language level is wanted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import DockerfileError, UsageError
from viaduct.base.spans import Span
from viaduct.dockerfile.directives import requested_syntax
from viaduct.dockerfile.gotext import SPACE
from viaduct.oci import reference as references

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viaduct.base.spans import Source

_OURS = ("docker/dockerfile", "docker/dockerfile-upstream")
_TAG = re.compile(
    r"(?:v?1(?:\.\d+)*|0\.\d+(?:\.\d+)*|latest|master|stable|nightly)?(?:-rc\d+)?"
    r"(?:-?(?P<labs>labs|experimental))?(?:-rc\d+)?"
)
_OVERRIDE = "BUILDKIT_SYNTAX"


class Frontend(msgspec.Struct, frozen=True):
    """The front end that a file names; `labs` is the channel of experimental features."""

    reference: str
    labs: bool
    where: Span | None


def requested_frontend(source: Source, build_args: Mapping[str, str]) -> Frontend | None:
    """The front end of a file, if it names one that we stand in for.

    The build argument BUILDKIT_SYNTAX overrules the file. Raises `DockerfileError` for another.
    """
    where: Span | None = None
    reference = build_args.get(_OVERRIDE, "").strip(SPACE).partition(" ")[0]
    if not reference:
        found = requested_syntax(source)
        if found is None:
            return None
        reference, where = found
    try:
        parsed = references.parse(reference)
    except UsageError as error:
        raise DockerfileError(
            f"cannot use the front end {reference!r}: {error.what}", hint=error.hint, where=where
        ) from error
    name = "/".join(parsed.path.split("/")[-2:])
    tag = _TAG.fullmatch(parsed.tag)
    if name not in _OURS or tag is None:
        raise DockerfileError(
            f"the file asks for the front end {reference}, which Viaduct cannot run",
            hint="use `# syntax=docker/dockerfile:1`, or remove the line if it is a Dockerfile",
            where=where,
        )
    return Frontend(str(parsed), tag["labs"] is not None, where)
