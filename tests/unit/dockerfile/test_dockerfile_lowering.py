"""Small Dockerfiles and the graphs that they become, kept beside each other.

`python -m tests.unit.dockerfile.test_dockerfile_lowering` writes the graphs anew: read the
difference before you commit it, for it changes what is cached.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.parts.lowering import lowered

from viaduct.dockerfile.graphtext import graph_text

FILES = sorted((Path(__file__).parents[2] / "golden" / "lower").glob("*.Dockerfile"))


def graph(path: Path) -> str:
    return graph_text(lowered(path.read_text(), platform="linux/arm64"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_dockerfile_becomes_this_graph(path: Path) -> None:
    assert graph(path) == path.with_suffix(".graph").read_text()


def test_the_graph_is_the_same_every_time() -> None:
    for path in FILES:
        assert graph(path) == graph(path)


if __name__ == "__main__":
    for one in FILES:
        one.with_suffix(".graph").write_text(graph(one))
