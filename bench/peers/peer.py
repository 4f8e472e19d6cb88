"""What a benchmark asks of a builder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

AMD64 = "linux/amd64"
ARM64 = "linux/arm64"


@dataclass(frozen=True)
class Build:
    """One build: the `Dockerfile` of `context` for these platforms. Pushed as `tag`; without one
    the result stays in the builder's own store or cache."""

    context: Path
    platforms: Sequence[str] = (AMD64,)
    tag: str = ""
    args: Mapping[str, str] = field(default_factory=dict)


class Peer(Protocol):
    """A builder with a state of its own, below the directory it was made with."""

    name: str

    def why_not(self, *, foreign: bool) -> str:
        """Why it cannot take part here, or empty; `foreign`: steps run for another machine."""
        ...

    def version(self) -> str:
        """What it calls itself."""
        ...

    def start(self) -> None:
        """Bring up what a build needs; not measured."""
        ...

    def stop(self) -> None:
        """End everything that `start` began and remove the state."""
        ...

    def commands(self, build: Build) -> list[list[str]]:
        """What a user types for this build; all of it is measured."""
        ...

    def environment(self) -> Mapping[str, str]:
        """The environment of the commands."""
        ...

    def daemons(self) -> Sequence[int]:
        """Processes that work for the commands without being their children."""
        ...

    def forget(self) -> None:
        """Drop images, caches and everything else that makes the next build faster."""
        ...
