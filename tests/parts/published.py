"""One image for amd64 and arm64 in a registry, built and pushed by Viaduct, to be looked at."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.parts.contexts import BOTH, Built, Context

if TYPE_CHECKING:
    from pathlib import Path

#: What `uname -m` says where each architecture's programs run.
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}

_DOCKERFILE = (
    "FROM BASE\n"
    "ARG TARGETARCH\n"
    'RUN uname -m > /machine && echo "for $TARGETARCH" > /arch\n'
    "COPY note /note\n"
    'CMD ["cat", "/machine"]\n'
)


@dataclass(frozen=True)
class Published:
    """`name` is the image's, `reference` the same for skopeo; `built` is what the build said."""

    name: str
    built: Built

    @property
    def reference(self) -> str:
        return f"docker://{self.name}"


def publish(place: Path, base: str, name: str) -> Published:
    """Build and push the image, with a state directory of its own below `place`."""
    root = place / "context"
    root.mkdir()
    context = Context(root, base)
    context.dockerfile(_DOCKERFILE)
    context.file("note", "same for everybody\n")
    return Published(name, context.build(*BOTH, "-t", name, "--push", env=blank(place)))


def blank(place: Path) -> dict[str, str]:
    """The environment of a person who has nothing yet, whose files will be below `place`: for
    fixtures that live longer than a test and its clean environment."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "DOCKER_CONFIG": str(place / "docker"),
        "VIADUCT_HOME": str(place / "state"),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }
