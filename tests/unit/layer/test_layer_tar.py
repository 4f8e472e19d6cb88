"""Archives are written so that every tar reads them, and read whoever wrote them."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from viaduct.base.errors import ContentError
from viaduct.layer.entry import Entry, Kind
from viaduct.layer.tar_reader import TarReader
from viaduct.layer.tar_writer import TarWriter, encode

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000_000

LONG = b"/".join([b"component-%02d" % n for n in range(30)])


def archive(*entries: Entry, data: bytes = b"") -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out.write)
    for entry in entries:
        writer.add(entry, data if entry.size else b"")
    writer.close()
    return out.getvalue()


def entries(data: bytes, chunk: int = 1 << 20) -> list[Entry]:
    return list(TarReader(data[at : at + chunk] for at in range(0, len(data), chunk)))


def file(name: bytes = b"file", **fields: object) -> Entry:
    return Entry(name=name, kind=Kind.FILE, **fields)  # type: ignore[arg-type] # fields of Entry


HARD = {
    "a name over 100 bytes": file(b"d/" * 40 + b"n" * 90),
    "a name that no prefix can hold": file(b"n" * 101),
    "a name over 256 bytes": file(LONG),
    "a long directory": Entry(name=LONG, kind=Kind.DIRECTORY, mode=0o755),
    "a directory of exactly 100 bytes": Entry(name=b"d" * 100, kind=Kind.DIRECTORY),
    "a name that is not UTF-8": file(b"caf\xe9/\xff\xfe"),
    "a long name that is not UTF-8": file(b"\xff" * 200),
    "a name with a newline": file(b"two\nlines" + b"x" * 120),
    "a long link": Entry(name=b"link", kind=Kind.SYMLINK, link=b"../" + LONG),
    "a long hard link": Entry(name=b"hard", kind=Kind.HARDLINK, link=LONG),
    "large owners": file(uid=2**32 - 2, gid=2_097_152),
    "a time before 1970": file(mtime_ns=-1_500_000_000),
    "a time with a fraction": file(mtime_ns=1_700_000_000 * SECOND + 123_456_789),
    "a far time": file(mtime_ns=2**34 * SECOND),
    "attributes": file(xattrs={b"user.a": b"\0\n=\xff", b"security.capability": b"\1" * 20}),
    "an empty attribute": file(xattrs={b"user.empty": b""}),
    "odd attribute names": file(xattrs={b"user.a=b": b"1", b"user.100%": b"2", b"user.%3D": b"3"}),
    "a character device": Entry(name=b"null", kind=Kind.CHAR, major=1, minor=3),
    "a block device": Entry(name=b"disk", kind=Kind.BLOCK, major=259, minor=1 << 20),
    "a FIFO": Entry(name=b"pipe", kind=Kind.FIFO, mode=0o4711),
}


@pytest.mark.parametrize("entry", HARD.values(), ids=HARD)
def test_what_is_hard_to_write_comes_back(entry: Entry) -> None:
    assert entries(archive(entry)) == [entry]
    assert entries(archive(entry), chunk=700) == [entry]


@pytest.mark.parametrize("entry", HARD.values(), ids=HARD)
def test_tarfile_reads_the_same(entry: Entry) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive(entry))) as tar:
        (member,) = tar.getmembers()
    assert member.name.encode("utf-8", "surrogateescape") == entry.name
    assert member.linkname.encode("utf-8", "surrogateescape") == entry.link
    assert (member.type, member.mode) == (entry.kind.value, entry.mode)
    assert (member.uid, member.gid) == (entry.uid, entry.gid)
    assert float(member.mtime) == pytest.approx(entry.mtime_ns / SECOND)
    if entry.major:
        assert (member.devmajor, member.devminor) == (entry.major, entry.minor)


@pytest.mark.parametrize("entry", HARD.values(), ids=HARD)
def test_gnu_tar_reads_the_same(entry: Entry) -> None:
    listed = subprocess.run(
        ["tar", "-tf", "-", "--quoting-style=literal", "--show-transformed-names"],
        input=archive(entry),
        capture_output=True,
        check=True,
    )
    name = entry.name + (b"/" if entry.kind is Kind.DIRECTORY else b"")
    assert listed.stdout == name + b"\n"
    assert listed.stderr == b""


def test_plain_members_take_one_header() -> None:
    assert len(encode(file(LONG[:200], size=2**33 - 1, mtime_ns=SECOND))) == 512


def test_a_file_over_8_gib_is_announced_and_read_through() -> None:
    size = 9 << 30
    header = encode(file(size=size))
    with tarfile.open(fileobj=io.BytesIO(header)) as tar:
        member = tar.next()
        assert member is not None
        assert member.size == size

    def chunks() -> object:
        yield header
        block = bytes(64 << 20)
        for _ in range(size // len(block)):
            yield block
        yield archive(file(b"after"))

    reader = TarReader(chunks())  # type: ignore[arg-type] # an iterator of bytes
    assert [(entry.name, entry.size) for entry in reader] == [(b"file", size), (b"after", 0)]


def test_headers_depend_on_the_entry_alone() -> None:
    one = file(LONG, xattrs={b"user.b": b"1", b"user.a": b"2"})
    other = file(LONG, xattrs={b"user.a": b"2", b"user.b": b"1"})
    assert encode(one) == encode(other)


def test_device_numbers_that_no_tar_holds_are_refused() -> None:
    with pytest.raises(ContentError, match="device numbers"):
        encode(Entry(name=b"dev", kind=Kind.CHAR, major=1 << 22))


# --- other writers -------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files that bring out what formats do differently."""
    root = tmp_path / "tree"
    (root / "dir").mkdir(parents=True)
    (root / "dir" / "small").write_bytes(b"small")
    (root / "dir" / ("n" * 150)).write_bytes(b"long name")
    (root / "link").symlink_to("t" * 150)
    os.link(root / "dir" / "small", root / "hard")
    os.mkfifo(root / "pipe")
    os.utime(root / "dir" / "small", ns=(0, 1_600_000_000 * SECOND))
    return root


@pytest.mark.parametrize("format_", ["gnu", "oldgnu", "pax", "posix"])
def test_what_gnu_tar_writes_is_read(tree: Path, format_: str) -> None:
    made = subprocess.run(
        ["tar", f"--format={format_}", "--sort=name", "-cf", "-", "-C", tree, "."],
        capture_output=True,
        check=True,
    )
    found = {entry.name: entry for entry in entries(made.stdout, chunk=10_000)}
    assert found.keys() == {
        b".",
        b"./dir",
        b"./dir/small",
        b"./dir/" + b"n" * 150,
        b"./link",
        b"./hard",
        b"./pipe",
    }
    assert found[b"./link"].link == b"t" * 150
    assert found[b"./hard"].kind is Kind.HARDLINK
    assert found[b"./hard"].link == b"./dir/small"
    assert found[b"./pipe"].kind is Kind.FIFO
    assert found[b"./dir/small"].mtime_ns == 1_600_000_000 * SECOND
    assert found[b"./dir/small"].size == 5


def test_what_v7_tar_wrote_is_read(tree: Path) -> None:
    made = subprocess.run(
        ["tar", "--format=v7", "-cf", "-", "-C", tree, "dir/small", "hard", "."],
        capture_output=True,
        check=False,  # names over 99 bytes are refused, the rest is written
    )
    found = {entry.name: entry for entry in entries(made.stdout)}
    assert found[b"./dir"].kind is Kind.DIRECTORY
    assert found[b"dir/small"].size == 5


def test_base_256_numbers_are_read() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        info = tarfile.TarInfo("far")
        info.uid, info.gid, info.mtime = 2**31, 2**30, -86_400
        tar.addfile(info)
    (entry,) = entries(out.getvalue())
    assert (entry.uid, entry.gid, entry.mtime_ns) == (2**31, 2**30, -86_400 * SECOND)


def test_a_global_header_applies_until_overridden() -> None:
    out = io.BytesIO()
    headers = {"comment": "of no interest", "mtime": "1000", "SCHILY.xattr.user.all": "1"}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers=headers) as tar:
        for name, pax in (("a", {}), ("b", {"mtime": "2000.5"})):
            info = tarfile.TarInfo(name)
            info.pax_headers = pax
            tar.addfile(info)
    a, b = entries(out.getvalue())
    assert (a.mtime_ns, b.mtime_ns) == (1000 * SECOND, 2000 * SECOND + SECOND // 2)
    assert a.xattrs == b.xattrs == {b"user.all": b"1"}


def test_gnu_tar_and_we_agree_on_attributes(tree: Path) -> None:
    os.setxattr(tree / "dir" / "small", "user.a=b", b"\0\xff")
    made = subprocess.run(
        ["tar", "--xattrs", "-cf", "-", "-C", tree, "dir/small"], capture_output=True, check=True
    )
    (entry,) = entries(made.stdout)
    assert entry.xattrs == {b"user.a=b": b"\0\xff"}


# --- damage --------------------------------------------------------------------------------------


def test_truncation_is_noticed_wherever_it_happens() -> None:
    data = archive(file(LONG, size=700), file(b"next"), data=b"x" * 700)
    whole = data.rstrip(b"\0")
    boundaries = {0}
    for cut in range(0, len(whole) - 1, 37):
        if cut in boundaries:
            continue
        with pytest.raises(ContentError):
            for _ in TarReader([data[:cut]]):
                pass


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, b"X"), (100, b"9"), (124, b"z"), (148, b"7"), (156, b"Q"), (329, b"\x01")],
)
def test_a_damaged_header_is_noticed(at: int, value: bytes) -> None:
    data = bytearray(archive(file()))
    data[at : at + 1] = value
    with pytest.raises(ContentError, match="corrupt"):
        entries(bytes(data))


def with_checksum(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return bytes(header)


def forged(at: int, value: bytes, entry: Entry | None = None) -> bytes:
    """An archive whose first header has `value` at `at` and a fitting checksum."""
    data = bytearray(archive(entry or file(b"forged")))
    data[at : at + len(value)] = value
    return with_checksum(data[:512]) + bytes(data[512:])


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (124, b"\xff" * 12),  # a size of -1
        (124, b"\x80" + b"\xff" * 11),  # a size of 2**88
        (108, b"\xff" * 8),  # uid -1
        (116, b"\x80\0\0\0\xff\xff\xff\xff"),  # gid 2**32 - 1, which chown takes for "leave it"
        (108, b"99999\0\0\0"),  # not octal
        (156, b"Z"),  # no such type
        (0, b"\0" * 6),  # no name
    ],
)
def test_impossible_headers_are_refused(at: int, value: bytes) -> None:
    with pytest.raises(ContentError):
        entries(forged(at, value))


@pytest.mark.parametrize(
    "body",
    [
        b"12 path=abc",
        b"99 path=abc\n",
        b"0 path=abc\n",
        b"-5 path=a\n",
        b"1_1 path=ab\n",
        b"11 pathabcd\n",
        b"9 =value\n",
        b"x path=abc\n",
        b"14 size=12a\xb2\n\n",
        b"13 mtime=1x\n\n",
        b"17 path=a\0b/../c\n",
    ],
)
def test_malformed_extended_headers_are_refused(body: bytes) -> None:
    data = forged(156, b"x", file(size=len(body)))[:512]
    data += body.ljust(512, b"\0") + archive(file())
    with pytest.raises(ContentError):
        entries(data)


def test_extended_headers_cannot_eat_memory() -> None:
    with pytest.raises(ContentError, match="too large"):
        entries(forged(156, b"L", file(size=2 << 20)))

    def without_end() -> object:
        number = 0
        while True:
            number += 1
            body = b"%d SCHILY.xattr.user.%09d=%s\n" % (4040, number, b"x" * (4040 - 34))
            yield forged(156, b"x", file(size=len(body)))[:512] + body.ljust(4096, b"\0")

    with pytest.raises(ContentError, match="too large"):
        list(TarReader(without_end()))  # type: ignore[arg-type] # an iterator of bytes


def test_what_hides_behind_the_end_is_found() -> None:
    reader = TarReader([archive(file()), bytes(9000), b"hidden" + bytes(506)])
    assert len(list(reader)) == 1
    with pytest.raises(ContentError, match="follows the end"):
        reader.expect_end()


def test_padding_behind_the_end_is_fine() -> None:
    reader = TarReader([archive(file()), bytes(9000)])
    assert len(list(reader)) == 1
    reader.expect_end()


def test_an_archive_may_end_without_a_mark() -> None:
    assert len(entries(archive(file())[:512])) == 1
    assert entries(b"") == []
