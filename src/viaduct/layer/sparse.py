"""GNU tar's four ways to store a file with holes, read into a list of stretches of data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from viaduct.base.errors import ContentError
from viaduct.layer.tar_fields import RECORD, number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from viaduct.layer.pax import Records

#: (offset, length) of each stretch of data.
Extents: TypeAlias = "tuple[tuple[int, int], ...]"

#: A map beyond this is an attack on memory.
_MOST_EXTENTS: Final = 200_000
_LONGEST_NUMBER: Final = 20


def old_gnu(header: bytes, take: Callable[[int], bytes]) -> tuple[int, Extents]:
    """Size and extents of a member of type `S`; `take` gives the records that follow its header."""
    numbers = list(_slots(header[386:482]))
    more = header[482]
    while more:
        record = take(RECORD)
        numbers += _slots(record[:504])
        more = record[504]
        _limit(len(numbers) // 2)
    return number(header[483:495], "size"), _pairs(numbers)


def is_pax(records: Records) -> bool:
    """Whether the member is a sparse file in one of the pax formats."""
    return b"GNU.sparse.map" in records or is_inline(records)


def is_inline(records: Records) -> bool:
    """Whether the map is stored in front of the data (format 1.0)."""
    return records.get(b"GNU.sparse.major") == b"1" and records.get(b"GNU.sparse.minor") == b"0"


def real_size(records: Records) -> int:
    for key in (b"GNU.sparse.realsize", b"GNU.sparse.size"):
        if key in records:
            return _decimal(records[key])
    raise ContentError("the archive has a sparse file without a size")


def header_map(records: Records) -> Extents:
    """The extents of a file in format 0.0 or 0.1."""
    field = records[b"GNU.sparse.map"]
    _limit(field.count(b",") // 2)
    return _pairs([_decimal(part) for part in field.split(b",")] if field else [])


def inline_map(take: Callable[[int], bytes]) -> Extents:
    """The extents of a file in format 1.0; `take` gives its first records."""
    lines: list[bytes] = []
    rest = b""
    wanted = 1
    while len(lines) < wanted:
        *complete, rest = (rest + take(RECORD)).split(b"\n")
        if not lines and complete:
            count = _decimal(complete[0])
            _limit(count)
            wanted = 1 + 2 * count
        lines += complete
    return _pairs([_decimal(line) for line in lines[1:wanted]])


def check(name: bytes, size: int, extents: Extents, stored: int) -> None:
    """Raises `ContentError` unless the extents are in order, inside of the file, and what is
    stored is exactly them."""
    end = 0
    for offset, length in extents:
        if offset < end:
            raise ContentError(f"the sparse map of {name!r} is out of order")
        end = offset + length
    if end > size or sum(length for _, length in extents) != stored:
        raise ContentError(f"the sparse map of {name!r} does not fit the file")


def _slots(area: bytes) -> Iterable[int]:
    """The numbers in the used slots of an old GNU map."""
    for at in range(0, len(area), 24):
        if not area[at]:
            return
        yield number(area[at : at + 12], "offset")
        yield number(area[at + 12 : at + 24], "length")


def _pairs(numbers: list[int]) -> Extents:
    if len(numbers) % 2 or min(numbers, default=0) < 0:
        raise ContentError("the archive has a malformed sparse map")
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return tuple((offset, length) for offset, length in pairs if length)


def _decimal(field: bytes) -> int:
    if not field.isdigit() or len(field) > _LONGEST_NUMBER:
        raise ContentError("the archive has a malformed sparse map")
    return int(field)


def _limit(count: int) -> None:
    if count > _MOST_EXTENTS:
        raise ContentError("the archive has a sparse file in too many pieces")
