"""A real registry for tests: the embedded server on a free loopback port."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from viaduct.registry.server import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextlib.contextmanager
def running_registry(tmp_path: Path, *, log: Callable[[str], None] | None = None) -> Iterator[str]:
    """The `host:port` of an embedded registry that keeps its content in `tmp_path/registry`.

    `log` is told `METHOD path status` for every request.
    """
    with serve("127.0.0.1:0", tmp_path / "registry", log=log or (lambda _line: None)) as server:
        yield server.address
