"""`viaduct save`."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from viaduct.base.errors import UsageError
from viaduct.cli import transfer
from viaduct.cli.command import implements
from viaduct.cli.options import arguments, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from viaduct.cli.session import Session


@implements("save")
@text("-o", "--output", metavar="path", path=True, help="Write to a file, not to standard output")
@text("--platform", metavar="platform", help="Save the image of this platform only")
@transfer.declare
@arguments("IMAGE...", least=1)
def command(
    session: Session,
    /,
    args: tuple[str, ...],
    *,
    output: str,
    platform: str,
    progress: str,
    registry_insecure: tuple[str, ...],
    registry_mirror: tuple[str, ...],
) -> None:
    """Write images, all platforms, as a tar: an OCI layout that 'docker load' reads as well."""
    from viaduct import api
    from viaduct.cli import values
    from viaduct.oci import platform as platforms

    if not output and sys.stdout.isatty():
        raise UsageError(
            "cowardly refusing to save to a terminal", hint="use the -o option, or redirect"
        )
    with (
        transfer.Transfer(session, progress, title="Saving") as work,
        _opened(output) as out,
    ):
        api.save_images(
            args,
            out,
            platform=platforms.parse(platform) if platform else None,
            registries=values.registries(registry_insecure, registry_mirror),
            sink=work.sink,
            stop=work.stop,
        )


@contextlib.contextmanager
def _opened(output: str) -> Iterator[BinaryIO]:
    """The file to write to; an existing one is replaced only when all went well."""
    if not output:
        with open(os.dup(sys.stdout.fileno()), "wb", buffering=1 << 20) as out:
            yield out
        return
    dest = Path(output)
    if dest.exists() and not dest.is_file():
        # A pipe or a device is written as it stands.
        with open(dest, "wb", buffering=1 << 20) as out:
            yield out
        return
    temp = dest.with_name(f".{dest.name}.partial")
    try:
        with open(temp, "wb", buffering=1 << 20) as out:
            yield out
        temp.replace(dest)
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from error
    finally:
        temp.unlink(missing_ok=True)
