"""Image references: `[registry/]repository[:tag][@digest]`, read as Docker reads them.

The grammar is that of the distribution project; short names are completed with `docker.io` and
`library/`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from viaduct.base.errors import ContentError, UsageError
from viaduct.base.values import Value
from viaduct.oci import digest as digests

if TYPE_CHECKING:
    from viaduct.oci.digest import Digest

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_PATH = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
_TAG = re.compile(r"[\w][\w.-]{0,127}", re.ASCII)

_IDENTIFIER = re.compile(r"[0-9a-f]{64}")

DOCKER_HUB = "docker.io"
#: Begins the name of an image in an OCI layout on disk, where others are in a registry.
LAYOUT_SCHEME = "oci-layout://"


class Reference(Value):
    """A parsed reference; `domain` and `path` are complete, `tag` and `digest` may be absent."""

    domain: str
    path: str
    tag: str = ""
    digest: Digest | None = None

    def __str__(self) -> str:
        """The complete spelling, `docker.io/library/…` included."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}" + (f"@{self.digest}" if self.digest else "")

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar(self) -> str:
        """The spelling people use: without `docker.io/` and `library/`."""
        text = str(self)
        if self.domain == DOCKER_HUB:
            text = text.removeprefix(f"{DOCKER_HUB}/")
            if self.path.startswith("library/") and self.path.count("/") == 1:
                text = text.removeprefix("library/")
        return text

    def with_default_tag(self) -> Reference:
        """`latest` where neither a tag nor a digest is named."""
        return self if self.tag or self.digest else replace(self, tag="latest")

    def with_digest(self, digest: Digest) -> Reference:
        return replace(self, digest=digest)


def parse(text: str) -> Reference:
    """Read a reference. Raises `UsageError` with what is wrong about it."""
    if _IDENTIFIER.fullmatch(text):
        raise _invalid(text, "64 hex digits are an image ID, not a repository")
    rest, at, digest_text = text.partition("@")
    digest = None
    if at:
        try:
            digest = digests.parse(digest_text)
        except ContentError as error:
            raise _invalid(text, "the digest is malformed") from error
    tag = ""
    last = rest.rpartition("/")[2]
    if ":" in last:
        rest, _, tag = rest.rpartition(":")
        if not is_tag(tag):
            raise _invalid(text, f"{tag!r} is not a tag")
    first, slash, remainder = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        domain, path = first, remainder
    else:
        domain, path = DOCKER_HUB, rest
    if domain == "index.docker.io":
        domain = DOCKER_HUB
    if domain == DOCKER_HUB and path and "/" not in path:
        path = f"library/{path}"
    if not _DOMAIN.fullmatch(domain):
        raise _invalid(text, f"{domain!r} is not a registry")
    if path != path.lower():
        raise _invalid(text, "the repository name must be lowercase")
    if not _PATH.fullmatch(path):
        raise _invalid(text, "it does not name a repository")
    if len(path) > 255:
        raise _invalid(text, "the repository name is longer than 255 characters")
    return Reference(domain, path, tag, digest)


def is_repository(path: str) -> bool:
    """Whether `path` is the name of a repository (so it has no `..`, no empty part)."""
    return len(path) <= 255 and _PATH.fullmatch(path) is not None


def is_tag(text: str) -> bool:
    return _TAG.fullmatch(text) is not None


def _invalid(text: str, why: str) -> UsageError:
    return UsageError(
        f"invalid reference {text[:300]!r}: {why}", hint="write it as registry/repository:tag"
    )
