"""Whatever an entry says, its header says the same to us and to the standard library."""

from __future__ import annotations

import io
import os.path
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viaduct.base.errors import ContentError
from viaduct.layer.entry import Entry, Kind
from viaduct.layer.rooted import clean
from viaduct.layer.tar_reader import TarReader
from viaduct.layer.tar_writer import TarWriter

SECOND = 1_000_000_000

# Bytes of all kinds, but no NUL, and long enough to cross every limit of ustar.
_part = st.binary(min_size=1, max_size=120).map(
    lambda raw: raw.replace(b"\0", b"0").replace(b"/", b"_")
)
paths = st.lists(_part, min_size=1, max_size=6).map(b"/".join)
attributes = st.dictionaries(
    st.binary(min_size=1, max_size=30).map(lambda raw: b"user." + raw.replace(b"\0", b"0")),
    st.binary(max_size=200),
    max_size=3,
)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from(Kind))
    is_link = kind in (Kind.SYMLINK, Kind.HARDLINK)
    is_device = kind in (Kind.CHAR, Kind.BLOCK)
    return Entry(
        name=draw(paths),
        kind=kind,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(st.integers(0, 2**32 - 2)),
        gid=draw(st.integers(0, 2**32 - 2)),
        mtime_ns=draw(st.integers(-(2**40) * SECOND, 2**40 * SECOND)),
        link=draw(paths) if is_link else b"",
        major=draw(st.integers(0, 4095)) if is_device else 0,
        minor=draw(st.integers(0, 2**20 - 1)) if is_device else 0,
        xattrs=draw(attributes),
    )


def archive(members: list[tuple[Entry, bytes]]) -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out.write)
    for entry, data in members:
        writer.add(entry, data)
    writer.close()
    return out.getvalue()


@given(st.lists(entries(), max_size=4), st.integers(1, 3000))
def test_entries_survive_writing_and_reading(members: list[Entry], chunk: int) -> None:
    data = archive([(entry, b"") for entry in members])
    pieces = (data[at : at + chunk] for at in range(0, len(data), chunk))
    assert list(TarReader(pieces)) == members


@given(st.lists(st.binary(max_size=3000), max_size=5), st.integers(1, 3000))
def test_contents_survive_writing_and_reading(contents: list[bytes], chunk: int) -> None:
    members = [
        (Entry(name=b"f%d" % number, kind=Kind.FILE, size=len(content)), content)
        for number, content in enumerate(contents)
    ]
    data = archive(members)
    reader = TarReader(data[at : at + chunk] for at in range(0, len(data), chunk))
    assert [b"".join(reader.content()) for _ in reader] == contents


@given(entries())
def test_the_standard_library_reads_the_same(entry: Entry) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive([(entry, b"")]))) as tar:
        (member,) = tar.getmembers()
    assert member.name.encode("utf-8", "surrogateescape") == entry.name
    assert member.linkname.encode("utf-8", "surrogateescape") == entry.link
    assert (member.type, member.mode) == (entry.kind.value, entry.mode)
    assert (member.uid, member.gid) == (entry.uid, entry.gid)
    assert (member.devmajor, member.devminor) == (entry.major, entry.minor)
    assert abs(float(member.mtime) - entry.mtime_ns / SECOND) < 1e-3


@given(st.binary(max_size=2000), st.integers(0, 2000), st.binary(min_size=1, max_size=20))
def test_damage_is_noticed_or_harmless(noise: bytes, at: int, patch: bytes) -> None:
    """Any bytes are either an archive or a ContentError, never another exception."""
    whole = bytearray(
        archive(
            [
                (Entry(name=b"a" * 300, kind=Kind.FILE, size=len(noise)), noise),
                (Entry(name=b"b", kind=Kind.SYMLINK, link=b"c" * 200), b""),
            ]
        )
    )
    whole[at : at + len(patch)] = patch
    for data in (bytes(whole), noise):
        try:
            reader = TarReader([data])
            for _ in reader:
                for _ in reader.content():
                    pass
        except ContentError as error:
            assert error.what


_path_bits = st.lists(st.sampled_from([b"..", b".", b"", b"a", b"b", b"..."]), max_size=9)


@given(_path_bits, st.booleans())
def test_clean_paths_are_what_the_path_means_below_the_root(
    parts: list[bytes], absolute: bool
) -> None:
    name = (b"/" if absolute else b"") + b"/".join(parts)
    meant = os.path.normpath(b"./" + name)
    if meant.split(b"/")[0] == b"..":
        with pytest.raises(ContentError):
            clean(name)
        return
    assert clean(name) == (b"" if meant == b"." else meant)
