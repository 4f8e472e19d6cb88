"""`viaduct push`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.cli import transfer
from viaduct.cli.command import implements
from viaduct.cli.options import arguments, switch, text
from viaduct.cli.out import echo

if TYPE_CHECKING:
    from viaduct.cli.session import Session


@implements("push")
@text("--platform", metavar="platform", help="Push the image of this platform only")
@switch("-q", "--quiet", help="Print nothing but the image's name")
@transfer.declare
@arguments("NAME[:TAG]", least=1, most=1)
def command(
    session: Session,
    /,
    args: tuple[str, ...],
    *,
    platform: str,
    quiet: bool,
    progress: str,
    registry_insecure: tuple[str, ...],
    registry_mirror: tuple[str, ...],
) -> None:
    """Send an image of the local store to its registry, all platforms and unchanged."""
    from viaduct import api
    from viaduct.cli import values
    from viaduct.oci import platform as platforms
    from viaduct.oci import reference

    ref = reference.parse(args[0]).with_default_tag()
    if not quiet:
        echo(f"The push refers to repository [{ref.name}]")
    mode = "quiet" if quiet else progress
    with transfer.Transfer(session, mode, title="Pushing") as work:
        root = api.push(
            args[0],
            platform=platforms.parse(platform) if platform else None,
            registries=values.registries(registry_insecure, registry_mirror),
            sink=work.sink,
            stop=work.stop,
        )
    if quiet:
        echo(str(ref))
    else:
        echo(f"{ref.tag or ref.familiar}: digest: {root.digest} size: {root.size}")
