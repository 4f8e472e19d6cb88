"""`viaduct pull`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.base.errors import UsageError
from viaduct.cli import transfer
from viaduct.cli.command import implements
from viaduct.cli.options import arguments, switch, texts
from viaduct.cli.out import echo

if TYPE_CHECKING:
    from viaduct.cli.session import Session


@implements("pull")
@switch("--all-platforms", help="Pull the image of every platform")
@texts("--platform", metavar="platform", help="Platforms to pull, as a list or repeated")
@switch("-q", "--quiet", help="Print nothing but the image's name")
@transfer.declare
@arguments("NAME[:TAG|@DIGEST]", least=1, most=1)
def command(
    session: Session,
    /,
    args: tuple[str, ...],
    *,
    all_platforms: bool,
    platform: tuple[str, ...],
    quiet: bool,
    progress: str,
    registry_insecure: tuple[str, ...],
    registry_mirror: tuple[str, ...],
) -> None:
    """Bring an image from a registry into the local store."""
    from viaduct import api
    from viaduct.cli import values
    from viaduct.oci import platform as platforms
    from viaduct.oci import reference

    if all_platforms and platform:
        raise UsageError("--all-platforms and --platform cannot be used together")
    asked = platforms.parse_list(platform or (session.env.get("DOCKER_DEFAULT_PLATFORM", ""),))
    ref = reference.parse(args[0])
    if not quiet and ref.tag == "" and ref.digest is None:
        echo("Using default tag: latest")
    mode = "quiet" if quiet else progress
    with transfer.Transfer(session, mode, title="Pulling") as work:
        brought = api.pull(
            args[0],
            platforms=None if all_platforms else (asked or (platforms.native(),)),
            strict=bool(asked),
            registries=values.registries(registry_insecure, registry_mirror),
            sink=work.sink,
            stop=work.stop,
        )
    image = brought.image
    if not quiet:
        state = "Downloaded newer image for" if brought.news else "Image is up to date for"
        echo(f"Digest: {image.root.digest}")
        echo(f"Status: {state} {image.familiar}")
    echo(image.name)
