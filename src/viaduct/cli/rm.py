"""`viaduct rm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.base.errors import UsageError, ViaductError
from viaduct.cli import builder_options
from viaduct.cli.command import implements
from viaduct.cli.options import arguments, switch
from viaduct.cli.out import echo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viaduct.cli.session import Session
    from viaduct.engine.builders import Builders

_WARNING = "WARNING! This will remove all builders that are not in running state."


@implements("rm")
@switch("--all-inactive", help="Remove all builders that do not run")
@switch("-f", "--force", help="Do not ask")
@switch("--keep-daemon", help="Leave the daemon alone (there is none)")
@switch("--keep-state", help="Keep the cache (always so)")
@builder_options.timeout
@arguments("[NAME...]")
def command(
    session: Session,
    /,
    args: tuple[str, ...],
    *,
    all_inactive: bool,
    force: bool,
    keep_daemon: bool,  # noqa: ARG001 - there is none
    keep_state: bool,  # noqa: ARG001 - it stays in any case
    timeout: str,  # noqa: ARG001 - as its help says
) -> None:
    """Remove builders. Their cache stays, for it belongs to the machine."""
    from viaduct.cli.asking import agreed
    from viaduct.engine.builders import Builders

    if all_inactive and args:
        raise UsageError("cannot specify builder name when --all-inactive is set")
    builders = Builders.of(session.env)
    if not all_inactive:
        _remove(builders, args or (session.builder,))
    elif force or agreed(_WARNING):
        _remove(builders, builders.inactive())


def _remove(builders: Builders, names: Sequence[str]) -> None:
    """Remove each; a failure does not spare the others."""
    failed = False
    for name in names:
        try:
            echo(f"{builders.remove(name)} removed", err=True)
        except ViaductError as error:
            failed = True
            echo(f"failed to remove {name or builders.current()}: {error.what}", err=True)
    if failed:
        raise ViaductError("failed to remove one or more builders", hint="`viaduct ls` lists them")
