"""What live tests share: a registry with base images, and short ways to build and to read logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.parts import images
from tests.parts.contexts import Context
from tests.parts.published import Published, publish
from tests.parts.registry import running_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The `host:port` of a registry that all tests of this process share; repositories are yours
    when you name them after your test."""
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="session")
def busybox(registry: str) -> str:
    """A base image for linux/amd64 and linux/arm64: busybox with its applets."""
    reference = f"{registry}/busybox:1"
    images.push(images.busybox_layout(), reference)
    return reference


@pytest.fixture(scope="session")
def published(registry: str, busybox: str, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """An image for both platforms that Viaduct built and pushed. Look at it, don't change it."""
    return publish(tmp_path_factory.mktemp("published"), busybox, f"{registry}/ns/published:1")


@pytest.fixture
def context(tmp_path: Path, busybox: str) -> Context:
    """An empty build context; in a Dockerfile written through it, BASE stands for busybox."""
    root = tmp_path / "context"
    root.mkdir()
    return Context(root, busybox)
