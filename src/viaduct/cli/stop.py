"""`viaduct stop`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.cli import builder_options
from viaduct.cli.command import implements
from viaduct.cli.options import arguments

if TYPE_CHECKING:
    from viaduct.cli.session import Session


@implements("stop")
@arguments("[NAME]", most=1)
def command(session: Session, /, args: tuple[str, ...]) -> None:
    """Stop a builder. The next build that uses it starts it again."""
    from viaduct.engine.builders import Builders

    Builders.of(session.env).stop(builder_options.chosen(session, args))
