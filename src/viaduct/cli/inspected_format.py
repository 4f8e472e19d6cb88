"""`imagetools inspect --format`: an image in a registry as templates see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from viaduct.base.errors import ContentError
from viaduct.cli.gotemplate.template import Template
from viaduct.cli.gotemplate.values import NO_VALUE, Record, Zeroed
from viaduct.cli.shapes import DESCRIPTOR, IMAGE, INDEX, Field, Shape, record
from viaduct.oci import models

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viaduct.cli.inspected import Inspected


def render(found: Inspected, template: str) -> str:
    """The template's output. Raises `UsageError` for a template that makes no sense, `ContentError`
    for documents that are none, or are nested too deeply."""
    try:
        return _rendered(found, template)
    except RecursionError:
        raise ContentError(f"the documents of {found.name} are nested too deeply") from None


def _rendered(found: Inspected, template: str) -> str:
    several = len(found.configs) > 1
    images = {
        platform: record(_json(config, "image configuration"), IMAGE)
        for platform, config in sorted(found.configs.items())
    }
    image: Any = images if several else next(iter(images.values()), None)
    shown = {"Name": found.name, "Manifest": _manifest(found), "Image": image}
    document = {name.lower(): value for name, value in shown.items() if value}
    fields = shown | {
        "SBOM": _attestations(found.sbom, _SBOM, several=several),
        "Provenance": _attestations(found.provenance, _PROVENANCE, several=several),
    }
    kind = "imagetools.tplInputs" if several else "imagetools.tplInput"
    return Template(template, indent_json=True).render(Record(kind, fields, document))


def _manifest(found: Inspected) -> Record:
    own = msgspec.to_builtins(found.descriptor)
    if not models.is_index(found.descriptor):
        return record(own, DESCRIPTOR)
    index = _json(found.raw, "image index")
    return record(index | {"digest": own["digest"], "size": own["size"]}, INDEX)


# As Go has them: structs of anything, with keys that are left out when empty.
_SBOM = Shape(
    "imagetools.sbomStub",
    {"SPDX": Field("SPDX", NO_VALUE), "AdditionalSPDXs": Field("AdditionalSPDXs", [])},
)
_PROVENANCE = Shape("imagetools.provenanceStub", {"SLSA": Field("SLSA", NO_VALUE)})


def _attestations(found: Mapping[str, Any], shape: Shape, *, several: bool) -> Any:
    """By platform where there are several, each as a record; of one, that or the empty record."""
    records = {platform: record(document, shape) for platform, document in found.items()}
    if several:
        return Zeroed(records, record({}, shape))
    return next(iter(records.values()), record({}, shape))


def _json(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise ContentError(f"{what} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ContentError(f"{what} is not a JSON object")
    return value
