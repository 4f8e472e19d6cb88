"""A limit to what one step may print, so that a babbling step cannot fill a log or the memory.

The limits and the message are BuildKit's: 2 MiB per output stream and 200 KiB for each second of
its life, changed by `BUILDKIT_STEP_LOG_MAX_SIZE` and `BUILDKIT_STEP_LOG_MAX_SPEED` (bytes, -1 for
no limit). Of what is cut off, the last 256 KiB are shown when the step ends.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from viaduct.base.events import Finished, Log, Started
from viaduct.base.values import Mutable
from viaduct.cli.units import binary_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viaduct.base.events import Event

_SIZE = 2 << 20
_SPEED = 200 << 10
_TAIL = 256 << 10


class _Stream(Mutable):
    printed: int = 0
    clipping: bool = False
    tail: bytearray = msgspec.field(default_factory=bytearray)


class LogClip:
    """Filters the events of a build in order; not safe for several threads."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._size = _limit(env.get("BUILDKIT_STEP_LOG_MAX_SIZE"), _SIZE)
        self._speed = _limit(env.get("BUILDKIT_STEP_LOG_MAX_SPEED"), _SPEED)
        self._began: dict[str, float] = {}
        self._streams: dict[tuple[str, int], _Stream] = {}

    def pass_on(self, event: Event) -> list[Event]:
        """The events to show instead of `event`."""
        match event:
            case Log():
                return self._log(event)
            case Started():
                self._began[event.vertex] = event.at
            case Finished():
                return [*self._rest(event), event]
            case _:
                pass
        return [event]

    def _log(self, event: Log) -> list[Event]:
        stream = self._streams.setdefault((event.vertex, event.stream), _Stream())
        allowed, why = self._allowance(event)
        room = len(event.data) if allowed < 0 else max(0, allowed - stream.printed)
        shown, hidden = event.data[:room], event.data[room:]
        stream.printed += len(shown)
        if shown:
            # What was hidden before this is a gap that the message announced; only the last gap
            # is filled at the end.
            stream.tail.clear()
        stream.tail += hidden
        del stream.tail[:-_TAIL]
        if hidden and not stream.clipping:
            shown += f"\n[output clipped, log limit {why} reached]\n".encode()
        stream.clipping = bool(hidden)
        return [replace(event, data=shown)] if shown else []

    def _allowance(self, event: Log) -> tuple[int, str]:
        """How many bytes this stream may have printed by now (-1: any), and by which limit."""
        if self._speed >= 0:
            lived = event.at - self._began.get(event.vertex, event.at)
            allowed = max(1, math.ceil(lived)) * self._speed
            if self._size < 0 or allowed <= self._size:
                return allowed, f"{binary_size(self._speed)}/s"
        return self._size, binary_size(self._size)

    def _rest(self, event: Finished) -> list[Event]:
        self._began.pop(event.vertex, None)
        rest: list[Event] = []
        for number in (1, 2):
            stream = self._streams.pop((event.vertex, number), None)
            if stream and stream.tail:
                rest.append(Log(event.vertex, bytes(stream.tail), event.at, number))
        return rest


def _limit(text: str | None, default: int) -> int:
    try:
        return default if text is None else int(text)
    except ValueError:
        return default
