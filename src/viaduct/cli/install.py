"""`viaduct install`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.cli.command import implements
from viaduct.cli.options import arguments, switch
from viaduct.cli.out import echo

if TYPE_CHECKING:
    from viaduct.cli.session import Session

_HELP = """Run Viaduct for docker buildx and docker build.

Puts a plugin where docker looks for a user's plugins. Docker passes its build commands on to it,
and needs no daemon for that. A plugin that is there already is kept; --uninstall brings it back.
"""


@implements("install", help=_HELP)
@switch("--uninstall", help="Take the plugin away again")
@arguments("", most=0)
def command(session: Session, /, args: tuple[str, ...], *, uninstall: bool) -> None:  # noqa: ARG001 - checked to be empty
    from viaduct.cli.plugin_file import PluginFile, needs_alias
    from viaduct.export import docker_context

    plugin = PluginFile(docker_context.configuration(session.env).absolute())
    if uninstall:
        restored = plugin.uninstall()
        echo(f"removed {plugin.path}")
        if restored:
            echo("the plugin that was there before is back")
        return
    version = _docker_version(session)
    kept = plugin.install(alias=needs_alias(version))
    echo(f"installed {plugin.path}")
    if kept:
        echo(f"the plugin that was there is kept as {kept}")
    if other := plugin.overridden():
        echo(f"WARNING: docker finds {other} first, and uses that", err=True)
    if not version:
        echo("NOTE: there is no docker yet: apt-get install docker.io", err=True)


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
