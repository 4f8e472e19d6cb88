"""The documents of the OCI image specification 1.1 as immutable values.

Documents that were read from elsewhere are passed on as the bytes that were read; these views are
for looking inside, and for documents that we make ourselves. Fields the specification does not
know are dropped on decoding. Docker's schema 2 documents have the same shape.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec

from viaduct.base import decoding
from viaduct.base.errors import ContentError
from viaduct.oci import media
from viaduct.oci.digest import Digest
from viaduct.oci.platform import Platform, normalize

#: A digest whose grammar was checked on decoding, so that no document smuggles in a path.
CheckedDigest: TypeAlias = Annotated[
    Digest, msgspec.Meta(pattern=r"^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})\Z")
]
#: A size in bytes: not negative, and within the 64 bits the specification gives it.
Size: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class PlatformSpec(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The `platform` object of an index entry. Both names are required by the specification and
    still missing from some indexes; such an entry matches no platform."""

    architecture: str = ""
    os: str = ""
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: tuple[str, ...] = msgspec.field(default=(), name="os.features")
    variant: str = ""

    def value(self) -> Platform:
        return normalize(
            Platform(self.os, self.architecture, self.variant, self.os_version, self.os_features)
        )

    @classmethod
    def of(cls, platform: Platform) -> PlatformSpec:
        return cls(
            architecture=platform.architecture,
            os=platform.os,
            os_version=platform.os_version,
            os_features=platform.os_features,
            variant=platform.variant,
        )


class Descriptor(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A pointer to content: its type, digest and size in bytes."""

    media_type: str = msgspec.field(name="mediaType")
    digest: CheckedDigest
    size: Size
    urls: tuple[str, ...] = ()
    annotations: dict[str, str] = {}
    data: str = ""
    artifact_type: str = msgspec.field(default="", name="artifactType")
    platform: PlatformSpec | None = None


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An image manifest."""

    schema_version: int = msgspec.field(name="schemaVersion")
    media_type: str = msgspec.field(default="", name="mediaType")
    artifact_type: str = msgspec.field(default="", name="artifactType")
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    annotations: dict[str, str] = {}


class Index(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An image index (manifest list)."""

    schema_version: int = msgspec.field(name="schemaVersion")
    media_type: str = msgspec.field(default="", name="mediaType")
    artifact_type: str = msgspec.field(default="", name="artifactType")
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    annotations: dict[str, str] = {}


class Healthcheck(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Docker's health check; durations in nanoseconds."""

    test: tuple[str, ...] = msgspec.field(default=(), name="Test")
    interval: int = msgspec.field(default=0, name="Interval")
    timeout: int = msgspec.field(default=0, name="Timeout")
    start_period: int = msgspec.field(default=0, name="StartPeriod")
    start_interval: int = msgspec.field(default=0, name="StartInterval")
    retries: int = msgspec.field(default=0, name="Retries")


class RunConfig(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The `config` object of an image: how containers of it run. None means "not set".

    In the order in which Docker's tools write them, so that equal images have equal digests.
    """

    user: str = msgspec.field(default="", name="User")
    exposed_ports: dict[str, dict[str, Any]] = msgspec.field(
        default_factory=dict, name="ExposedPorts"
    )
    env: tuple[str, ...] = msgspec.field(default=(), name="Env")
    entrypoint: tuple[str, ...] | None = msgspec.field(default=None, name="Entrypoint")
    cmd: tuple[str, ...] | None = msgspec.field(default=None, name="Cmd")
    volumes: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict, name="Volumes")
    working_dir: str = msgspec.field(default="", name="WorkingDir")
    labels: dict[str, str] = msgspec.field(default_factory=dict, name="Labels")
    stop_signal: str = msgspec.field(default="", name="StopSignal")
    args_escaped: bool = msgspec.field(default=False, name="ArgsEscaped")
    healthcheck: Healthcheck | None = msgspec.field(default=None, name="Healthcheck")
    on_build: tuple[str, ...] | None = msgspec.field(default=None, name="OnBuild")
    shell: tuple[str, ...] | None = msgspec.field(default=None, name="Shell")


class RootFS(msgspec.Struct, frozen=True, kw_only=True):
    type: str = "layers"
    diff_ids: tuple[CheckedDigest, ...] = ()


class History(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line of an image's history; `created` is RFC 3339."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageConfig(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An image configuration document, its keys in BuildKit's order (alphabetical)."""

    architecture: str
    author: str = ""
    config: RunConfig = RunConfig()
    created: str = ""
    history: tuple[History, ...] = ()
    os: str
    os_features: tuple[str, ...] = msgspec.field(default=(), name="os.features")
    os_version: str = msgspec.field(default="", name="os.version")
    rootfs: RootFS = RootFS()
    variant: str = ""

    def platform(self) -> Platform:
        return normalize(Platform(self.os, self.architecture, self.variant, self.os_version))


T = TypeVar("T", Descriptor, Manifest, Index, ImageConfig)


def decode(data: bytes, kind: type[T], *, what: str = "document") -> T:
    """Read a document. Raises `ContentError` naming `what` and the JSON path that is wrong.

    Digests and sizes are checked. Go writes `null` for empty lists and maps; those are read as
    empty.
    """
    try:
        value = msgspec.json.decode(data)
        return decoding.from_plain(_without_nulls(value), kind)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise ContentError(f"{what} is malformed: {error}") from error


# In Go, a map of strings keeps a key whose value is null, and so do the sets that Docker writes
# as maps to empty objects; the required lists of a manifest are null when they are empty.
_NULL_IN = {"annotations": "", "Labels": "", "ExposedPorts": {}, "Volumes": {}}
_NULL_IS_EMPTY = ("layers", "manifests")


def _without_nulls(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        if name in _NULL_IN:
            return {key: _NULL_IN[name] if item is None else item for key, item in value.items()}
        return {
            key: [] if item is None else _without_nulls(item, key)
            for key, item in value.items()
            if item is not None or key in _NULL_IS_EMPTY
        }
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def encode(document: Manifest | Index | ImageConfig | Descriptor, *, indent: int = 0) -> bytes:
    """The bytes of a document of ours, indented by two spaces on request as BuildKit's are.

    They are what Go's encoder writes: maps sorted by key, and no character that HTML minds.
    """
    data = _ENCODER.encode(document)
    for character in _HTML:
        if character in data:
            data = data.replace(character, _HTML[character])
    return msgspec.json.format(data, indent=indent) if indent else data


_ENCODER = msgspec.json.Encoder(order="deterministic")
# In JSON these stand in strings only, where their escapes mean the same.
_HTML = {
    character.encode(): b"\\u%04x" % ord(character)
    for character in ("<", ">", "&", "\u2028", "\u2029")
}


def is_index(descriptor_or_type: Descriptor | str) -> bool:
    kind = (
        descriptor_or_type if isinstance(descriptor_or_type, str) else descriptor_or_type.media_type
    )
    return kind in media.INDEXES


def is_document(media_type: str) -> bool:
    """Whether this is the type of a manifest or index."""
    return media_type in media.INDEXES or media_type in media.MANIFESTS


def is_attestation(descriptor: Descriptor) -> bool:
    """Whether an index entry is about another image instead of being one: BuildKit's attestations,
    and anything else for the platform `unknown/unknown`."""
    if "vnd.docker.reference.type" in descriptor.annotations:
        return True
    spec = descriptor.platform
    return spec is not None and (spec.os, spec.architecture) == ("unknown", "unknown")


def sniff_media_type(data: bytes) -> str:
    """The media type of a manifest's bytes where nobody told it.

    Uses the `mediaType` field, else the fields that are present. Raises `ContentError`.
    """
    try:
        head = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ContentError(f"manifest is not JSON: {error}") from error
    if not isinstance(head, dict):
        raise ContentError("manifest is not a JSON object")
    if isinstance(kind := head.get("mediaType"), str) and kind:
        return kind
    if "manifests" in head:
        return media.OCI_INDEX
    if "config" in head:
        return media.OCI_MANIFEST
    raise ContentError("manifest names neither manifests nor a config")
