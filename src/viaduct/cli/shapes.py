"""OCI documents as templates see them: records with Go's field names, in Go's order.

`{{.Manifest.Digest}}` and `{{json .Manifest}}` were written against the Go structs of the image
specification; a shape maps each of their fields to the key in the JSON document.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from viaduct.cli.gotemplate.values import Record, Time


class Field(NamedTuple):
    """One field: its key in JSON, its zero value, the shape of what it holds (of each item, for a
    list), whether the key is written when the value is zero, and whether it is a moment."""

    key: str
    zero: Any = ""
    shape: Shape | None = None
    always: bool = False
    time: bool = False


class Shape(NamedTuple):
    """A struct: its Go type's name, and its fields by their Go names in order."""

    type_name: str
    fields: dict[str, Field]


Document: TypeAlias = dict[str, Any]


def record(document: Document | None, shape: Shape) -> Record:
    """The document as a record. Keys that the shape does not know are left out."""
    document = document or {}
    fields: dict[str, Any] = {}
    out: Document = {}
    for name, field in shape.fields.items():
        value = document.get(field.key)
        if value is None:
            value = field.zero
        if field.shape is not None:
            value = _held(value, field.shape)
        elif field.time and isinstance(value, str):
            value = Time(value)
        fields[name] = value
        if field.always or field.key in document:
            zero = not isinstance(value, Record) and value in ("", 0, None, [], {}, False)
            if field.always or not zero:
                out[field.key] = value
    return Record(shape.type_name, fields, out)


def _held(value: Any, shape: Shape) -> Any:
    if isinstance(value, list):
        return [record(item, shape) for item in value]
    if isinstance(value, dict):
        return record(value, shape)
    return value


PLATFORM = Shape(
    "v1.Platform",
    {
        "Architecture": Field("architecture", always=True),
        "OS": Field("os", always=True),
        "OSVersion": Field("os.version"),
        "OSFeatures": Field("os.features", []),
        "Variant": Field("variant"),
    },
)

DESCRIPTOR = Shape(
    "v1.Descriptor",
    {
        "MediaType": Field("mediaType", always=True),
        "Digest": Field("digest", always=True),
        "Size": Field("size", 0, always=True),
        "URLs": Field("urls", []),
        "Annotations": Field("annotations", {}),
        "Data": Field("data"),
        "Platform": Field("platform", None, PLATFORM),
        "ArtifactType": Field("artifactType"),
    },
)

#: An index together with its own digest and size.
INDEX = Shape(
    "imagetools.manifest",
    {
        "SchemaVersion": Field("schemaVersion", 0, always=True),
        "MediaType": Field("mediaType"),
        "Digest": Field("digest", always=True),
        "Size": Field("size", 0, always=True),
        "Manifests": Field("manifests", [], DESCRIPTOR, always=True),
        "Annotations": Field("annotations", {}),
    },
)

HEALTHCHECK = Shape(
    "v1.HealthcheckConfig",
    {
        "Test": Field("Test", []),
        "Interval": Field("Interval", 0),
        "Timeout": Field("Timeout", 0),
        "StartPeriod": Field("StartPeriod", 0),
        "StartInterval": Field("StartInterval", 0),
        "Retries": Field("Retries", 0),
    },
)

CONFIG = Shape(
    "v1.ImageConfig",
    {
        "User": Field("User"),
        "ExposedPorts": Field("ExposedPorts", {}),
        "Env": Field("Env", []),
        "Entrypoint": Field("Entrypoint", []),
        "Cmd": Field("Cmd", []),
        "Volumes": Field("Volumes", {}),
        "WorkingDir": Field("WorkingDir"),
        "Labels": Field("Labels", {}),
        "StopSignal": Field("StopSignal"),
        "ArgsEscaped": Field("ArgsEscaped", zero=False),
        "Healthcheck": Field("Healthcheck", None, HEALTHCHECK),
        "OnBuild": Field("OnBuild", []),
        "Shell": Field("Shell", []),
    },
)

ROOTFS = Shape(
    "v1.RootFS",
    {"Type": Field("type", always=True), "DiffIDs": Field("diff_ids", [], always=True)},
)

HISTORY = Shape(
    "v1.History",
    {
        "Created": Field("created", None, time=True),
        "CreatedBy": Field("created_by"),
        "Author": Field("author"),
        "Comment": Field("comment"),
        "EmptyLayer": Field("empty_layer", zero=False),
    },
)

IMAGE = Shape(
    "v1.Image",
    {
        "Created": Field("created", None, time=True),
        "Author": Field("author"),
        "Architecture": Field("architecture", always=True),
        "OS": Field("os", always=True),
        "OSVersion": Field("os.version"),
        "OSFeatures": Field("os.features", []),
        "Variant": Field("variant"),
        "Config": Field("config", {}, CONFIG, always=True),
        "RootFS": Field("rootfs", {}, ROOTFS, always=True),
        "History": Field("history", [], HISTORY),
    },
)
