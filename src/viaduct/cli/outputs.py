"""`--output`: the specifications of `docker buildx build -o`, read into `Output` values."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from viaduct.base.errors import UsageError
from viaduct.cli import csvline
from viaduct.cli.pflag import suggestion
from viaduct.engine.request import STDIO, Annotation, Output
from viaduct.oci import platform as platforms
from viaduct.oci import reference as references

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_IMAGES = ("image", "oci", "docker")
_KINDS = ("registry", *_IMAGES, "local", "tar", "cacheonly")
_LEVELS = ("manifest", "manifest-descriptor", "index", "index-descriptor")
_ANNOTATION = re.compile(r"annotation(?:-([a-z-]+))?(?:\[([A-Za-z0-9_/-]+)\])?\.(\S+)")
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))

# Keys per kind, and the field of Output that a key sets. A key without a field is accepted because
# scripts carry it, and asks for something that makes no difference here.
_BOOLEANS = {
    "push": "push",
    "push-by-digest": "push_by_digest",
    "name-canonical": "name_canonical",
    "registry.insecure": "insecure",
    "store": "store",
    "unpack": "",
    "oci-mediatypes": "oci_mediatypes",
    "oci-artifact": "",
    "attestation-inline": "",
    "force-compression": "force_compression",
    "rewrite-timestamp": "rewrite_timestamp",
    "prefer-nondist-layers": "",
    "danging-name-empty-only": "",
    "tar": "tar",
    "platform-split": "platform_split",
}
_IMAGE_KEYS = frozenset(
    "name oci-mediatypes oci-artifact attestation-inline compression compression-level "
    "force-compression rewrite-timestamp source-date-epoch prefer-nondist-layers buildinfo-attrs "
    "compatibility-version".split()
)
_KEYS = {
    "image": _IMAGE_KEYS
    | frozenset(
        "push push-by-digest name-canonical registry.insecure store unpack dangling-name-prefix "
        "danging-name-empty-only".split()
    ),
    "oci": _IMAGE_KEYS | {"tar"},
    "docker": _IMAGE_KEYS | {"tar", "context"},
    "local": frozenset(("platform-split", "attestation-prefix", "mode", "source-date-epoch")),
    "tar": frozenset(("platform-split", "attestation-prefix", "source-date-epoch")),
    "cacheonly": frozenset[str](),
}
_WORDS = frozenset(("type", "dest")).union(*_KEYS.values())


def parse(values: Iterable[str], *, stdout_is_terminal: bool = False) -> tuple[Output, ...]:
    """Outputs from the values of `--output`. Raises `UsageError` in the words of the peers.

    Nothing binary is written to a terminal; so an archive needs a file then.
    """
    made = tuple(_parse_one(value) for value in values if value)
    for output in made:
        _check_destination(output, stdout_is_terminal=stdout_is_terminal)
    if sum(output.dest == STDIO for output in made) > 1:
        raise UsageError("multiple outputs configured to write to stdout")
    return made


def with_push(outputs: Sequence[Output]) -> tuple[Output, ...]:
    """`--push`: every image output pushes; without one, one is added."""
    if any(output.kind == "image" for output in outputs):
        return tuple(replace(o, push=True) if o.kind == "image" else o for o in outputs)
    return (*outputs, Output("image", push=True))


def with_load(outputs: Sequence[Output]) -> tuple[Output, ...]:
    """`--load`: the image goes into the Docker engine or our own store."""
    if any(output.load for output in outputs):
        return tuple(outputs)
    return (*outputs, Output("image", load=True))


def with_names(outputs: Sequence[Output], tags: Sequence[str]) -> tuple[Output, ...]:
    """Give the image outputs their references: the tags where there are any, else their own names.

    Raises `UsageError` for a malformed tag, for a push without any, and for pushing a tag by
    digest.
    """
    complete = tuple(dict.fromkeys(complete_tag(tag) for tag in tags))
    named = []
    for output in outputs:
        if output.kind not in _IMAGES:
            named.append(output)
            continue
        names = complete if tags else tuple(complete_tag(name) for name in output.names)
        if output.push and not names:
            raise UsageError(
                "tag is needed when pushing to registry",
                hint="name the image: --tag registry/repository:tag",
            )
        if output.push_by_digest:
            names = tuple(_untagged(name) for name in tags or output.names)
        named.append(replace(output, names=names))
    return tuple(named)


def check_deletes(outputs: Iterable[Output]) -> None:
    """Raises `UsageError` for an output that would remove files elsewhere than below the current
    directory."""
    here = os.path.realpath(".")
    for output in outputs:
        if not output.delete:
            continue
        below = os.path.realpath(output.dest).startswith(here.rstrip("/") + "/")
        if not below:
            raise UsageError(
                f'local output mode=delete for destination "{output.dest}" requires '
                "--allow=buildx.local.delete",
                hint="files there that are not in the result would be removed",
            )


def complete_tag(tag: str) -> str:
    """The complete spelling of a tag as a person gave it, `latest` where none is named."""
    try:
        return str(references.parse(tag).with_default_tag())
    except UsageError as error:
        raise UsageError(
            f'invalid tag "{tag}": invalid reference format', hint=_why(error)
        ) from error


def _why(error: UsageError) -> str:
    return f"{error.what.rpartition(': ')[2]}; {error.hint}"


def _untagged(name: str) -> str:
    reference = references.parse(name)
    if reference.tag:
        raise UsageError(
            f"can't push tagged ref {reference} by digest",
            hint=f"name the repository only: {reference.name}",
        )
    return str(reference)


def _parse_one(value: str) -> Output:
    parts = csvline.fields(value)
    # The peers take `dest=x` for a directory of that very name; it is a forgotten type.
    if parts == [value] and value.partition("=")[0] not in _WORDS:
        return Output("tar", dest=STDIO) if value == STDIO else Output("local", dest=value)
    kind, dest = "", ""
    attributes: dict[str, str] = {}
    for part in parts:
        name, equals, text = part.partition("=")
        if not equals:
            raise UsageError(f"invalid value {part}", hint="write the output as key=value,…")
        key = name.strip().lower()
        if key == "type":
            kind = text
        elif key == "dest":
            dest = text
        else:
            attributes[key] = text
    if not kind:
        raise UsageError("type is required for output", hint=f"one of {', '.join(_KINDS)}")
    if kind not in _KINDS:
        raise UsageError(
            f'exporter "{kind}" could not be found',
            hint=suggestion(kind, _KINDS) or f"one of {', '.join(_KINDS)}",
        )
    if kind == "registry":
        kind = "image"
        attributes["push"] = "true"
    if not dest and kind in ("oci", "tar") and attributes.get("tar", "true") in _TRUE:
        dest = STDIO
    made = _with_attributes(Output(kind, dest=dest), attributes)
    return replace(made, load=True) if kind == "docker" and made.tar and not dest else made


def _with_attributes(output: Output, attributes: Mapping[str, str]) -> Output:
    annotations: list[Annotation] = []
    for key, text in attributes.items():
        if output.kind in _IMAGES and (found := _ANNOTATION.fullmatch(key)):
            annotations.append(_annotation(found, text))
        elif key not in _KEYS[output.kind]:
            known = sorted(_KEYS[output.kind])
            raise UsageError(
                f"unknown key '{key}' for {output.kind} exporter",
                hint=suggestion(key, known) or f"it knows {', '.join(known) or 'no keys'}",
            )
        else:
            output = _with_attribute(output, key, text)
    output = replace(output, annotations=tuple(annotations))
    if output.compression == "zstd" and not output.oci_mediatypes:
        raise UsageError(
            f'exporter option "compression={output.compression}" conflicts with '
            '"oci-mediatypes=false"'
        )
    if annotations and not output.oci_mediatypes:
        raise UsageError('cannot export annotations with "oci-mediatypes=false"')
    if attributes.get("oci-artifact") in _TRUE and not output.oci_mediatypes:
        raise UsageError(
            'exporter option "oci-artifact=true" conflicts with "oci-mediatypes=false"'
        )
    if attributes.get("unpack") in _TRUE and output.rewrite_timestamp:
        raise UsageError('exporter option "rewrite-timestamp" conflicts with "unpack"')
    _check_level(output)
    return output


def _with_attribute(output: Output, key: str, text: str) -> Output:
    if key in _BOOLEANS:
        field = _BOOLEANS[key]
        change: dict[str, Any] = {field: _boolean(key, text)} if field else {}
        return replace(output, **change)
    match key:
        case "name":
            return replace(output, names=tuple(filter(None, text.split(","))))
        case "compression":
            if text not in ("gzip", "zstd", "uncompressed"):
                raise UsageError(
                    f"unsupported compression type {text}", hint="use gzip, zstd or uncompressed"
                )
            return replace(output, compression=text)
        case "compression-level":
            return replace(output, compression_level=_integer(key, text))
        case "source-date-epoch":
            return replace(output, epoch=_integer(key, text))
        case "mode" if text == "delete":
            return replace(output, delete=True)
        case "mode" if text not in ("", "copy"):
            raise UsageError(
                f'invalid local exporter mode "{text}"', hint="use mode=copy or mode=delete"
            )
        case _:
            return output


def _annotation(found: re.Match[str], value: str) -> Annotation:
    level, platform, key = found[1] or "manifest", found[2], found[3]
    if level not in _LEVELS:
        raise UsageError(
            f"unrecognized annotation type {level}", hint=f"one of {', '.join(_LEVELS)}"
        )
    return Annotation(key, value, level, platforms.parse(platform) if platform else None)


def _boolean(key: str, text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise UsageError(f"non-bool value specified for {key}: {text!r}", hint="use true or false")


def _integer(key: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"non-integer value {text!r} specified for {key}") from None


def _check_level(output: Output) -> None:
    """Levels as the compressors know them: gzip 0 to 9, zstd 0 to 22."""
    level, most = output.compression_level, 22 if output.compression == "zstd" else 9
    if level is not None and not 0 <= level <= most:
        raise UsageError(
            f"compression-level {level} is out of range for {output.compression}",
            hint=f"choose 0 to {most}",
        )


def _check_destination(output: Output, *, stdout_is_terminal: bool) -> None:
    kind, dest = output.kind, output.dest
    archive = kind in ("oci", "docker")
    if kind == "local" or (archive and not output.tar):
        if not dest:
            raise UsageError(
                f"dest is required for {kind} exporter", hint=f"-o type={kind},dest=DIRECTORY"
            )
        if dest == STDIO:
            raise UsageError(f"dest cannot be stdout for {kind} exporter")
        if os.path.exists(dest) and not os.path.isdir(dest):
            raise UsageError(f"destination directory {dest} is a file")
    elif kind == "tar" or archive:
        if dest == STDIO and stdout_is_terminal:
            raise UsageError(
                f"dest file is required for {kind} exporter. refusing to write to console",
                hint=f"-o type={kind},dest=FILE",
            )
        if os.path.isdir(dest):
            raise UsageError(f"destination file {dest} is a directory")
