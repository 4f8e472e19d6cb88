"""Where a benchmark happens: its directory, its registry, its base images and its inputs."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import tarfile
import time
from typing import TYPE_CHECKING

from bench.peers import viaduct
from bench.peers.state import State
from tests.parts import debs, images, rootfs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INPUTS = debs.WORK / "bench/inputs"
FILES = 20_000
LAYER_MB = 500


class World:
    """`place` is empty and removed after the run; `registry` is `localhost:port`."""

    def __init__(self, place: Path, registry: str) -> None:
        self.place = place
        self.registry = registry
        self._pushed: set[str] = set()

    def reference(self, name: str) -> str:
        return f"{self.registry}/{name}"

    def base(self, name: str = "busybox") -> str:
        """The reference of a two-platform base image (`busybox` or `debian`)."""
        layout = {"busybox": images.busybox_layout, "debian": images.debian_layout}[name]
        return self.have(name, layout())

    def have(self, name: str, layout: Path) -> str:
        """Make sure that the image of a layout is in the registry; returns its reference."""
        reference = self.reference(f"{name}:1")
        if reference not in self._pushed:
            images.push(layout, reference)
            self._pushed.add(reference)
        return reference

    def context(self, name: str, dockerfile: str) -> Path:
        """A build context with this Dockerfile alone."""
        path = self.place / "contexts" / name
        path.mkdir(parents=True, exist_ok=True)
        (path / "Dockerfile").write_text(dockerfile)
        return path


@contextlib.contextmanager
def open_world(place: Path) -> Iterator[World]:
    """A fresh directory with Viaduct's embedded registry, the same for every peer."""
    place.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with (place / "registry.log").open("wb") as log:
        server = subprocess.Popen(
            [
                *[viaduct.PROGRAM, "registry", "serve", "--addr", f"127.0.0.1:{port}"],
                *["--root", str(place / "registry")],
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        _wait(server, port, place / "registry.log")
        yield World(place, f"localhost:{port}")
    finally:
        server.terminate()
        server.wait()
        State(place).remove()


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the registry did not start:\n{log.read_text()}") from error
            time.sleep(0.05)


def many_files() -> Path:
    """A directory with 20,000 small files, 200 to a directory."""
    root = INPUTS / "files"
    with debs.made_once(root) as draft:
        if draft is not None:
            source = random.Random(1)
            for number in range(FILES):
                directory = draft / f"d{number // 200:03d}"
                if number % 200 == 0:
                    directory.mkdir(parents=True)
                text = b"%d\n" % source.getrandbits(64)
                (directory / f"f{number:05d}").write_bytes(text * source.randrange(1, 200))
    return root


def big_files() -> Path:
    """A directory with 500 MB in 100 files: a third noise, a third text, a third in between."""
    root = INPUTS / "layer"
    with debs.made_once(root) as draft:
        if draft is not None:
            draft.mkdir(parents=True)
            source = random.Random(2)
            words = [source.randbytes(source.randrange(2, 12)).hex().encode() for _ in range(4000)]
            size = LAYER_MB * 1_000_000 // 100
            for number in range(100):
                (draft / f"part{number:02d}").write_bytes(_mixed(source, words, number % 3, size))
    return root


def _mixed(source: random.Random, words: list[bytes], kind: int, size: int) -> bytes:
    if kind == 0:
        return source.randbytes(size)
    text = bytearray()
    while len(text) < size:
        text += b" ".join(source.choices(words, k=5000))
        if kind == 2:
            text += source.randbytes(10_000)
    return bytes(text[:size])


def image_with(name: str, tree: Path) -> Path:
    """A layout with busybox and, as a second layer, a directory at /data; amd64 only."""
    layout = debs.WORK / "layouts" / f"bench-{name}"
    with debs.made_once(layout) as draft:
        if draft is not None:
            draft.mkdir(parents=True)
            archive = draft / "layer.tar"
            with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as out:
                out.add(tree, "data", filter=_by_root)
            variant = images.Variant("linux/amd64", [rootfs.busybox("amd64"), archive])
            images.write_layout(draft, [variant])
            archive.unlink()
    return layout


def _by_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info
