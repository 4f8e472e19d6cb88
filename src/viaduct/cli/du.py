"""`viaduct du`."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from viaduct.base.errors import SandboxError, UsageError
from viaduct.cli import builder_options
from viaduct.cli.command import implements
from viaduct.cli.options import arguments, switch, text, texts
from viaduct.cli.out import echo

if TYPE_CHECKING:
    from viaduct.cli.session import Session


@implements("du")
@texts("--filter", metavar="condition", help="Only records with: type=regular, until=24h, inuse, …")
@text("--format", metavar="template", help="Print 'table', 'pretty', 'json', or this Go template")
@builder_options.timeout
@switch("--verbose", help="Show all that is known of every record")
@arguments("", most=0)
def command(
    session: Session,
    /,
    args: tuple[str, ...],  # noqa: ARG001 - checked to be empty
    *,
    filter: tuple[str, ...],  # noqa: A002 - the option's name
    format: str,  # noqa: A002 - the option's name
    timeout: str,  # noqa: ARG001 - as its help says
    verbose: bool,
) -> None:
    """Show what the build cache holds."""
    from viaduct import api
    from viaduct.cli import cache_filters, usage_list
    from viaduct.sandbox import enter

    builder_options.check(session)
    if format and verbose:
        raise UsageError("--format and --verbose cannot be used together")
    conditions, age = cache_filters.read(filter)
    # What steps wrote as other users can be measured only inside; without, the rest.
    with contextlib.suppress(SandboxError):
        enter.enter()
    now = time.time()
    records = [
        record
        for record in api.disk_usage()
        if record.last_used <= now - age
        and all(condition.matches(record) for condition in conditions)
    ]
    form = "pretty" if verbose else format
    echo(usage_list.render(records, now, form=form, filtered=bool(filter)), nl=False)
