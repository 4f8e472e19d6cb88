"""`viaduct load`."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from viaduct.base.errors import UsageError
from viaduct.cli.command import implements
from viaduct.cli.options import arguments, switch, text
from viaduct.cli.out import echo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from viaduct.cli.session import Session


@implements("load")
@text("-i", "--input", metavar="path", path=True, help="Read a file, not standard input")
@switch("-q", "--quiet", help="Accepted for scripts: nothing is shown while loading")
@arguments("", most=0)
def command(
    _session: Session,
    /,
    args: tuple[str, ...],  # noqa: ARG001 - checked to be empty
    *,
    input: str,  # noqa: A002 - the option's name
    quiet: bool,  # noqa: ARG001 - as its help says
) -> None:
    """Bring the images of an OCI or Docker archive into the local store."""
    from viaduct import api
    from viaduct.cli.stopping import stoppable
    from viaduct.oci import reference

    if not input and sys.stdin.isatty():
        raise UsageError(
            "requested load from stdin, but stdin is empty", hint="use the -i option, or redirect"
        )
    with stoppable() as stop, _opened(input) as archive:
        loaded = api.load_images(archive, stop=stop)
    for image in loaded:
        for name in image.names:
            echo(f"Loaded image: {reference.parse(name).familiar}")
        if not image.names:
            echo(f"Loaded image ID: {image.root.digest}")


@contextlib.contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    if not path:
        with open(os.dup(sys.stdin.fileno()), "rb") as archive:
            yield archive
        return
    try:
        with open(path, "rb") as archive:
            yield archive
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
