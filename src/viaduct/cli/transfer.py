"""What the commands that move images share: options for registries, and a display of the work."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from viaduct.base.tasks import Stop
from viaduct.cli import values
from viaduct.cli.options import PROGRESS, REGISTRY_INSECURE, REGISTRY_MIRROR
from viaduct.cli.stopping import stoppable

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from viaduct.base.events import Event
    from viaduct.cli.progress.display import Display
    from viaduct.cli.session import Session

F = TypeVar("F", bound="Callable[..., Any]")

_OPTIONS = (PROGRESS, REGISTRY_INSECURE, REGISTRY_MIRROR)


def declare(function: F) -> F:
    """Give a command the options that all transfers have."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


class Transfer:
    """Work that is shown on standard error as soon as there is any, and that Ctrl-C stops.

    `title` is what the live view says is going on. Enter it after the last change of namespaces.
    """

    def __init__(self, session: Session, progress: str, *, title: str) -> None:
        self._session = session
        self._mode = values.progress_mode(progress, session.env)
        self._title = title
        self._lock = threading.Lock()
        self._display: Display | None = None
        self._closed = False
        self._shown = contextlib.ExitStack()
        self._stoppable = contextlib.ExitStack()
        self.stop = Stop()

    def sink(self, event: Event) -> None:
        """Show an event; safe from any thread. Nothing is shown any more after `close`."""
        with self._lock:
            if self._closed:
                return
            if self._display is None:
                self._display = self._shown.enter_context(self._open())
        self._display.sink(event)

    def _open(self) -> Display:
        from viaduct.cli.progress.display import Display, renderer

        env = self._session.env
        return Display(renderer(self._mode, sys.stderr, env, title=self._title), env)

    def close(self) -> None:
        """Leave the last picture on the screen, which is somebody else's from now on."""
        with self._lock:
            self._closed = True
        self._shown.close()

    def __enter__(self) -> Transfer:
        self.stop = self._stoppable.enter_context(stoppable())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._shown.__exit__(kind, error, trace)
        finally:
            self._stoppable.__exit__(kind, error, trace)
