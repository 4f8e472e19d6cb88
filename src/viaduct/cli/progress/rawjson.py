"""`--progress=rawjson`: BuildKit's `SolveStatus` messages, one JSON document per line."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from viaduct.base.events import Finished, Log, Started, Status, Warned
from viaduct.cli.progress.trace import Trace, warning_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from viaduct.base.events import Event
    from viaduct.cli.progress.trace import Step

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class RawJSONPrinter:
    """Writes the events in their order."""

    interval = 0.05

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.trace = Trace(keep=20)
        self._write = write
        self._lines: list[bytes] = []

    def take(self, event: Event, now: float) -> None:
        """Note an event; the document says how its step is at this moment."""
        step, _ = self.trace.apply(event)
        if step is not None or isinstance(event, Warned):
            self._lines.append(msgspec.json.encode(_message(event, step)) + b"\n")

    def draw(self, now: float) -> None:
        """Write what was noted."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._write(b"".join(lines))

    def finish(self, now: float) -> None:
        """Write what is left."""
        self.draw(now)


def _message(event: Event, step: Step | None) -> dict[str, list[dict[str, Any]]]:
    match event:
        case Started() | Finished():
            assert step is not None
            return {"vertexes": [_vertex(step)]}
        case Status():
            assert step is not None
            return {"statuses": [_status(event, step)]}
        case Log():
            return {
                "logs": [
                    {
                        "vertex": _digest(event.vertex),
                        "stream": event.stream,
                        "data": _base64(event.data),
                        "timestamp": _time(event.at),
                    }
                ]
            }
        case Warned():
            return {"warnings": [warning(event)]}


def _vertex(step: Step) -> dict[str, Any]:
    start, stop = step.intervals[-1]
    vertex: dict[str, Any] = {
        "digest": _digest(step.key),
        "name": step.name,
        "started": _time(start),
    }
    if stop is not None:
        vertex["completed"] = _time(stop)
    if step.cached:
        vertex["cached"] = True
    if step.error:
        vertex["error"] = step.error
    elif step.canceled:
        vertex["error"] = "context canceled"
    return vertex


def _status(event: Status, step: Step) -> dict[str, Any]:
    part = step.parts[event.part]
    status: dict[str, Any] = {"id": part.name, "vertex": _digest(step.key)}
    if part.total:
        status["total"] = part.total
    status |= {
        "current": part.current,
        "timestamp": _time(part.at),
        "started": _time(part.started),
    }
    if part.done:
        status["completed"] = _time(part.at)
    return status


def warning(event: Warned) -> dict[str, Any]:
    """A warning as BuildKit's clients read it; also what `--metadata-file` lists."""
    out: dict[str, Any] = {}
    if event.vertex:
        out["vertex"] = _digest(event.vertex)
    out |= {"level": 1, "short": _base64(warning_line(event).encode())}
    if event.detail:
        out["detail"] = [_base64(event.detail.encode())]
    if event.url:
        out["url"] = event.url
    if where := event.where:
        out["sourceInfo"] = {
            "filename": where.source.name,
            "data": _base64(where.source.text.encode(errors="surrogateescape")),
            "language": "Dockerfile",
        }
        out["range"] = [{"start": {"line": where.start}, "end": {"line": where.end}}]
    return out


def _digest(key: str) -> str:
    """Clients take a vertex's key for a digest; one that is not becomes its own digest."""
    if _DIGEST.fullmatch(key):
        return key
    return "sha256:" + hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _time(at: float) -> str:
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
    return moment.replace("+00:00", "Z")
