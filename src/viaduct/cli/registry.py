"""`viaduct registry`: the embedded registry."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from viaduct.cli import commands
from viaduct.cli.command import Group, implements
from viaduct.cli.options import arguments, switch, text
from viaduct.cli.out import echo

if TYPE_CHECKING:
    from viaduct.cli.session import Session

command = Group(rows=commands.REGISTRY, help="Serve a registry from a directory.")


@implements("serve")
@text("--addr", default="127.0.0.1:5000", metavar="host:port",
      help="Where to listen (127.0.0.1:5000; port 0 takes a free one)")  # fmt: skip
@text("--root", path=True, metavar="path", help="Where its content lives (the store's registry)")
@switch("--allow-remote", help="Listen on addresses that other machines can reach")
@switch("-q", "--quiet", help="Do not log requests")
@arguments("", most=0)
def serve(
    session: Session,
    /,
    args: tuple[str, ...],  # noqa: ARG001 - checked to be empty
    *,
    addr: str,
    root: str,
    allow_remote: bool,
    quiet: bool,
) -> None:
    """Listen for pushes and pulls until interrupted."""
    from viaduct.base.home import state_root
    from viaduct.cli.stopping import stoppable
    from viaduct.cli.terminal import visible
    from viaduct.registry import server as registry

    def log(line: str) -> None:
        if not quiet:
            # Clients are served whether anybody reads the log or not.
            with contextlib.suppress(OSError):
                # What a client asks for is its own to choose.
                echo(visible(line), err=True)

    place = Path(root) if root else state_root(session.env) / "registry"
    server = registry.serve(addr, place, allow_remote=allow_remote, log=log)
    echo(f"serving {place} at http://{server.address}", err=True)
    with stoppable() as stop:
        server.run(stop)
