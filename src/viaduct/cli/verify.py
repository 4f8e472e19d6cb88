"""`viaduct verify`: is an image what it claims to be; status 1 when it is not.

Nothing is changed, here or in the registry.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

from viaduct.cli import transfer
from viaduct.cli.command import implements
from viaduct.cli.failure import Leave
from viaduct.cli.options import arguments, switch, texts
from viaduct.cli.out import echo

if TYPE_CHECKING:
    from viaduct.base.events import Event, Sink
    from viaduct.cli.session import Session

_HELP = """\
Check that an image is complete, and made of programs for the platforms that it names.

REFERENCE is in a registry, an oci-layout://DIRECTORY[:TAG], or with --local in the local store.
Ends with status 1 when something is wrong."""

# What takes no longer than this needs no progress.
_PATIENCE = 1.0


@implements("verify", help=_HELP)
@texts("--allow-foreign", metavar="pattern", help="Files that may be of any machine; * matches /")
@switch("--json", help="Print what was found as JSON")
@switch("--local", help="REFERENCE is a name or id in the local store")
@texts("--platform", metavar="platform", help="Exactly these have to be there, a list or repeated")
@transfer.declare
@arguments("REFERENCE", least=1, most=1)
def command(
    session: Session,
    /,
    args: tuple[str, ...],
    *,
    allow_foreign: tuple[str, ...],
    json: bool,
    local: bool,
    platform: tuple[str, ...],
    progress: str,
    registry_insecure: tuple[str, ...],
    registry_mirror: tuple[str, ...],
) -> None:
    from viaduct import api
    from viaduct.cli import values, verified
    from viaduct.engine.verify import VerifyRequest
    from viaduct.oci import platform as platforms

    request = VerifyRequest(
        args[0],
        platforms=platforms.parse_list(platform),
        allow_foreign=allow_foreign,
        local=local,
        registries=values.registries(registry_insecure, registry_mirror),
    )
    asked = progress != "auto" or session.env.get("BUILDKIT_PROGRESS")
    mode = progress if asked or session.stderr_is_terminal else "none"
    with transfer.Transfer(session, mode, title="Verifying") as shown:
        sink = shown.sink if asked else _Patient(shown.sink)
        verdict = api.verify(request, sink=sink, stop=shown.stop)
    if json:
        echo(verified.document(verdict))
    else:
        colors = sys.stdout.isatty() and not session.env.get("NO_COLOR")
        echo(verified.text(verdict, colors=colors), nl=False)
    if not verdict.ok:
        raise Leave(1)


class _Patient:
    """A sink that keeps events to itself until they have gone on for a while."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._lock = threading.Lock()
        self._held: list[Event] = []
        self._until = time.monotonic() + _PATIENCE

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._held.append(event)
            if time.monotonic() < self._until:
                return
            held, self._held = self._held, []
            for each in held:
                self._sink(each)
