"""OCI layouts as directories: names, additions, damage."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, BinaryIO

import pytest

from viaduct.base.errors import ContentError, NotFound, UsageError
from viaduct.export import layout_directory
from viaduct.export.layout_directory import LayoutDirectory
from viaduct.oci import digest, media
from viaduct.oci.models import Descriptor

if TYPE_CHECKING:
    from pathlib import Path


def entry(data: bytes) -> Descriptor:
    return Descriptor(media_type=media.OCI_MANIFEST, digest=digest.of(data), size=len(data))


def tagged(data: bytes, tag: str, name: str = "") -> Descriptor:
    annotations = {media.LAYOUT_TAG: tag, **({media.LAYOUT_NAME: name} if name else {})}
    return Descriptor(
        media_type=media.OCI_MANIFEST,
        digest=digest.of(data),
        size=len(data),
        annotations=annotations,
    )


@pytest.mark.parametrize(
    ("text", "tag", "pinned"),
    [
        ("oci-layout:///a/b", "latest", False),
        ("oci-layout:///a/b:1.2", "1.2", False),
        ("oci-layout:///a/b@DIGEST", "", True),
        ("oci-layout:///a/b:1.2@DIGEST", "1.2", True),
        ("oci-layout:///a:c/b", "latest", False),
        ("oci-layout:///a@x/b:1", "1", False),
    ],
)
def test_names_of_layouts_are_read(text: str, tag: str, pinned: bool) -> None:
    found = digest.of(b"x")
    path, read_tag, read_digest = layout_directory.parse(text.replace("DIGEST", found))
    assert str(path) in ("/a/b", "/a:c/b", "/a@x/b")
    assert (read_tag, read_digest) == (tag, found if pinned else None)


def test_a_new_layout_says_what_it_is(tmp_path: Path) -> None:
    LayoutDirectory(tmp_path / "new").enter([tagged(b"a", "1")])
    assert json.loads((tmp_path / "new/oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "index.json",
        "oci-layout",
    ]


def test_a_name_moves_and_others_stay(tmp_path: Path) -> None:
    layout = LayoutDirectory(tmp_path)
    layout.enter([tagged(b"a", "1", "x/app:1"), tagged(b"a", "2", "x/app:2"), entry(b"a")])
    layout.enter([tagged(b"b", "1", "x/app:1"), entry(b"a"), tagged(b"c", "1")])
    found = [(e.annotations.get(media.LAYOUT_NAME, ""), e.digest) for e in layout.entries()]
    a, b, c = (digest.of(name) for name in (b"a", b"b", b"c"))
    assert found == [("x/app:2", a), ("x/app:1", b), ("", a), ("", c)]


def test_images_are_found_by_name_and_by_tag(tmp_path: Path) -> None:
    layout = LayoutDirectory(tmp_path)
    layout.enter([tagged(b"a", "1", "x/app:1"), tagged(b"b", "2")])
    assert layout.find("x/app:1").digest == digest.of(b"a")
    assert layout.find("2").digest == digest.of(b"b")
    with pytest.raises(NotFound, match="does not hold an image latest") as error:
        layout.find("latest")
    assert error.value.hint == "it has the tags: 1, 2"


def test_the_only_image_is_the_latest(tmp_path: Path) -> None:
    layout = LayoutDirectory(tmp_path)
    layout.enter([entry(b"a")])
    assert layout.find("latest").digest == digest.of(b"a")


def test_what_is_no_layout_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is not an OCI layout"):
        LayoutDirectory(tmp_path).entries()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write the OCI layout"):
        LayoutDirectory(tmp_path / "file").enter([entry(b"a")])


def test_a_blob_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    layout = LayoutDirectory(tmp_path)
    found = digest.of(b"whole")
    with pytest.raises(RuntimeError):
        layout.add(found, _broken)
    assert not layout.has(found)
    assert list((tmp_path / "blobs/sha256").iterdir()) == []
    layout.add(found, lambda out: out.write(b"whole"))
    layout.add(found, _broken)
    assert layout.read(found) == b"whole"


def test_damaged_and_missing_blobs_are_told(tmp_path: Path) -> None:
    layout = LayoutDirectory(tmp_path)
    found = digest.of(b"right")
    layout.add(found, lambda out: out.write(b"wrong"))
    with pytest.raises(ContentError, match="holds other bytes"):
        layout.read(found)
    with pytest.raises(NotFound, match="lacks sha256:"):
        layout.open(digest.of(b"other"))


def _broken(out: BinaryIO) -> None:
    out.write(b"wh")
    raise RuntimeError


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    directory = LayoutDirectory(tmp_path)
    path = directory.blob_path(digest.of(b"x"))
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    os.mkfifo(tmp_path / "index.json")
    with pytest.raises(NotFound, match="lacks sha256:"):
        directory.open(digest.of(b"x"))
    with pytest.raises(NotFound, match="not a regular file"):
        directory.entries()
