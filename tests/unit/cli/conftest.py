from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import pytest

if TYPE_CHECKING:
    from viaduct.base.events import Event
    from viaduct.cli.progress.display import Renderer

Replay: TypeAlias = Callable[["Renderer", Iterable["Event"]], None]
Run: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def replay() -> Replay:
    """Feeds recorded events to a renderer with their own clock, as the display's thread would."""

    def feed(renderer: Renderer, events: Iterable[Event]) -> None:
        clock = None
        for event in events:
            clock = event.at if clock is None else clock
            while event.at - clock >= renderer.interval:
                clock += renderer.interval
                renderer.draw(clock)
            renderer.take(event, max(clock, event.at))
        renderer.finish((clock or 0.0) + renderer.interval)

    return feed


@pytest.fixture
def viaduct() -> Run:
    """The command line as a process of its own."""

    def run(
        *args: str, env: Mapping[str, str] | None = None, command: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*(command or (sys.executable, "-m", "viaduct")), *args],
            env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1", **(env or {})},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return run
