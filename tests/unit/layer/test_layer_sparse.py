"""Sparse files come out of every kind of GNU archive as sparse files."""

from __future__ import annotations

import io
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from viaduct.base.errors import ContentError
from viaduct.layer.apply import apply
from viaduct.layer.compress import Compression
from viaduct.layer.pack import pack
from viaduct.layer.tar_reader import TarReader

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = {
    "old GNU": ["--format=gnu"],
    "pax 0.0": ["--format=posix", "--sparse-version=0.0"],
    "pax 0.1": ["--format=posix", "--sparse-version=0.1"],
    "pax 1.0": ["--format=posix", "--sparse-version=1.0"],
}

BLOCK = 64 << 10


@pytest.fixture
def holed(tmp_path: Path) -> Path:
    """A file of data and holes, more of them than one header takes, ending in a hole."""
    path = tmp_path / "holed"
    with path.open("wb") as file:
        for number in range(60):
            file.seek(number * 4 * BLOCK)
            file.write(bytes([number + 1]) * 5000)
        file.truncate(300 * BLOCK)
    return path


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_a_sparse_member_becomes_a_sparse_file(
    holed: Path, upper: Path, options: list[str]
) -> None:
    made = subprocess.run(
        ["tar", "--sparse", *options, "-cf", "-", "-C", holed.parent, "holed"],
        capture_output=True,
        check=True,
    )
    assert len(made.stdout) < 1 << 20
    apply(io.BytesIO(made.stdout), upper)
    found = upper / "holed"
    assert found.read_bytes() == holed.read_bytes()
    assert found.stat().st_blocks * 512 < 1 << 20


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_a_file_over_8_gib_that_is_one_hole(
    tmp_path: Path, upper: Path, options: list[str]
) -> None:
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(9 << 30)
        file.write(b"start")
    made = subprocess.run(
        ["tar", "--sparse", *options, "-cf", "-", "-C", tmp_path, "huge"],
        capture_output=True,
        check=True,
    )
    apply(io.BytesIO(made.stdout), upper)
    found = (upper / "huge").stat()
    assert found.st_size == 9 << 30
    assert found.st_blocks * 512 < 1 << 20
    with (upper / "huge").open("rb") as file:
        assert file.read(5) == b"start"


def pax(records: dict[bytes, bytes], data: bytes) -> bytes:
    """An archive with one file of `data` behind these records."""
    body = b""
    for key, value in records.items():
        rest = len(key) + len(value) + 3
        length = rest + len(str(rest + len(str(rest))))
        body += b"%d %b=%b\n" % (length, key, value)
    out = b""
    for flag, content in ((b"x", body), (b"0", data)):
        header = bytearray(512)
        header[:4] = b"file"
        header[124:136] = b"%011o\0" % len(content)
        header[156:157] = flag
        header[257:265] = b"ustar\x0000"
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        out += bytes(header) + content + bytes(-len(content) % 512)
    return out + bytes(1024)


@pytest.mark.parametrize(
    ("sparse_map", "size"),
    [
        (b"0,3,2,2", b"10"),  # overlapping
        (b"4,3,0,2", b"10"),  # backwards
        (b"0,5", b"4"),  # beyond the end
        (b"0,4", b"10"),  # less than what is stored
        (b"0,6", b"10"),  # more than what is stored
        (b"0", b"10"),  # half a pair
        (b"0,-5", b"10"),
        (b"0,x", b"10"),
        (b"0,5", b""),
        (b"0,99999999999999999999999", b"10"),
    ],
)
def test_maps_that_lie_are_refused(sparse_map: bytes, size: bytes) -> None:
    records = {b"GNU.sparse.map": sparse_map, b"GNU.sparse.size": size}
    with pytest.raises(ContentError, match="sparse"):
        list(TarReader([pax(records, b"12345")]))


@pytest.mark.parametrize("data", [b"", b"1\n", b"9\n0\n1\n", b"-1\n", b"x\n", b"99999999\n"])
def test_maps_in_front_of_the_data_that_lie_are_refused(data: bytes) -> None:
    records = {
        b"GNU.sparse.major": b"1",
        b"GNU.sparse.minor": b"0",
        b"GNU.sparse.name": b"real",
        b"GNU.sparse.realsize": b"10",
    }
    with pytest.raises(ContentError, match="sparse"):
        list(TarReader([pax(records, data.ljust(512, b"\0") if data else b"")]))


def test_a_sparse_file_is_packed_as_what_it_holds(holed: Path, upper: Path) -> None:
    holed.rename(upper / "holed")
    out = io.BytesIO()
    pack(upper, out, Compression("uncompressed"))
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        member = tar.extractfile("holed")
        assert member is not None
        assert member.read() == (upper / "holed").read_bytes()
