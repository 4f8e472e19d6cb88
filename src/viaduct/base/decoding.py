"""Typed values out of JSON and plain data, in any thread.

msgspec finds out what a class looks like when it first reads one. A second thread that reads one
meanwhile is given the unfinished answer, and the process dies of it (signal 11). Here the finding
out happens under a lock; typed values are read nowhere else.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_learning = threading.Lock()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def from_json(data: bytes | str, kind: type[T]) -> T:
    """The value of a JSON document. Raises `msgspec.DecodeError` for what is no JSON or is nested
    too deeply, and its subclass `msgspec.ValidationError` for what is no `kind`."""
    try:
        value: T = _decoder(kind).decode(data)
    except RecursionError:
        raise msgspec.DecodeError("JSON is nested too deeply") from None
    return value


def from_plain(value: object, kind: type[T]) -> T:
    """The value that dicts, lists and plain values describe. Raises `msgspec.ValidationError`."""
    # What is found out about a class stays with the class.
    _decoder(kind)
    return msgspec.convert(value, kind)


def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    found = _decoders.get(kind)
    if found is None:
        with _learning:
            found = _decoders.setdefault(kind, msgspec.json.Decoder(kind))
    return found
