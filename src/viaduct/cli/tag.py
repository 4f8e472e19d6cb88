"""`viaduct tag`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.cli.command import implements
from viaduct.cli.options import arguments

if TYPE_CHECKING:
    from viaduct.cli.session import Session


@implements("tag")
@arguments("SOURCE[:TAG] TARGET[:TAG]", least=2, most=2)
def command(_session: Session, /, args: tuple[str, ...]) -> None:
    """Give an image of the local store another name."""
    from viaduct import api

    api.tag_image(*args)
