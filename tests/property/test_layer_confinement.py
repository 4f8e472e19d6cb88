"""Random archives full of links and dots stay inside of the directory they are unpacked into."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from viaduct.base.errors import ContentError
from viaduct.layer.apply import apply
from viaduct.layer.entry import Entry, Kind
from viaduct.layer.extract import extract
from viaduct.layer.tar_writer import TarWriter

_bit = st.sampled_from([b"a", b"b", b"victim", b"..", b".", b".wh.a", b".wh..wh..opq", b".wh.b"])
_path = st.lists(_bit, min_size=1, max_size=4).map(b"/".join)
_target = st.tuples(st.sampled_from([b"", b"/", b"../", b"../../", b"@/"]), _path).map(b"".join)
_member = st.tuples(
    st.sampled_from([Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK, Kind.HARDLINK, Kind.FIFO]),
    _path,
    _target,
)


def archive(members: list[tuple[Kind, bytes, bytes]], outside: bytes) -> io.BytesIO:
    """`@` in a target stands for the absolute path of the world outside."""
    out = io.BytesIO()
    writer = TarWriter(out.write)
    for kind, name, target in members:
        link = target.replace(b"@", outside) if kind in (Kind.SYMLINK, Kind.HARDLINK) else b""
        writer.add(Entry(name=name, kind=kind, link=link, mode=0o755))
    writer.close()
    out.seek(0)
    return out


def outside_of(root: Path, inside: Path) -> list[tuple[str, int, int, list[str]]]:
    return [
        (str(path), path.lstat().st_mode, path.lstat().st_nlink, os.listxattr(path))
        for path in [root, *sorted(root.iterdir()), root / "victim" / "a"]
        if path != inside
    ]


def attempt(members: list[tuple[Kind, bytes, bytes]], *, as_layer: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        upper, lower = root / "upper", root / "lower"
        for directory in (upper, lower, root / "victim", lower / "a"):
            directory.mkdir()
        (root / "victim" / "a").write_bytes(b"a")
        (lower / "b").symlink_to(root / "victim")
        before = outside_of(root, upper)
        try:
            if as_layer:
                apply(archive(members, os.fsencode(root)), upper, lower=[lower], squash_owner=True)
            else:
                extract(archive(members, os.fsencode(root)), upper, "a/b", squash_owner=True)
        except ContentError as error:
            assert error.what
        assert outside_of(root, upper) == before
        assert (root / "victim" / "a").read_bytes() == b"a"
        assert os.listdir(root / "victim") == ["a"]


@settings(max_examples=300, deadline=None)
@given(st.lists(_member, max_size=8))
def test_a_layer_stays_inside(members: list[tuple[Kind, bytes, bytes]]) -> None:
    attempt(members, as_layer=True)


@settings(max_examples=300, deadline=None)
@given(st.lists(_member, max_size=8))
def test_an_archive_stays_inside(members: list[tuple[Kind, bytes, bytes]]) -> None:
    attempt(members, as_layer=False)
