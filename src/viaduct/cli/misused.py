"""Command lines that cannot be read, and what their author is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.base.errors import UsageError
from viaduct.cli import helptext

if TYPE_CHECKING:
    import click


class Misused(UsageError):
    """A command line that cannot be read; `usage` is the command's usage line."""

    def __init__(self, what: str, ctx: click.Context, *, hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.usage = helptext.usage(ctx)
        self.command_path = ctx.command_path


def misused(error: UsageError | click.UsageError, ctx: click.Context) -> Misused:
    """Any complaint about the command line, joined to the command that it was for."""
    if isinstance(error, Misused):
        return error
    if isinstance(error, UsageError):
        return Misused(error.what, ctx, hint=error.hint)
    return Misused(error.format_message().rstrip("."), error.ctx or ctx)
