"""`viaduct run`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from viaduct.base.errors import ViaductError
from viaduct.cli import transfer
from viaduct.cli.command import implements
from viaduct.cli.failure import Interrupted, Leave, with_status
from viaduct.cli.options import arguments, switch, text, texts
from viaduct.cli.out import echo

if TYPE_CHECKING:
    from viaduct.base.events import Event
    from viaduct.cli.session import Session
    from viaduct.engine.container import RunRequest
    from viaduct.engine.images import Variant
    from viaduct.sandbox.runtime import Exit

#: What docker's users know as "the program never ran": no status of the program's own.
_NOT_RUN = 125


@implements("run", interspersed=False, misused=_NOT_RUN)
@switch("-d", "--detach", hidden=True, help="There is no daemon")
@texts("--entrypoint", metavar="program", help="Run this instead of the image's ENTRYPOINT")
@texts("-e", "--env", metavar="k[=v]", help="Set an environment variable, or take it from here")
@texts("--env-file", metavar="path", path=True, help="Read environment variables from a file")
@text("--hostname", metavar="name", help="Host name of the container")
@switch("-i", "--interactive", help="Pass standard input on to the program")
@text("--name", metavar="name", hidden=True, help="Accepted: a container ends with the command")
@text("--network", default="host", metavar="mode", choices=("host", "none"),
      help="Network: host (default) or none")  # fmt: skip
@text("--platform", metavar="platform", help="Platform of the image, by default this machine's")
@texts("-p", "--publish", hidden=True, help="The network is the machine's own")
@text("--pull", default="missing", metavar="when", choices=("always", "missing", "never"),
      help="Ask the registry: missing (default), always or never")  # fmt: skip
@switch("--read-only", help="Let the program write to volumes and /dev/shm only")
@switch("--rm", default=True, help="Keep nothing of the container, as is always done")
@switch("-t", "--tty", help="Give the program this terminal")
@text("-u", "--user", metavar="user[:group]", help="User, by name or number, instead of USER")
@texts("-v", "--volume", metavar="path:path[:ro]", help="Show a file or directory of this machine")
@text("-w", "--workdir", metavar="path", help="Working directory instead of WORKDIR")
@transfer.declare
@arguments("IMAGE [COMMAND] [ARG...]", least=1)
def command(
    session: Session,
    /,
    args: tuple[str, ...],
    *,
    name: str,  # noqa: ARG001 - nothing is left to be called by it
    rm: bool,  # noqa: ARG001 - nothing is ever kept
    progress: str,
    **given: Any,
) -> None:
    """Run a command in an image of any platform; ends with its status (125: it did not run)."""
    from viaduct.cli.run_call import RunFlags, read
    from viaduct.sandbox import enter

    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    try:
        flags = RunFlags(**given)
        request = read(flags, args, session.env, terminal=terminal)
        # Before the display's thread exists: a process with threads cannot enter a user namespace.
        enter.enter()
        ended = _run(request, session, progress, stdin=0 if flags.interactive else None)
    except Interrupted as interrupted:
        raise Leave(interrupted.status) from interrupted
    except ViaductError as error:
        raise with_status(error, _NOT_RUN) from error
    if ended.hint:
        echo(f"hint: {ended.hint}", err=True)
    raise Leave(ended.status)


def _run(request: RunRequest, session: Session, progress: str, *, stdin: int | None) -> Exit:
    from viaduct import api
    from viaduct.base.events import Warned

    with transfer.Transfer(session, progress, title="Pulling") as work:
        warnings: list[str] = []

        def sink(event: Event) -> None:
            if isinstance(event, Warned):
                warnings.append(event.text)
            else:
                work.sink(event)

        def ready(variant: Variant) -> None:
            # The terminal is the program's from here on.
            work.close()
            for text in warnings:
                echo(f"WARNING: {text}", err=True)
            _warn(request, variant)

        return api.run(request, sink, stop=work.stop, stdin=stdin, ready=ready)


def _warn(request: RunRequest, variant: Variant) -> None:
    from viaduct.oci import platform as platforms

    native = platforms.native()
    if request.platform is None and platforms.best(native, [variant.platform]) is None:
        echo(
            f"WARNING: The requested image's platform ({variant.platform}) does not match the "
            f"detected host platform ({native}) and no specific platform was requested",
            err=True,
        )
