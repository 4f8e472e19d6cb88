"""`viaduct tag`."""

from __future__ import annotations

import click

from viaduct.cli.command import Command
from viaduct.cli.options import arguments


@click.command("tag", cls=Command)
@arguments("SOURCE[:TAG] TARGET[:TAG]", least=2, most=2)
def command(args: tuple[str, ...]) -> None:
    """Give an image of the local store another name."""
    from viaduct import api

    api.tag_image(*args)
