"""Archives and directories that the layer tests are made of."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Tar:
    """An archive in the making, written by the standard library: an independent witness.

    Everything belongs to whoever runs the tests, so that no privilege is needed.
    """

    def __init__(self) -> None:
        self._out = io.BytesIO()
        self._tar = tarfile.TarFile(fileobj=self._out, mode="w", format=tarfile.PAX_FORMAT)

    def add(
        self,
        name: str,
        data: bytes = b"",
        *,
        kind: bytes = tarfile.REGTYPE,
        mode: int = 0o644,
        link: str = "",
        mtime: float = 1_000_000_000,
        owner: tuple[int, int] | None = None,
        device: tuple[int, int] = (0, 0),
        pax: dict[str, str] | None = None,
    ) -> Tar:
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.linkname, info.mtime = kind, mode, link, mtime
        info.size = len(data)
        info.uid, info.gid = owner or (os.getuid(), os.getgid())
        info.devmajor, info.devminor = device
        info.pax_headers = dict(pax or {})
        self._tar.addfile(info, io.BytesIO(data))
        return self

    def dir(self, name: str, mode: int = 0o755, **more: object) -> Tar:
        return self.add(name, kind=tarfile.DIRTYPE, mode=mode, **more)  # type: ignore[arg-type] # keywords of add

    def symlink(self, name: str, target: str) -> Tar:
        return self.add(name, kind=tarfile.SYMTYPE, link=target)

    def hardlink(self, name: str, target: str) -> Tar:
        return self.add(name, kind=tarfile.LNKTYPE, link=target)

    def bytes(self) -> bytes:
        self._tar.close()
        return self._out.getvalue()

    def stream(self) -> io.BytesIO:
        return io.BytesIO(self.bytes())


@pytest.fixture
def tar() -> Tar:
    return Tar()


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    """An empty directory for a layer, alone in a directory of its own."""
    directory = tmp_path / "layer" / "upper"
    directory.mkdir(parents=True)
    return directory


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    directory = tmp_path / "lower"
    directory.mkdir()
    return directory


@pytest.fixture
def listing() -> Callable[[Path], list[str]]:
    """Everything below a directory, sorted; directories end in a slash."""

    def walk(root: Path) -> list[str]:
        return sorted(
            str(path.relative_to(root)) + ("/" if path.is_dir() and not path.is_symlink() else "")
            for path in root.rglob("*")
        )

    return walk
