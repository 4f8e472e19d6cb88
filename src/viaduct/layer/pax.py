"""Records of pax extended headers (POSIX.1-2017, pax, "pax Extended Header")."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from viaduct.base.errors import ContentError

#: Keyword to value. The repeated keywords of GNU's sparse format 0.0 are joined as in its 0.1.
Records: TypeAlias = "dict[bytes, bytes]"

#: Extended headers beyond this are an attack on memory (Go's reader has the same limit).
LARGEST: Final = 1 << 20

_XATTR: Final = b"SCHILY.xattr."
_SPARSE_PARTS: Final = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
_TIME: Final = re.compile(rb"(-?)(\d{1,18})(?:\.(\d*))?")


def parse(data: bytes) -> Records:
    """The records of an extended header. Raises `ContentError` where they are malformed."""
    records: Records = {}
    sparse_map: list[bytes] = []
    at = 0
    while at < len(data):
        blank = data.find(b" ", at, at + 20)
        digits = data[at : max(blank, at)]
        end = at + int(digits) if digits.isdigit() else at
        if not blank + 2 < end <= len(data) or data[end - 1] != ord("\n"):
            raise ContentError("the archive is corrupt: an extended header is malformed")
        key, equals, value = data[blank + 1 : end - 1].partition(b"=")
        if not equals or not key:
            raise ContentError("the archive is corrupt: an extended header has no keyword")
        if key in _SPARSE_PARTS:
            sparse_map.append(value)
        else:
            records[key] = value
        at = end
    if sparse_map:
        records[b"GNU.sparse.map"] = b",".join(sparse_map)
    return records


def merge(known: Records, data: bytes) -> Records:
    """`known` with the records of a further extended header, which win."""
    if not known and len(data) <= LARGEST:
        return parse(data)
    merged = known | parse(data)
    if sum(map(len, merged)) + sum(map(len, merged.values())) > LARGEST:
        raise ContentError("the archive has extended headers that are too large")
    return merged


def integer(records: Records, key: bytes, default: int) -> int:
    """A decimal record, or `default` where it is absent or empty."""
    value = records.get(key)
    if not value:
        return default
    if not value.isdigit() or len(value) > 20:
        raise ContentError(f"the archive is corrupt: {value[:40]!r} is no {key.decode()}")
    return int(value)


def nanoseconds(records: Records, key: bytes, default: int) -> int:
    """A time record (seconds with a fraction) in nanoseconds; finer digits are cut off."""
    value = records.get(key)
    if not value:
        return default
    match = _TIME.fullmatch(value)
    if match is None:
        raise ContentError(f"the archive is corrupt: {value[:40]!r} is no time")
    sign, seconds, fraction = match.groups()
    total = int(seconds) * 1_000_000_000 + int((fraction or b"")[:9].ljust(9, b"0"))
    return -total if sign else total


def xattrs(records: Records) -> dict[bytes, bytes]:
    """The extended attributes among the records."""
    return {
        _unescape(key.removeprefix(_XATTR)): value
        for key, value in records.items()
        if key.startswith(_XATTR)
    }


def _unescape(key: bytes) -> bytes:
    return key.replace(b"%3D", b"=").replace(b"%25", b"%") if b"%" in key else key
