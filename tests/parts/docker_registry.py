"""Debian's `docker-registry` for tests: the distribution project's own server on a free port."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from tests.parts import tools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CONFIG = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
http:
  addr: 127.0.0.1:{port}
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    assert isinstance(port, int)
    return port


@contextlib.contextmanager
def running_docker_registry(tmp_path: Path, *, more: str = "") -> Iterator[str]:
    """The `host:port` of a docker-registry; `more` is added to its configuration."""
    port = free_port()
    config = tmp_path / "docker-registry.yml"
    config.write_text(_CONFIG.format(root=tmp_path / "docker-registry", port=port) + more)
    log = (tmp_path / "docker-registry.log").open("wb")
    process = subprocess.Popen(
        [tools.docker_registry(), "serve", str(config)], stdout=log, stderr=log
    )
    try:
        _wait(process, port)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
        log.close()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5).close()
            return
        except urllib.error.HTTPError as answer:
            answer.close()  # 401: it is there
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
