"""`viaduct install`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from viaduct.cli.command import Command
from viaduct.cli.options import arguments, switch

if TYPE_CHECKING:
    from viaduct.cli.session import Session

_HELP = """Run Viaduct for docker buildx and docker build.

Puts a plugin where docker looks for a user's plugins. Docker passes its build commands on to it,
and needs no daemon for that. A plugin that is there already is kept; --uninstall brings it back.
"""


@click.command("install", cls=Command, help=_HELP)
@switch("--uninstall", help="Take the plugin away again")
@arguments("", most=0)
@click.pass_obj
def command(session: Session, /, args: tuple[str, ...], *, uninstall: bool) -> None:  # noqa: ARG001 - checked to be empty
    from viaduct.cli.plugin_file import PluginFile, needs_alias
    from viaduct.export import docker_context

    plugin = PluginFile(docker_context.configuration(session.env).absolute())
    if uninstall:
        restored = plugin.uninstall()
        click.echo(f"removed {plugin.path}")
        if restored:
            click.echo("the plugin that was there before is back")
        return
    version = _docker_version(session)
    kept = plugin.install(alias=needs_alias(version))
    click.echo(f"installed {plugin.path}")
    if kept:
        click.echo(f"the plugin that was there is kept as {kept}")
    if other := plugin.overridden():
        click.echo(f"WARNING: docker finds {other} first, and uses that", err=True)
    if not version:
        click.echo("NOTE: there is no docker yet: apt-get install docker.io", err=True)


def _docker_version(session: Session) -> str:
    """What docker's command line says it is; empty where there is none."""
    from viaduct.base import proc
    from viaduct.base.errors import SandboxError
    from viaduct.cli.docker_call import CALLER

    try:
        done = proc.run([session.env.get(CALLER) or "docker", "--version"], timeout=10)
    except SandboxError:
        return ""
    return done.stdout.decode(errors="replace")
