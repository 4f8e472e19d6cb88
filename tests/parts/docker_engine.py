"""The part of a Docker engine that Viaduct speaks to: it says what its store can hold, and takes
archives. What an engine does with them is its own affair, so they are kept as they came."""

from __future__ import annotations

import contextlib
import http.server
import json
import socketserver
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class DockerEngine:
    """`archives` are the files that were loaded; `refusal` is what the next load is answered."""

    address: str
    folder: Path
    holds_indexes: bool
    refusal: str = ""
    archives: list[Path] = field(default_factory=list)


@contextlib.contextmanager
def running_engine(folder: Path, *, holds_indexes: bool = False) -> Iterator[DockerEngine]:
    """An engine at a socket in `folder`, with the classic image store or containerd's."""
    socket = folder / "docker.sock"
    engine = DockerEngine(f"unix://{socket}", folder, holds_indexes)

    class Handler(_Handler):
        told = engine

    with socketserver.ThreadingUnixStreamServer(str(socket), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield engine
        finally:
            server.shutdown()
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    told: DockerEngine

    def do_GET(self) -> None:
        kind = "io.containerd.snapshotter.v1" if self.told.holds_indexes else "overlay2"
        self._answer({"Driver": "overlayfs", "DriverStatus": [["driver-type", kind]]})

    def do_POST(self) -> None:
        path = self.told.folder / f"{len(self.told.archives)}.tar"
        with path.open("wb") as out:
            while size := int(self.rfile.readline(), 16):
                out.write(self.rfile.read(size))
                self.rfile.readline()
        self.rfile.readline()
        self.told.archives.append(path)
        if self.told.refusal:
            self._answer({"error": self.told.refusal})
        else:
            self._answer({"stream": "Loaded image\n"})

    def _answer(self, document: object) -> None:
        data = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass
