"""`RUN --mount=…` and `--device=…`: comma-separated options as values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from viaduct.base import decoding
from viaduct.base.errors import DockerfileError
from viaduct.dockerfile import gotext
from viaduct.dockerfile.gotext import quote
from viaduct.dockerfile.suggest import with_suggestion

if TYPE_CHECKING:
    from collections.abc import Callable

TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
SHARING = ("shared", "private", "locked")
_KEYS = tuple(
    "type from source target readonly id sharing required size mode uid gid src dst destination ro "
    "rw readwrite env".split()
)
_ALIASES = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "ro": "readonly",
    "rw": "readwrite",
}
_MAY_BE_REQUIRED = ("secret", "ssh")
_HAS_MODE = ("secret", "ssh", "cache")


class MountOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one mount. None: not given. `origin` is the value of `from`."""

    type: str = "bind"
    origin: str = ""
    source: str = ""
    target: str = ""
    readonly: bool = True
    size: int = 0
    id: str = ""
    sharing: str = ""
    required: bool = False
    env: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


class Device(msgspec.Struct, frozen=True):
    """A CDI device."""

    name: str
    required: bool = False


def csv_fields(text: str) -> list[str]:
    """The fields of one CSV line. Raises ValueError with Go's words."""
    text = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    if not text:
        raise ValueError("EOF")
    fields: list[str] = []
    at = 0
    while True:
        if not text.startswith('"', at):
            comma = text.find(",", at)
            field = text[at:] if comma < 0 else text[at:comma]
            if '"' in field:
                raise _csv_error(text, at + field.index('"'), 'bare " in non-quoted-field')
            fields.append(field)
            if comma < 0:
                return fields
            at = comma + 1
            continue
        field, at = _quoted_field(text, at + 1)
        fields.append(field)
        if at == len(text):
            return fields
        at += 1


def _quoted_field(text: str, at: int) -> tuple[str, int]:
    out: list[str] = []
    while True:
        end = text.find('"', at)
        if end < 0:
            raise _csv_error(text, at, 'extraneous or missing " in quoted-field')
        out.append(text[at:end])
        following = text[end + 1 : end + 2]
        if following in ("", ","):
            return "".join(out), end + 1
        if following != '"':
            raise _csv_error(text, end, 'extraneous or missing " in quoted-field')
        out.append('"')
        at = end + 2


def _csv_error(text: str, at: int, why: str) -> ValueError:
    column = len(text[:at].encode()) + 1
    return ValueError(f"parse error on line 1, column {column}: {why}")


def check_mount(text: str) -> None:
    """What can be said before variables are known. Raises `DockerfileError`."""
    for field in _fields(text, "mounts"):
        key, equals, value = field.partition("=")
        at = value.find("$")
        if equals and key.lower() == "from" and 0 <= at < len(value) - 1:
            raise DockerfileError(
                "'from' doesn't support variable expansion, define alias stage instead"
            )


def origin_of(text: str) -> str:
    """The value of `from`, which needs no expansion; empty when there is none."""
    origin = ""
    for field in _fields(text, "mounts"):
        key, _, value = field.partition("=")
        if key.lower() == "from":
            origin = value
    return origin


def read_mount(text: str, expand: Callable[[str], str]) -> MountOptions:
    """The options with variables expanded in their values. Raises `DockerfileError`."""
    values: dict[str, object] = {}
    kind = "bind"
    readonly: bool | None = None
    for field in _fields(text, "mounts"):
        key, equals, value = field.partition("=")
        spelled = key.lower()
        key = _ALIASES.get(spelled, spelled)
        if not equals:
            if key not in ("readonly", "readwrite", "required"):
                raise DockerfileError(f"invalid field '{field}' must be a key=value pair")
            value = "true"
        else:
            value = expand(value)
        if key == "type":
            kind = _one_of(value, TYPES, f"unsupported mount type {quote(value)}")
        elif key in ("readonly", "readwrite"):
            readonly = _bool(spelled, value) == (key == "readonly")
        elif key == "required":
            _needs(kind in _MAY_BE_REQUIRED, spelled, kind)
            values[key] = _bool(spelled, value)
        elif key == "size":
            _needs(kind == "tmpfs", spelled, kind)
            values[key] = _size(value)
        elif key == "sharing":
            values[key] = _one_of(value, SHARING, f"unsupported sharing value {quote(value)}")
        elif key in ("mode", "uid", "gid"):
            values[key] = _number(key, value)
        elif key in ("source", "target", "id", "env"):
            values[key] = value
        elif key == "from":
            values["origin"] = value
        else:
            message = f"unexpected key '{spelled}' in '{field}'"
            raise DockerfileError(with_suggestion(message, spelled, _KEYS))
    if readonly is None:
        readonly = kind not in ("cache", "tmpfs")
    mount = decoding.from_plain({**values, "type": kind, "readonly": readonly}, MountOptions)
    _check_together(mount)
    return mount


def _check_together(mount: MountOptions) -> None:
    kind = mount.type
    if kind not in _HAS_MODE:
        for name, value in (("mode", mount.mode), ("uid", mount.uid), ("gid", mount.gid)):
            if value is not None:
                raise DockerfileError(f"{name} not allowed for {quote(kind)} type mounts")
    if kind == "secret":
        if mount.origin:
            raise DockerfileError("secret mount should not have a from")
        if mount.sharing:
            raise DockerfileError("secret mount should not define sharing")
        if not (mount.source or mount.target or mount.id):
            raise DockerfileError("invalid secret mount. one of source, target required")
        if mount.source and mount.id:
            raise DockerfileError("both source and id can't be set")
    if mount.sharing and kind != "cache":
        raise DockerfileError(f"invalid cache sharing set for {kind} mount")


def check_device(text: str) -> Device:
    """A device option as a value. Raises `DockerfileError`."""
    name, required = "", False
    for field in _fields(text, "devices"):
        key, equals, value = field.partition("=")
        key = key.lower()
        if not equals:
            if key == "required":
                required = True
            elif name:
                raise DockerfileError(f"invalid field '{field}' must be a key=value pair")
            else:
                name = field
        elif key == "name":
            if name:
                raise DockerfileError(f"device name already set to {name}")
            name = value
        elif key == "required":
            required = _bool(key, value)
        elif name:
            message = f"unexpected key '{key}' in '{field}'"
            raise DockerfileError(with_suggestion(message, key, ("name", "required")))
        else:
            name = field
    return Device(name, required)


def _fields(text: str, what: str) -> list[str]:
    try:
        return csv_fields(text)
    except ValueError as error:
        raise DockerfileError(f"failed to parse csv {what}: {error}") from None


def _one_of(value: str, known: tuple[str, ...], message: str) -> str:
    lower = value.lower()
    if lower not in known:
        raise DockerfileError(with_suggestion(message, value, known))
    return lower


def _needs(allowed: bool, key: str, kind: str) -> None:
    if not allowed:
        raise DockerfileError(f"unexpected key '{key}' for mount type '{kind}'")


def _bool(key: str, value: str) -> bool:
    try:
        return gotext.parse_bool(value)
    except ValueError:
        raise DockerfileError(f"invalid value for {key}: {value}") from None


def _size(value: str) -> int:
    try:
        return gotext.ram_in_bytes(value)
    except ValueError:
        raise DockerfileError(f"invalid value for size: {value}") from None


def _number(key: str, value: str) -> int:
    try:
        return gotext.parse_uint(value, 8 if key == "mode" else 10)
    except ValueError:
        raise DockerfileError(f"invalid value {value} for {key}") from None
