"""The embedded registry: a small OCI distribution server (specification 1.1) for one machine.

    with serve("127.0.0.1:0", root) as server:
        print(server.address)

It pulls, pushes (whole and in pieces), mounts, lists, refers, deletes and sends ranges. It has no
accounts and no TLS, and therefore listens on the loopback interface only, unless it is told
otherwise in so many words.
"""

from __future__ import annotations

import contextlib
import ipaddress
import selectors
import socket
import threading
import time
from typing import TYPE_CHECKING

from viaduct.base.errors import UsageError
from viaduct.base.tasks import Nursery, Stop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from viaduct.registry.embedded.handler import Connection
    from viaduct.registry.embedded.routes import Routes
    from viaduct.registry.embedded.storage import Storage

_MOST_CONNECTIONS = 256
_BACKLOG = 256
_WATCH_SECONDS = 1.0


def _silent(_line: str) -> None:
    """The log of a server nobody watches."""


def serve(
    addr: str,
    root: Path,
    *,
    allow_remote: bool = False,
    log: Callable[[str], None] = _silent,
) -> Server:
    """A registry bound to `addr` (`host:port`; port 0 takes a free one) with its content in `root`.

    It answers once started, by `start`, `run` or as a context manager. `log` is told a line per
    request. Raises `UsageError` when the address cannot be had, or reaches beyond this machine
    without `allow_remote`; `StoreError` when `root` cannot be used.
    """
    listener = _bind(addr, allow_remote=allow_remote)
    try:
        from viaduct.registry.embedded.routes import Routes
        from viaduct.registry.embedded.storage import Storage

        storage = Storage(root)
        return Server(listener, storage, Routes(storage, public=allow_remote), log)
    except BaseException:
        listener.close()
        raise


class Server:
    """A bound registry; made by `serve`."""

    def __init__(
        self,
        listener: socket.socket,
        storage: Storage,
        routes: Routes,
        log: Callable[[str], None],
    ) -> None:
        self._listener = listener
        self._storage = storage
        self._routes = routes
        self._log = log
        self._stop = Stop()
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, Connection] = {}
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """`host:port` as it stands in an image reference."""
        host, port = self._listener.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def run(self, stop: Stop | None = None) -> None:
        """Serve until `stop` (or `Server.stop`); then every connection is cut."""
        watched = stop.on_stop(self._stop.set) if stop is not None else 0
        wake, waker = socket.socketpair()
        woken = self._stop.on_stop(waker.close)
        try:
            with contextlib.suppress(_Ended), Nursery(_MOST_CONNECTIONS, name="registry") as todo:
                self._accept(wake, todo)
                self._cut(lambda _connection: True)
                raise _Ended
        finally:
            self._stop.forget(woken)
            if stop is not None:
                stop.forget(watched)
            # Some may have come so late that nobody began to serve them.
            for sock in (wake, waker, self._listener, *self._connections):
                sock.close()
            self._storage.close()

    def start(self) -> Server:
        """Serve in the background until `stop`."""
        self._thread = threading.Thread(target=self.run, name="registry-accept", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End all connections and wait for it. Harmless when repeated."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        else:
            self._listener.close()

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _accept(self, wake: socket.socket, todo: Nursery) -> None:
        from viaduct.registry.embedded.handler import Connection

        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(wake, selectors.EVENT_READ)
            while not self._stop.is_set():
                for key, _ in selector.select(_WATCH_SECONDS if self._connections else None):
                    if key.fileobj is wake:
                        return
                    try:
                        sock, client = self._listener.accept()
                    except OSError:
                        continue  # it has gone again, or we have too many open files
                    with self._lock:
                        full = len(self._connections) >= _MOST_CONNECTIONS
                    if full:
                        sock.close()
                        continue
                    connection = Connection(sock, client[:2], self._routes, self._log)
                    with self._lock:
                        self._connections[sock] = connection
                    todo.start(self._serve, sock, connection)
                self._cut(_overdue)

    def _serve(self, sock: socket.socket, connection: Connection) -> None:
        try:
            connection.serve()
        finally:
            with self._lock:
                del self._connections[sock]
            sock.close()

    def _cut(self, chosen: Callable[[Connection], bool]) -> None:
        with self._lock:
            for sock, connection in self._connections.items():
                if chosen(connection):
                    with contextlib.suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)


def _overdue(connection: Connection) -> bool:
    return connection.deadline is not None and connection.deadline < time.monotonic()


class _Ended(Exception):
    """Leaves the nursery: what has not begun never begins."""


def _bind(addr: str, *, allow_remote: bool) -> socket.socket:
    host, colon, port = addr.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{addr!r} is not host:port", hint="for example 127.0.0.1:5000")
    try:
        found = socket.getaddrinfo(
            host.strip("[]") or "0.0.0.0",
            int(port),
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
    except (OSError, UnicodeError) as error:
        raise UsageError(f"cannot listen on {addr}: unknown host") from error
    # `localhost` has two addresses, and programs that do not try both take the older one.
    family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    if not allow_remote and not ipaddress.ip_address(str(address[0])).is_loopback:
        raise UsageError(
            f"{addr} can be reached from other machines, and this registry has no accounts",
            hint="listen on 127.0.0.1, or say --allow-remote",
        )
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"cannot listen on {addr}: {error.strerror}", hint="choose another port"
        ) from error
    return listener
