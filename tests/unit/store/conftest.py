from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from viaduct.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / "state"


@pytest.fixture
def store(root: Path) -> Iterator[Store]:
    """An empty store."""
    opened = Store.open(root)
    yield opened
    opened.close()
