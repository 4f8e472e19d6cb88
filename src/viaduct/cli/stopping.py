"""Ctrl-C and SIGTERM as a request that the engine obeys in its own time."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING

from viaduct.base.errors import Canceled
from viaduct.base.tasks import Stop
from viaduct.cli.failure import Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_PATIENCE = 3


@contextlib.contextmanager
def stoppable() -> Iterator[Stop]:
    """A `Stop` that SIGINT and SIGTERM set while the block runs.

    The `Canceled` that comes of it leaves the block as `Interrupted`. The third signal ends the
    process at once: whatever it made dies with its namespaces.
    """
    stop = Stop()
    asked: list[int] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        if len(asked) >= _PATIENCE:
            os._exit(128 + number)
        # Not from here: this thread may be holding the very lock that setting takes.
        threading.Thread(target=stop.set, name="stop", daemon=True).start()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    except Canceled:
        if asked:
            raise Interrupted(128 + asked[0]) from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
