"""`viaduct ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.cli import builder_options
from viaduct.cli.command import implements
from viaduct.cli.options import arguments, switch, text
from viaduct.cli.out import echo

if TYPE_CHECKING:
    from viaduct.cli.session import Session


@implements("ls")
@text("--format", metavar="format", choices=("table", "json"),
      help="Print a table, json, or this Go template")  # fmt: skip
@switch("--no-trunc", help="Show every platform")
@builder_options.timeout
@arguments("", most=0)
def command(
    session: Session,
    /,
    args: tuple[str, ...],  # noqa: ARG001 - checked to be empty
    *,
    format: str,  # noqa: A002 - the option's name
    no_trunc: bool,
    timeout: str,  # noqa: ARG001 - as its help says
) -> None:
    """List the builders and what they build for."""
    from viaduct.sandbox import detect

    # The emulators start while the rest of this command does.
    platforms = detect.begin()

    from viaduct.cli import builder_list
    from viaduct.engine.builders import Builders

    builders = Builders.of(session.env)
    every = list(builders.all())
    detected = platforms()
    states = [builder_list.observe(builders, one, detected) for one in every]
    echo(builder_list.render(states, form=format, no_trunc=no_trunc), nl=False)
    complaints = builder_list.complaints(states)
    if complaints and builder_list.is_table(format):
        echo("\n" + "\n".join(complaints), err=True)
