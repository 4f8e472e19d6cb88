"""Viaduct: container images for every architecture. See `viaduct.api`."""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = ["BuildRequest", "BuildResult", "Output", "Platform", "ViaductError", "build"]

if TYPE_CHECKING:
    from viaduct.api import build
    from viaduct.base.errors import ViaductError
    from viaduct.engine.request import BuildRequest, BuildResult, Output
    from viaduct.oci.platform import Platform

_HOMES = {
    "build": "viaduct.api",
    "ViaductError": "viaduct.base.errors",
    "BuildRequest": "viaduct.engine.request",
    "BuildResult": "viaduct.engine.request",
    "Output": "viaduct.engine.request",
    "Platform": "viaduct.oci.platform",
}


def __getattr__(name: str) -> object:
    """Import public names when they are asked for: a heavy package root taxes every command."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
