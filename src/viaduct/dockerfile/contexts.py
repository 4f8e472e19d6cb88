"""What the text of a context means, and what a named context is called.

Pure: nothing is looked at. A local directory that exists wins over everything but `-`; the caller
knows whether it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from viaduct.base.errors import UsageError, ViaductError
from viaduct.dockerfile.giturl import GitReference, parse_git
from viaduct.oci import platform as platforms
from viaduct.oci import reference as references

if TYPE_CHECKING:
    from viaduct.oci.platform import Platform


class StdinContext(msgspec.Struct, frozen=True):
    """Standard input: an archive, or a Dockerfile with an empty context."""


class LocalContext(msgspec.Struct, frozen=True):
    """A directory of this machine."""

    path: str


class GitContext(msgspec.Struct, frozen=True):
    """A git repository."""

    reference: GitReference


class HttpContext(msgspec.Struct, frozen=True):
    """An archive or a Dockerfile behind a URL."""

    url: str


class ImageContext(msgspec.Struct, frozen=True):
    """An image (`docker-image://`); `scratch` is the empty one."""

    reference: str


class LayoutContext(msgspec.Struct, frozen=True):
    """An image in an OCI layout directory (`oci-layout://path[:tag][@digest]`)."""

    path: str
    tag: str = ""
    digest: str = ""


Context: TypeAlias = StdinContext | LocalContext | GitContext | HttpContext
NamedContextKind: TypeAlias = LocalContext | GitContext | HttpContext | ImageContext | LayoutContext


def classify(text: str) -> Context:
    """What a build's main context is. Raises `DockerfileError` for a bad git query."""
    if text == "-":
        return StdinContext()
    git = parse_git(text)
    if git is not None:
        return GitContext(git)
    if is_http(text):
        return HttpContext(text)
    return LocalContext(text)


def classify_named(text: str) -> NamedContextKind:
    """What the value of `--build-context name=value` is. Raises `ViaductError`."""
    scheme, colon, rest = text.partition("://")
    if colon and scheme == "docker-image":
        return ImageContext(rest)
    if colon and scheme == "oci-layout":
        path, _, digest = rest.partition("@")
        tag = ""
        if ":" in path.rpartition("/")[2]:
            path, _, tag = path.rpartition(":")
        return LayoutContext(path, tag, digest)
    kind = classify(text)
    if isinstance(kind, StdinContext):
        raise UsageError(
            "a named context cannot be read from standard input", hint="give a directory or a URL"
        )
    return kind


def is_http(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def context_name(name: str) -> str:
    """A named context's name in the form it is looked up by: `alpine`, not `alpine:latest`.

    Raises `UsageError`.
    """
    try:
        return references.parse(name).familiar.removesuffix(":latest")
    except ViaductError as error:
        raise UsageError(f"invalid context name {name}: {error.what}", hint=error.hint) from None


def context_keys(name: str, platform: Platform) -> tuple[str, str]:
    """The keys under which a named context may be given, the one for the platform first."""
    plain = context_name(name)
    return f"{plain}::{platforms.normalize(platform)}", plain
