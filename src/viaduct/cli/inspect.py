"""`viaduct inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.cli import builder_options
from viaduct.cli.command import implements
from viaduct.cli.options import arguments, switch
from viaduct.cli.out import echo

if TYPE_CHECKING:
    from viaduct.cli.session import Session


@implements("inspect")
@switch("--bootstrap", help="Start the builder first")
@builder_options.timeout
@arguments("[NAME]", most=1)
def command(session: Session, /, args: tuple[str, ...], *, bootstrap: bool, timeout: str) -> None:  # noqa: ARG001 - as its help says
    """Show a builder, its nodes, and the platforms that they build for."""
    from viaduct.cli import builder_detail, builder_list
    from viaduct.engine.builders import Builders
    from viaduct.sandbox import detect

    builders = Builders.of(session.env)
    builder = builders.find(builder_options.chosen(session, args))
    if bootstrap:
        builder_options.boot(builders, builder)
    detected = detect.begin()() if builders.running(builder) else ()
    state = builder_list.observe(builders, builder, detected)
    echo(builder_detail.render(builder, state), nl=False)
