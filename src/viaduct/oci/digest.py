"""Content digests (OCI image specification, "Digests")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NewType

from viaduct.base.errors import ContentError

if TYPE_CHECKING:
    import hashlib

#: `algorithm:hex`, checked once by `parse` and trusted from then on.
Digest = NewType("Digest", str)

_REGISTERED = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")

EMPTY_JSON = Digest("sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")


def parse(text: str) -> Digest:
    """Check the grammar of a digest. Raises `ContentError`; so no digest can be a path."""
    if not _REGISTERED.fullmatch(text):
        raise ContentError(
            f"invalid digest {text[:100]!r}", hint="expected sha256: and 64 hex digits"
        )
    return Digest(text)


def algorithm(digest: Digest) -> str:
    return digest.partition(":")[0]


def encoded(digest: Digest) -> str:
    """The hex part."""
    return digest.partition(":")[2]


def of(data: bytes, kind: str = "sha256") -> Digest:
    """The digest of `data` by the algorithm `kind`."""
    import hashlib

    return Digest(f"{kind}:{hashlib.new(kind, data).hexdigest()}")


def from_hash(hasher: hashlib._Hash) -> Digest:
    return Digest(f"{hasher.name}:{hasher.hexdigest()}")


def chain(parent: Digest | None, diff_id: Digest) -> Digest:
    """ChainID of a layer on top of `parent` (OCI image specification, "Layer ChainID")."""
    return diff_id if parent is None else of(f"{parent} {diff_id}".encode())
