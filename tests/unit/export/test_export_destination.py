"""Files that archives are written to."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from viaduct.base.errors import BuildError
from viaduct.export.destination import opened

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_replaced_when_all_went_well(tmp_path: Path) -> None:
    path = tmp_path / "out.tar"
    path.write_text("old")
    with pytest.raises(RuntimeError), opened(str(path)) as out:
        out.write(b"half")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["out.tar"]
    assert path.read_text() == "old"
    with opened(str(path)) as out:
        out.write(b"new")
        out.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["out.tar"]


def test_a_link_stays_and_its_file_changes(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with opened(str(tmp_path / "link")) as out:
        out.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    with opened(str(pipe)) as out:
        out.write(b"data")
    reader.join()
    assert got == [b"data"]
    assert pipe.is_fifo()


def test_directories_on_the_way_are_made(tmp_path: Path) -> None:
    with opened(str(tmp_path / "a/b/c")) as out:
        out.write(b"x")
    assert (tmp_path / "a/b/c").read_bytes() == b"x"


def test_a_full_disk_is_told_with_the_place() -> None:
    with (
        pytest.raises(BuildError, match="cannot write /dev/full: No space left on device"),
        opened("/dev/full") as out,
    ):
        out.write(b"x" * (2 << 20))


def test_a_place_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match="Not a directory"), opened(str(tmp_path / "file/out")):
        pass
