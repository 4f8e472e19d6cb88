"""One layer read from its first byte to its last: its diff id, and the machine code in it."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias

from viaduct.base.errors import ContentError
from viaduct.base.values import Value
from viaduct.engine.audit.facts import Program
from viaduct.layer import decompress
from viaduct.layer.entry import Entry, Kind
from viaduct.layer.rooted import clean
from viaduct.layer.tar_reader import TarReader
from viaduct.oci import digest, elf

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from viaduct.base.tasks import Stop
    from viaduct.oci.digest import Digest

#: What is kept of a layer's members may take so much memory (some two million files); more is an
#: attack on it.
_LARGEST: Final = 256 << 20
_EACH: Final = 64


class Link(Value):
    """A symbolic link, or with `hard` another name of the file at `target`."""

    target: bytes
    hard: bool = False


class Plain(Value):
    """A file that is no machine code, or anything else that is neither directory nor link."""


class Folder(Value):
    """A directory."""


What: TypeAlias = Program | Link | Plain | Folder

_PLAIN = Plain()
_FOLDER = Folder()


class Contents(Value):
    """A layer's members in their order, as clean paths and what is there, and its diff id."""

    diff_id: Digest
    members: tuple[tuple[bytes, What], ...]


def scan(stream: BinaryIO, stop: Stop) -> Contents:
    """Read a layer, compressed or not, to the end of `stream`.

    Raises `ContentError` for what is no archive of a layer, or does not end where it should, and
    what reading raises.
    """
    plain = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for block in decompress.blocks(stream):
            stop.check()
            plain.update(block)
            yield block

    reader = TarReader(hashed())
    members: list[tuple[bytes, What]] = []
    size = 0
    for entry in reader:
        path = clean(entry.name)
        if path:
            members.append((path, _what(entry, reader.content())))
        size += len(path) + len(entry.link) + _EACH
        if size > _LARGEST:
            raise ContentError("the layer has too many files to be looked at")
    reader.expect_end()
    return Contents(digest.from_hash(plain), tuple(members))


def _what(entry: Entry, content: Iterable[memoryview]) -> What:
    match entry.kind:
        case Kind.DIRECTORY:
            return _FOLDER
        case Kind.SYMLINK:
            return Link(entry.link)
        case Kind.HARDLINK:
            return Link(clean(entry.link), hard=True)
        case Kind.FILE if entry.size >= elf.HEADER_SIZE and not _begins_with_hole(entry):
            head = _head(content)
            if (header := elf.header(head)) is not None:
                loader = os.fsencode(elf.loader(head)).decode("utf-8", "backslashreplace")
                return Program(header, loader, bool(entry.mode & 0o111))
    return _PLAIN


def _begins_with_hole(entry: Entry) -> bool:
    return entry.extents is not None and (not entry.extents or entry.extents[0][0] > 0)


def _head(content: Iterable[memoryview]) -> bytes:
    """The first bytes of a file: enough of an ELF file to know it, few of any other."""
    head = b""
    for piece in content:
        head += piece[: elf.HEAD - len(head)]
        if len(head) >= elf.HEAD or not elf.MAGIC.startswith(head[: len(elf.MAGIC)]):
            break
    return head
