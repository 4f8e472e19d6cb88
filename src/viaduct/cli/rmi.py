"""`viaduct rmi`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.base.errors import NotFound, ViaductError
from viaduct.cli.command import implements
from viaduct.cli.failure import Leave, explain
from viaduct.cli.options import arguments, switch
from viaduct.cli.out import echo

if TYPE_CHECKING:
    from viaduct.cli.session import Session


@implements("rmi")
@switch("-f", "--force", help="Remove an id with all its names, and do not mind what is not there")
@arguments("IMAGE...", least=1)
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
            echo(explain(error, debug=session.debug), err=True, nl=False)
            continue
        for gone in removed.names:
            echo(f"Untagged: {reference.parse(gone).familiar}")
        for digest in removed.deleted:
            echo(f"Deleted: {digest}")
    if failed:
        raise Leave(1)
