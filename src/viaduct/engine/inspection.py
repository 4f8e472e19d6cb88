"""Looking into an image where it is: its documents, configurations and attestations."""

from __future__ import annotations

import base64
import binascii
import threading
from typing import TYPE_CHECKING, Any

import msgspec

from viaduct.base import decoding
from viaduct.base.errors import ContentError
from viaduct.base.tasks import Nursery
from viaduct.base.values import Mutable
from viaduct.oci import digest as digests
from viaduct.oci import models

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from viaduct.base.tasks import Stop
    from viaduct.engine.places import Place
    from viaduct.oci.digest import Digest
    from viaduct.oci.models import Descriptor, Manifest, PlatformSpec
    from viaduct.registry.documents import RawManifest

_STREAMS = 8
_DEEPEST = 8
_BLOB_LIMIT = 64 << 20

_MALFORMED = (
    msgspec.DecodeError,
    binascii.Error,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
)

_SUBJECTS = ("com.docker.reference.digest", "vnd.docker.reference.digest")
_PREDICATE = "in-toto.io/predicate-type"
_STATEMENT = "application/vnd.in-toto+json"
_SPDX = "https://spdx.dev/Document"
_SLSA = "https://slsa.dev/provenance/"


class Inspection(Mutable):
    """What was found. `configs` and `subjects` (manifest digests) are by platform, `proofs` are
    the attestation manifests by the digest of what they are about."""

    place: Place
    configs: dict[str, bytes] = msgspec.field(default_factory=dict)
    subjects: dict[str, Digest] = msgspec.field(default_factory=dict)
    proofs: dict[Digest, list[Manifest]] = msgspec.field(default_factory=dict)
    #: Indexes that were looked into; a few that name each other often would take for ever.
    entered: set[Digest] = msgspec.field(default_factory=set)
    lock: threading.Lock = msgspec.field(default_factory=threading.Lock)

    def sboms(self) -> dict[str, dict[str, Any]]:
        """Per platform `{"SPDX": …, "AdditionalSPDXs": […]}`, where there is any."""
        out = {}
        for platform, found in self._predicates(lambda kind: kind == _SPDX):
            more = {"AdditionalSPDXs": found[1:]} if found[1:] else {}
            out[platform] = {"SPDX": found[0], **more}
        return out

    def provenances(self) -> dict[str, dict[str, Any]]:
        """Per platform `{"SLSA": …}`, where there is any."""
        found = self._predicates(lambda kind: kind.startswith(_SLSA))
        return {platform: {"SLSA": predicates[-1]} for platform, predicates in found}

    def _predicates(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, list[Any]]]:
        for platform, digest in self.subjects.items():
            layers = [
                layer
                for manifest in self.proofs.get(digest, ())
                for layer in manifest.layers
                if _is_statement(layer) and wanted(layer.annotations.get(_PREDICATE, ""))
            ]
            if layers:
                yield platform, [_predicate(self.place, layer) for layer in layers]


def inspect(place: Place, document: RawManifest, stop: Stop) -> Inspection:
    """Look at the manifests and configurations below the `document` that `place` names.

    Raises what registries and layouts raise, and `Canceled`.
    """
    found = Inspection(place)
    with Nursery(_STREAMS, stop=stop, name="inspect") as todo:
        todo.start(_visit, found, document.descriptor, todo, 0, document)
    return found


def _visit(
    found: Inspection,
    entry: Descriptor,
    todo: Nursery,
    depth: int,
    document: RawManifest | None = None,
) -> None:
    if depth > _DEEPEST:
        raise ContentError(f"{found.place}: indexes are nested too deeply")
    if not models.is_document(entry.media_type):
        return
    if models.is_index(entry):
        with found.lock:
            if entry.digest in found.entered:
                return
            found.entered.add(entry.digest)
    data = (document or found.place.with_digest(entry.digest).document()).data
    if models.is_index(entry):
        for child in models.decode(data, models.Index, what=str(found.place)).manifests:
            todo.start(_visit, found, child, todo, depth + 1)
        return
    manifest = models.decode(data, models.Manifest, what=f"manifest {entry.digest}")
    about = next((entry.annotations[key] for key in _SUBJECTS if key in entry.annotations), None)
    if about is not None:
        with found.lock:
            found.proofs.setdefault(digests.parse(about), []).append(manifest)
    elif not models.is_attestation(entry):
        config = _read(found.place, manifest.config)
        platform = _platform(entry.platform, config)
        with found.lock:
            found.configs[platform] = config
            found.subjects[platform] = entry.digest


def _platform(told: PlatformSpec | None, config: bytes) -> str:
    """What an index says, or else the configuration; empty for what is no image."""
    try:
        spec = told or decoding.from_json(config, models.PlatformSpec)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return ""
    return str(spec.value())


def _is_statement(layer: Descriptor) -> bool:
    return layer.media_type == _STATEMENT or _is_signed(layer.media_type)


def _is_signed(media_type: str) -> bool:
    return media_type.startswith("application/vnd.in-toto.") and media_type.endswith("+dsse")


def _predicate(place: Place, layer: Descriptor) -> Any:
    data = _read(place, layer)
    try:
        value = msgspec.json.decode(data)
        if _is_signed(layer.media_type):
            value = msgspec.json.decode(base64.b64decode(value["payload"]))
        # Sorted, as Go shows what it has no struct for.
        return msgspec.json.decode(msgspec.json.encode(value.get("predicate"), order="sorted"))
    except _MALFORMED as error:
        raise ContentError(f"attestation {layer.digest} of {place} is malformed") from error


def _read(place: Place, descriptor: Descriptor) -> bytes:
    if descriptor.size > _BLOB_LIMIT:
        raise ContentError(f"{descriptor.digest} of {place} is too large to be shown")
    with place.blob(descriptor) as stream:
        data = stream.read(descriptor.size + 1)
    if digests.of(data, digests.algorithm(descriptor.digest)) != descriptor.digest:
        raise ContentError(f"{descriptor.digest} of {place} is damaged")
    return data
