"""`viaduct save`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from viaduct.base.errors import UsageError
from viaduct.cli import transfer
from viaduct.cli.command import implements
from viaduct.cli.options import arguments, text

if TYPE_CHECKING:
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
    from viaduct.export import destination
    from viaduct.oci import platform as platforms

    if not output and sys.stdout.isatty():
        raise UsageError(
            "cowardly refusing to save to a terminal", hint="use the -o option, or redirect"
        )
    with (
        transfer.Transfer(session, progress, title="Saving") as work,
        destination.opened(output or destination.STDOUT) as out,
    ):
        api.save_images(
            args,
            out,
            platform=platforms.parse(platform) if platform else None,
            registries=values.registries(registry_insecure, registry_mirror),
            sink=work.sink,
            stop=work.stop,
        )
