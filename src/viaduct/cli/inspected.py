"""`imagetools inspect`: what is printed about an image in a registry, given its documents."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from viaduct.base.values import Value
from viaduct.cli.terminal import visible
from viaduct.oci import models

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from viaduct.oci.digest import Digest
    from viaduct.oci.models import Descriptor


class Name(Protocol):
    """The complete spelling of an image's name, as `str`."""

    def with_digest(self, digest: Digest, /) -> object:
        """The name of another image at the same place."""


_WHOLE_MANIFEST = r"\s*{{\s*\.Manifest\s*}}\s*"


class Inspected(Value):
    """A manifest or index as it was fetched.

    `name` is what the user typed, `reference` its complete form; `descriptor` tells type, digest
    and size of `raw`. `configs` are the image configurations by platform (`linux/arm64`), needed
    only for `--format`; `sbom` and `provenance` are attestations by platform.
    """

    name: str
    reference: Name
    descriptor: Descriptor
    raw: bytes
    configs: Mapping[str, bytes] = msgspec.field(default_factory=dict)
    sbom: Mapping[str, Any] = msgspec.field(default_factory=dict)
    provenance: Mapping[str, Any] = msgspec.field(default_factory=dict)


def text(found: Inspected) -> str:
    """The default output: the peers' lines and spaces, byte for byte.

    Go's tabwriter pads the empty lines between blocks as well; scripts compare with that.
    """
    head = found.descriptor
    out = _aligned(
        [
            ("Name:", str(found.reference)),
            ("MediaType:", head.media_type),
            ("Digest:", str(head.digest)),
        ]
    )
    if models.is_index(head):
        out += _aligned([("", ""), ("Manifests:", "")])
        out += _entries(found)
    return out


def formatted(found: Inspected, template: str) -> str:
    """The output of `--format`, without a newline of its own. Raises `UsageError`."""
    if re.fullmatch(_WHOLE_MANIFEST, template):
        return text(found)
    # Most look at the text; templates are a language of their own to import.
    from viaduct.cli.inspected_format import render

    return render(found, template)


def _entries(found: Inspected) -> str:
    index = models.decode(found.raw, models.Index, what="image index")
    out, block = "", list[tuple[str, str]]()
    for number, entry in enumerate(index.manifests):
        if number:
            block.append(("", ""))
        block += [
            ("  Name:", str(found.reference.with_digest(entry.digest))),
            ("  MediaType:", entry.media_type),
        ]
        platform = entry.platform
        if platform is None:
            continue
        parts = (platform.os, platform.architecture, platform.variant)
        block.append(("  Platform:", "/".join(filter(None, parts))))
        if platform.os_version:
            block.append(("  OSVersion:", platform.os_version))
        if platform.os_features:
            block.append(("  OSFeatures:", ", ".join(platform.os_features)))
        if entry.urls:
            block.append(("  URLs:", ", ".join(entry.urls)))
        if entry.annotations:
            out += _aligned([*block, ("  Annotations:", "")])
            out += _aligned(
                (f"    {key}:", value) for key, value in sorted(entry.annotations.items())
            )
            block = []
    return out + _aligned(block)


def _aligned(rows: Iterable[tuple[str, str]]) -> str:
    """Two columns, the first as wide as its widest cell and one space. What a registry tells does
    not drive the terminal."""
    rows = [(visible(left), visible(right)) for left, right in rows]
    width = max((len(left) for left, _ in rows), default=0) + 1
    return "".join(f"{left:<{width}}{right}\n" for left, right in rows)


def probable_cause(found: Inspected) -> str:
    """What to tell someone who expected several platforms and finds one; empty otherwise."""
    if models.is_index(found.descriptor):
        index = models.decode(found.raw, models.Index, what="image index")
        images = [entry for entry in index.manifests if not models.is_attestation(entry)]
        if len(images) != 1:
            return ""
    from viaduct.engine.audit.judge import ONE_PLATFORM

    return ONE_PLATFORM
