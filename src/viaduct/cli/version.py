"""`viaduct version`."""

from __future__ import annotations

import sys

import click

import viaduct
from viaduct.cli.command import Command
from viaduct.cli.options import arguments


@click.command("version", cls=Command)
@arguments("", most=0)
def command(args: tuple[str, ...]) -> None:  # noqa: ARG001 - checked to be empty
    """Show the version."""
    from viaduct.oci.platform import native

    system = sys.platform if sys.platform != "linux" else str(native())
    click.echo(f"viaduct v{viaduct.__version__} {system}")
