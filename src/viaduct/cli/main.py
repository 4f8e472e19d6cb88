"""The entry of the command line: what happens around every command.

Errors become text and an exit status here and nowhere else. SIGINT and SIGTERM interrupt the main
thread like Ctrl-C does, so that every `with` on the way out cleans up.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from viaduct.base.home import user_home
from viaduct.cli import commands
from viaduct.cli.command import Group
from viaduct.cli.failure import Interrupted, Leave, explain, status_of
from viaduct.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

_HELP = "Build, inspect and run container images for every architecture"

root = Group(rows=commands.ROOT, help=_HELP)


def main() -> NoReturn:
    """Run the process's command line and end the process."""
    # Starting makes many objects and no garbage, while Python would look for some after every 700.
    gc.set_threshold(50_000, 20)
    _complete_streams()
    if sys.argv and os.path.basename(sys.argv[0]) == "docker-buildx":
        # Somebody made a link of that name to us.
        from viaduct.cli import plugin

        plugin.main()
    end(run("viaduct", sys.argv[1:]))


def run(prog: str, args: Sequence[str]) -> int:
    """Carry out one command line; returns its exit status, errors are already printed."""
    # Before we become root of a user namespace, whose home is another.
    os.environ["HOME"] = str(user_home(os.environ))
    session = Session(env=dict(os.environ), prog=prog)
    if instruction := session.env.get("_VIADUCT_COMPLETE"):
        from viaduct.cli.completion import answer

        return answer(root, prog, instruction)
    _catch_signals()
    try:
        root.run(prog, args, session)
        sys.stdout.flush()
    except Leave as leave:
        return leave.status
    except BrokenPipeError:
        return 1
    except (KeyboardInterrupt, Exception) as error:  # noqa: BLE001 - the one place where errors end
        _complain(error, session)
        return status_of(error)
    return 0


def _complain(error: BaseException, session: Session) -> None:
    text = explain(error, debug=session.debug)
    if session.stderr_is_terminal:
        from viaduct.cli.terminal import visible

        text = visible(text)
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.buffer.write(text.encode(errors="surrogateescape"))
        sys.stderr.flush()


def _catch_signals() -> None:
    """The first SIGINT or SIGTERM unwinds, the second is patient, the third kills."""
    asked = 0

    def interrupt(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise Interrupted(128 + number)
        if asked >= 3:
            os._exit(128 + number)

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)


def _complete_streams() -> None:
    """Have three standard streams, whatever we were started with (`viaduct … >&-`).

    The next file that is opened would else get the number of the missing one, and our output.
    """
    while (spare := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(spare)
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8")
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8")


def end(status: int) -> NoReturn:
    """End the process.

    Everything of ours is closed by now. Taking the interpreter apart as well, module by module,
    would be a tenth of the time of a build in which nothing changed.
    """
    for stream in (sys.stdout, sys.stderr):
        # The reader may be gone.
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)
