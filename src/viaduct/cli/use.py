"""`viaduct use`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.cli import builder_options
from viaduct.cli.command import implements
from viaduct.cli.options import arguments, switch

if TYPE_CHECKING:
    from viaduct.cli.session import Session


@implements("use")
@switch("--default", help="Make it the default of the current context")
@switch("--global", keyword="everywhere", help="Keep it when the context changes")
@arguments("NAME", most=1)
def command(session: Session, /, args: tuple[str, ...], *, default: bool, everywhere: bool) -> None:
    """Choose the builder that commands use from now on."""
    from viaduct.engine.builders import Builders

    # Whatever is chosen stays so for all contexts, which is what both options ask for in part.
    del default
    name = builder_options.chosen(session, args)
    Builders.of(session.env).use(name, everywhere=everywhere)
