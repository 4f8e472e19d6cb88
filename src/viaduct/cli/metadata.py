"""What a build writes beside its result: `--metadata-file`, `--iidfile`, and the id for `-q`."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from viaduct.base.errors import UsageError
from viaduct.base.fs import write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from viaduct.base.events import Warned
    from viaduct.engine.request import BuildResult


def image_id(result: BuildResult) -> str:
    """The id that people know an image by: the config's digest of a single image, the index's
    digest of several; empty when no image was made."""
    if len(result.images) == 1:
        return result.images[0].config_digest
    return result.root.digest if result.root else ""


def document(
    result: BuildResult, warnings: Sequence[Warned], env: Mapping[str, str], *, builder: str = ""
) -> dict[str, Any]:
    """The metadata document, with the keys of the peers in their order (alphabetical). `builder`
    is the builder and the node that the build ran on, `name/node`."""
    out: dict[str, Any] = {}
    if result.ref:
        out["buildx.build.ref"] = f"{builder}/{result.ref}" if builder else result.ref
    if warnings and env.get("BUILDX_METADATA_WARNINGS", "").lower() in ("1", "t", "true"):
        from viaduct.cli.progress.rawjson import warning

        out["buildx.build.warnings"] = [warning(event) for event in warnings]
    if len(result.images) == 1:
        out["containerimage.config.digest"] = result.images[0].config_digest
    if result.root is not None:
        out["containerimage.descriptor"] = result.root
        out["containerimage.digest"] = result.root.digest
    if result.names:
        out["image.name"] = ",".join(result.names)
    return out


def encode(document: Mapping[str, Any]) -> bytes:
    """The document's bytes: indented by two spaces, as the peers write it."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2)


def write(path: str, data: bytes, option: str) -> None:
    """Replace the file. Raises `UsageError` that names the option."""
    try:
        write_atomic(Path(path).absolute(), data)
    except OSError as error:
        raise UsageError(
            f"cannot write {option} {path}: {error.strerror}",
            hint="name a file that can be written",
        ) from error


def forget(path: str) -> None:
    """Remove what an earlier build wrote, so that a failed build leaves no stale answer."""
    with contextlib.suppress(OSError):
        os.unlink(path)
