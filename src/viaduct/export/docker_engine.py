"""A Docker engine as a place for images: is one there, what can it hold, and loading into it.

Speaks the engine's HTTP API where Docker's context in use points to, and only what `docker load`
needs of it. An engine behind ssh counts as absent.
"""

from __future__ import annotations

import contextlib
import os
import socket
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from viaduct.base.errors import BuildError
from viaduct.base.values import Value
from viaduct.export import docker_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from viaduct.export.docker_context import Endpoint

_ANSWER_SECONDS = 5.0
_CHUNK = 1 << 20


class _UnixConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=_ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class DockerEngine(Value):
    """An engine that answered. `holds_indexes` is true with the containerd image store; the classic
    store holds one platform per name."""

    endpoint: Endpoint
    holds_indexes: bool

    def load(self, write: Callable[[BinaryIO], None]) -> None:
        """Load the archive that `write` writes. Raises `BuildError` with the engine's words."""
        read_fd, write_fd = os.pipe()
        import threading

        failure: list[BaseException] = []

        def produce() -> None:
            try:
                with open(write_fd, "wb") as out:
                    write(out)
            except BaseException as error:  # noqa: BLE001 - raised by the thread that waits
                failure.append(error)

        thread = threading.Thread(target=produce, name="docker load", daemon=True)
        thread.start()
        try:
            with open(read_fd, "rb") as source:
                answer = self._post(source)
        finally:
            thread.join()
        if failure:
            raise failure[0]
        for line in answer.splitlines():
            with contextlib.suppress(msgspec.DecodeError):
                message: Any = msgspec.json.decode(line)
                if isinstance(message, dict) and message.get("error"):
                    raise BuildError(f"the Docker engine refused the image: {message['error']}")

    def _post(self, source: BinaryIO) -> bytes:
        connection = _connect(self.endpoint)
        connection.timeout = None
        try:
            connection.request(
                "POST",
                "/images/load?quiet=1",
                body=iter(lambda: source.read(_CHUNK), b""),
                headers={"Content-Type": "application/x-tar"},
                encode_chunked=True,
            )
            response = connection.getresponse()
            answer = response.read()
        except (OSError, HTTPException) as error:
            raise BuildError(f"cannot load into the Docker engine: {error}") from error
        finally:
            connection.close()
        if response.status != 200:
            text = answer.decode(errors="replace").strip()
            raise BuildError(f"the Docker engine answered {response.status}: {text}")
        return answer


def find(env: Mapping[str, str]) -> DockerEngine | None:
    """The engine that answers where Docker's context in use points to, or None."""
    endpoint = docker_context.endpoint(env)
    if endpoint is None:
        return None
    try:
        info: Any = msgspec.json.decode(_get(endpoint, "/info"))
    except (OSError, HTTPException, msgspec.DecodeError, ValueError):
        return None
    status = info.get("DriverStatus") if isinstance(info, dict) else None
    pairs = status if isinstance(status, list) else []
    snapshotter = any("io.containerd.snapshotter" in str(pair) for pair in pairs)
    return DockerEngine(endpoint, snapshotter)


def _connect(endpoint: Endpoint) -> HTTPConnection:
    """Raises OSError for certificates that cannot be read, ValueError for an address that is
    spoken to in another way."""
    parts = urlsplit(endpoint.host)
    if parts.scheme == "unix":
        return _UnixConnection(parts.path)
    if parts.scheme not in ("tcp", "http", "https"):
        raise ValueError(f"unsupported address {endpoint.host}")
    host = parts.hostname or ""
    if endpoint.certificates is None:
        return HTTPConnection(host, parts.port or 2375, timeout=_ANSWER_SECONDS)
    port = parts.port or 2376
    context = _tls(endpoint.certificates, verify=endpoint.verify)
    return HTTPSConnection(host, port, timeout=_ANSWER_SECONDS, context=context)


def _tls(certificates: Path, *, verify: bool) -> ssl.SSLContext:
    import ssl

    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif (certificates / "ca.pem").exists():
        context.load_verify_locations(certificates / "ca.pem")
    if (certificates / "cert.pem").exists():
        context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    return context


def _get(endpoint: Endpoint, path: str) -> bytes:
    connection = _connect(endpoint)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise HTTPException(f"status {response.status}")
    return body
