"""Tar archives, read from a stream: v7, ustar, pax, GNU long names, base-256 and sparse files."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from viaduct.base.errors import ContentError
from viaduct.layer import pax, sparse, tar_fields
from viaduct.layer.entry import Entry, Kind
from viaduct.layer.tar_fields import RECORD, check_sum, number, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from viaduct.layer.pax import Records

_EMPTY: Final = bytes(RECORD)

_LARGEST_FILE: Final = (1 << 63) - 1
_LARGEST_ID: Final = (1 << 32) - 2  # the one above means "nobody in particular" to the kernel

#: Modes, owners and often times are those of the member before.
_repeated = lru_cache(256)(number)

_KINDS: Final = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"7": Kind.FILE,  # "contiguous"
    b"S": Kind.FILE,  # GNU sparse
    b"1": Kind.HARDLINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHAR,
    b"4": Kind.BLOCK,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
}


class TarReader:
    """The members of an archive that comes in chunks of any size.

    Iterate for the entries; before going on, `content` gives the content of the current one, and
    what was not read of it is skipped. Raises `ContentError` for an archive that is corrupt or
    truncated. The end is two empty records, or the end of the chunks between two members.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._chunk = b""
        self._at = 0
        self._left = 0
        self._padding = 0
        self._global: Records = {}

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self._next()) is not None:
            yield entry

    def content(self) -> Iterator[memoryview]:
        """What is left of the current member's content, in pieces that live until the next one.

        For an entry with `extents` these are the stretches of data, one after the other.
        """
        while self._left:
            while self._at == len(self._chunk):
                self._refill()
            end = min(self._at + self._left, len(self._chunk))
            piece = memoryview(self._chunk)[self._at : end]
            self._left -= end - self._at
            self._at = end
            yield piece

    def expect_end(self) -> None:
        """Read the padding behind the archive. Raises `ContentError` if something is hidden there.

        Call after the iteration.
        """
        rest = self._chunk[self._at :]
        while True:
            if rest.count(0) != len(rest):
                raise ContentError("something follows the end of the archive")
            more = next(self._chunks, None)
            if more is None:
                return
            rest = more

    # --- members ---------------------------------------------------------------------------------

    def _next(self) -> Entry | None:
        local: Records = {}
        while (header := self._next_header()) is not None:
            match header[156:157]:
                case b"x" | b"X":  # POSIX, Solaris
                    local = pax.merge(local, self._extension(header))
                case b"g":
                    self._global = pax.merge(self._global, self._extension(header))
                case b"L":  # GNU: a long name
                    local[b"path"] = text(self._extension(header))
                case b"K":  # GNU: a long link target
                    local[b"linkpath"] = text(self._extension(header))
                case b"V":  # GNU: a volume's label is no file
                    self._expect(number(header[124:136], "size"))
                case _:
                    return self._member(header, self._global | local if self._global else local)
        if local:
            raise ContentError("the archive ends after an extended header")
        return None

    def _next_header(self) -> bytes | None:
        if self._left:
            for _ in self.content():
                pass
        if self._padding:
            self._take(self._padding)
            self._padding = 0
        header = self._take(RECORD, may_end=True)
        if not header or header == _EMPTY:
            return None
        check_sum(header)
        return header

    def _extension(self, header: bytes) -> bytes:
        size = number(header[124:136], "size")
        if not 0 <= size <= pax.LARGEST:
            raise ContentError(f"an extended header of {size} bytes is too large")
        data = self._take(size)
        self._take(-size % RECORD)
        return data

    def _member(self, header: bytes, records: Records) -> Entry:
        flag = header[156:157]
        kind = _KINDS.get(flag)
        if kind is None:
            raise ContentError(f"the archive has a member of unknown type {flag!r}")
        name = tar_fields.name(header)
        link = text(header[157:257])
        size = number(header[124:136], "size")
        mtime_ns = _repeated(header[136:148], "time") * 1_000_000_000
        uid = _repeated(header[108:116], "uid")
        gid = _repeated(header[116:124], "gid")
        xattrs: dict[bytes, bytes] = {}
        extents = None
        if records:
            name = records.get(b"GNU.sparse.name") or records.get(b"path") or name
            link = records.get(b"linkpath") or link
            size = pax.integer(records, b"size", size)
            uid = pax.integer(records, b"uid", uid)
            gid = pax.integer(records, b"gid", gid)
            mtime_ns = pax.nanoseconds(records, b"mtime", mtime_ns)
            xattrs = pax.xattrs(records)
        if not name or b"\0" in name or b"\0" in link:
            raise ContentError(f"the archive has a member with the impossible name {name!r}")

        if name.endswith(b"/") and kind is Kind.FILE:
            kind = Kind.DIRECTORY  # as v7 tar wrote directories
        if kind is not Kind.FILE:
            size = 0  # old archives give links and directories a size, with nothing stored for it
        if not (0 <= uid <= _LARGEST_ID >= gid >= 0):
            raise ContentError(f"the archive has an impossible owner for {name!r}")
        self._expect(size)

        major = minor = 0
        match kind:
            case Kind.FILE if flag == b"S" or sparse.is_pax(records):
                size, extents = self._sparse(header, records)
                sparse.check(name, size, extents, self._left)
            case Kind.DIRECTORY:
                name = name.rstrip(b"/") or b"/"
            case Kind.CHAR | Kind.BLOCK:
                major = number(header[329:337], "device number")
                minor = number(header[337:345], "device number")
        return Entry(
            name=name,
            kind=kind,
            mode=_repeated(header[100:108], "mode") & 0o7777,
            uid=uid,
            gid=gid,
            size=size,
            mtime_ns=mtime_ns,
            link=link,
            major=major,
            minor=minor,
            xattrs=xattrs,
            extents=extents,
        )

    def _sparse(self, header: bytes, records: Records) -> tuple[int, sparse.Extents]:
        """Size and extents of a sparse file; leaves what is stored for them to be read."""
        if header[156:157] == b"S":
            return sparse.old_gnu(header, self._take)
        if sparse.is_inline(records):
            return sparse.real_size(records), sparse.inline_map(self._take_content)
        return sparse.real_size(records), sparse.header_map(records)

    # --- bytes -----------------------------------------------------------------------------------

    def _expect(self, size: int) -> None:
        """A content of `size` bytes follows."""
        if not 0 <= size <= _LARGEST_FILE:
            raise ContentError(f"the archive is corrupt: a member of {size} bytes")
        self._left = size
        self._padding = -size % RECORD

    def _take_content(self, size: int) -> bytes:
        """The next bytes of the current member's content."""
        if size > self._left:
            raise ContentError("the archive has a truncated sparse map")
        self._left -= size
        return self._take(size)

    def _refill(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            raise ContentError("the archive is truncated")
        self._chunk, self._at = chunk, 0

    def _take(self, size: int, *, may_end: bool = False) -> bytes:
        """Exactly `size` bytes; none at the end of the chunks when it `may_end` here."""
        end = self._at + size
        if end <= len(self._chunk):
            taken = self._chunk[self._at : end]
            self._at = end
            return taken
        parts = [self._chunk[self._at :]]
        missing = size - len(parts[0])
        self._at = len(self._chunk)
        while missing:
            chunk = next(self._chunks, None)
            if chunk is None:
                if may_end and missing == size:
                    return b""
                raise ContentError("the archive is truncated")
            self._chunk = chunk
            self._at = min(missing, len(chunk))
            parts.append(chunk[: self._at])
            missing -= self._at
        return b"".join(parts)
