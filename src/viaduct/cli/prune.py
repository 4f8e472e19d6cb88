"""`viaduct prune`."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from viaduct.base.errors import SandboxError
from viaduct.cli import builder_options
from viaduct.cli.asking import agreed
from viaduct.cli.command import implements
from viaduct.cli.options import arguments, switch, text, texts
from viaduct.cli.out import echo

if TYPE_CHECKING:
    from viaduct.cli.session import Session
    from viaduct.store.keep import Record, Rule

_SOME = "WARNING! This will remove all dangling build cache."
_ALL = "WARNING! This will remove all build cache."


@implements("prune")
@switch("-a", "--all", help="Include what tagged images have as well, and internal records")
@texts("--filter", metavar="condition", help="Only records with: type=regular, until=24h, …")
@switch("-f", "--force", help="Do not ask")
@text("--keep-storage", metavar="bytes", hidden=True, help="The old name of --reserved-space")
@text("--max-used-space", metavar="bytes", help="Free the least used until so much is left")
@text("--min-free-space", metavar="bytes", help="Free the least used until the disk has so much")
@text("--reserved-space", metavar="bytes", help="Keep so much cache in any case")
@builder_options.timeout
@switch("--verbose", help="Show all that is known of every record")
@arguments("", most=0)
def command(
    session: Session,
    /,
    args: tuple[str, ...],  # noqa: ARG001 - checked to be empty
    *,
    all: bool,  # noqa: A002 - the option's name
    filter: tuple[str, ...],  # noqa: A002 - the option's name
    force: bool,
    keep_storage: str,
    max_used_space: str,
    min_free_space: str,
    reserved_space: str,
    timeout: str,  # noqa: ARG001 - as its help says
    verbose: bool,
) -> None:
    """Remove build cache that no tagged image and no running build needs."""
    from viaduct import api
    from viaduct.cli import usage_list
    from viaduct.cli.stopping import stoppable
    from viaduct.sandbox import enter

    builder_options.check(session)
    if keep_storage:
        echo("Flag --keep-storage has been deprecated, use --reserved-space", err=True)
    rule = _rule(
        filter,
        all=all,
        max_used=max_used_space,
        min_free=min_free_space,
        reserved=reserved_space or keep_storage,
    )
    if not force and not agreed(_ALL if all else _SOME):
        return
    # Files of other users can be deleted only inside; without, the rest.
    with contextlib.suppress(SandboxError):
        enter.enter()
    shown = 0

    def show(record: Record) -> None:
        nonlocal shown
        if not shown and not verbose:
            echo(usage_list.HEADING, nl=False)
        shown += 1
        form = usage_list.pretty if verbose else usage_list.line
        echo(form(record, time.time()), nl=False)

    with stoppable() as stop:
        freed = api.prune(rule, removed=show, stop=stop)
    echo(usage_list.total(freed), nl=False)


def _rule(
    filters: tuple[str, ...],
    *,
    all: bool,  # noqa: A002 - the rule's word
    max_used: str,
    min_free: str,
    reserved: str,
) -> Rule:
    from viaduct.cli import cache_filters
    from viaduct.cli.units import parse_binary_size
    from viaduct.store.keep import Limits, Rule

    conditions, age = cache_filters.read(filters)
    return Rule(
        all=all,
        filters=(conditions,) if conditions else (),
        keep_seconds=age,
        limits=Limits(
            max_used=parse_binary_size(max_used) if max_used else 0,
            min_free=parse_binary_size(min_free) if min_free else 0,
            reserved=parse_binary_size(reserved) if reserved else 0,
        ),
    )
