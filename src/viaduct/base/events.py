"""What a build tells the outside while it runs.

A build emits these frozen events, in order per vertex, to one `Sink`; renderers, the metadata
writer and tests all read the same stream. A vertex is one unit of work with a name (a step, a
registry transfer, an export); its life is Started → any of Status, Log, Warned → Finished.
Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from viaduct.base.values import Value

if TYPE_CHECKING:
    from viaduct.base.spans import Span


class Started(Value):
    """Work on `vertex` begins. `name` is what a person sees (`[linux/arm64 stage 2/4] RUN …`);
    `platform` groups the live view and is empty for work that belongs to no platform; `emulated`
    says that foreign machine code will run through an emulator."""

    vertex: str
    name: str
    at: float
    platform: str = ""
    emulated: bool = False


class Status(Value):
    """Progress of a named part of a vertex (a layer's transfer, a manifest written).

    `current` and `total` are bytes, 0 when unknown; `done` closes the part.
    """

    vertex: str
    part: str
    at: float
    current: int = 0
    total: int = 0
    done: bool = False


class Log(Value):
    """Output of a step, raw bytes as written; `stream` is 1 for stdout, 2 for stderr."""

    vertex: str
    data: bytes
    at: float
    stream: int = 1


class Warned(Value):
    """Something a person should know that does not stop the build.

    `rule` is a build check's name, or empty; `url` its page; `detail` the rule in one sentence;
    `vertex` the work during which it was noticed, or empty.
    """

    text: str
    at: float
    rule: str = ""
    url: str = ""
    detail: str = ""
    where: Span | None = None
    vertex: str = ""


class Finished(Value):
    """Work on `vertex` ended: `cached` when nothing had to run, `error` when it failed, and
    `canceled` when it was stopped because something else failed."""

    vertex: str
    at: float
    cached: bool = False
    error: str = ""
    canceled: bool = False


Event: TypeAlias = Started | Status | Log | Warned | Finished
Sink: TypeAlias = Callable[[Event], None]


def discard(_event: Event) -> None:
    """The sink for callers who do not care."""
