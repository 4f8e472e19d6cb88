"""The values that templates see, and how Go prints them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

#: Anything that a template can hold: JSON's types, `Record`, and `NO_VALUE`.
Value: TypeAlias = Any


class _NoValue:
    """What a map answers for a key that it does not have."""


NO_VALUE = _NoValue()


@dataclass(frozen=True)
class Record:
    """A Go struct: `fields` by their Go names in order, `document` what its JSON is.

    Asking for a field that a record does not have is an error; a map would have no value.
    """

    type_name: str
    fields: Mapping[str, Value]
    document: Value = field(default=None, compare=False)


class Zeroed(dict[str, Value]):
    """A Go map of structs: a key that it does not have gives the empty struct."""

    def __init__(self, items: Mapping[str, Value], zero: Value) -> None:
        super().__init__(items)
        self.zero = zero


class Time(str):
    """A moment, as RFC 3339 writes it: JSON has it so, and Go prints it in its own way."""

    __slots__ = ()

    @property
    def printed(self) -> str:
        date, _, rest = self.partition("T")
        clock, offset = (rest[:-1], "") if rest[-1:] in ("Z", "z") else (rest[:-6], rest[-6:])
        if not date or not clock:
            return str.__str__(self)
        name = offset.replace(":", "")
        return f"{date} {clock} {name} {name}" if name else f"{date} {clock} +0000 UTC"


def true(value: Value) -> bool:
    """Go's truth: false, zero, nil and empty things are false; records are true."""
    if isinstance(value, Record):
        return True
    return value is not NO_VALUE and bool(value)


def plain(value: Value, *, top: bool = True) -> str:
    """The value as `fmt.Print` shows it."""
    match value:
        case Time():
            return value.printed
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case None:
            return "<nil>"
        case _NoValue():
            return "<no value>" if top else "<nil>"
        case float():
            return _float(value)
        case Record():
            return "{" + " ".join(plain(item, top=False) for item in value.fields.values()) + "}"
        case Mapping():
            items = (f"{plain(k, top=False)}:{plain(value[k], top=False)}" for k in sorted(value))
            return "map[" + " ".join(items) + "]"
        case Sequence():
            return "[" + " ".join(plain(item, top=False) for item in value) + "]"
        case _:
            return str(value)


def _float(value: float) -> str:
    """Go's %v of a float: the shortest text, exponents from 1e21 on."""
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    return repr(value)


def to_json(value: Value, *, indent: bool) -> str:
    """The value as Go's encoding/json writes it: keys of maps sorted, `<`, `>` and `&` escaped."""
    text = json.dumps(
        _document(value),
        indent=2 if indent else None,
        separators=None if indent else (",", ":"),
        ensure_ascii=False,
    )
    for character in "<>&\u2028\u2029":
        if character in text:
            text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _document(value: Value) -> Value:
    match value:
        case Record():
            return _document(value.fields) if value.document is None else _ordered(value.document)
        case _NoValue():
            return None
        case Mapping():
            return {str(key): _document(value[key]) for key in sorted(value)}
        case str() | bytes():
            return value
        case Sequence():
            return [_document(item) for item in value]
        case _:
            return value


def _ordered(value: Value) -> Value:
    """A document whose order is meant: a struct's fields."""
    match value:
        case Mapping():
            return {str(key): _ordered(item) for key, item in value.items()}
        case Record():
            return _document(value)
        case list() | tuple():
            return [_ordered(item) for item in value]
        case _:
            return value
