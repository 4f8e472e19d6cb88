"""Small HTTP servers for steps to talk to: files to download, and a place to meet."""

from __future__ import annotations

import contextlib
import functools
import http.server
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: Who waits longer than this at a meeting is alone.
_PATIENCE = 30.0


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Tests look at what was downloaded."""


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[str]:
    """The `host:port` of a server of the files below `directory`."""
    with _running(functools.partial(_Files, directory=str(directory))) as address:
        yield address


@contextlib.contextmanager
def meeting(count: int) -> Iterator[str]:
    """A URL whose requests are answered once `count` of them are waiting: it shows that their
    senders run at one time. A request that waits in vain gets 504."""
    barrier = threading.Barrier(count)

    class _Meeting(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                barrier.wait(_PATIENCE)
                self.send_response(200)
            except threading.BrokenBarrierError:
                self.send_response(504)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Who came is seen by who went on."""

    with _running(_Meeting) as address:
        yield f"http://{address}/"


@contextlib.contextmanager
def serving_once_both_came(look: Callable[[], None]) -> Iterator[str]:
    """The `host:port` of a server that answers when two requests are waiting, and `look` was called
    between that and the answers."""
    barrier = threading.Barrier(2, action=look)

    class _Meeting(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            barrier.wait(_PATIENCE)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """What was seen is in the hands of the test."""

    with _running(_Meeting) as address:
        yield address


@contextlib.contextmanager
def _running(handler: Callable[..., Any]) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
