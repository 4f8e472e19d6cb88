"""`viaduct rmi`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from viaduct.base.errors import NotFound, ViaductError
from viaduct.cli.command import Command
from viaduct.cli.failure import explain
from viaduct.cli.options import arguments, switch

if TYPE_CHECKING:
    from viaduct.cli.session import Session


@click.command("rmi", cls=Command)
@switch("-f", "--force", help="Remove an id with all its names, and do not mind what is not there")
@arguments("IMAGE...", least=1)
@click.pass_obj
def command(session: Session, /, args: tuple[str, ...], *, force: bool) -> None:
    """Remove images from the local store, by name or id."""
    from viaduct import api
    from viaduct.oci import reference

    failed = False
    for name in args:
        try:
            removed = api.remove_image(name, force=force)
        except ViaductError as error:
            # One that cannot go does not keep the others.
            failed = failed or not (force and isinstance(error, NotFound))
            click.echo(explain(error, debug=session.debug), err=True, nl=False)
            continue
        for gone in removed.names:
            click.echo(f"Untagged: {reference.parse(gone).familiar}")
        for digest in removed.deleted:
            click.echo(f"Deleted: {digest}")
    if failed:
        raise click.exceptions.Exit(1)
