"""Cache keys: pure arithmetic over digests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.graph.node import canonical
from viaduct.oci import digest as digests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viaduct.oci.digest import Digest

# Part of every key: a change to what keys mean must not find results made under the old meaning.
_GENERATION = "viaduct/1"


def combine(definition: Digest, inputs: Sequence[tuple[str, int]]) -> str:
    """The key of an op with this definition whose inputs have these (key, output index) pairs."""
    return digests.of(canonical((_GENERATION, definition, inputs)))


def content(digest: Digest) -> str:
    """The stand-in for an input's key when the input counts by content."""
    return f"content:{digest}"
