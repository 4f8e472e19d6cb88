"""Command lines that cannot be read, and what their author is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.base.errors import UsageError
from viaduct.cli import helptext

if TYPE_CHECKING:
    from viaduct.cli.helptext import Page


class Misused(UsageError):
    """A command line that cannot be read; `usage` is the usage line of the command `called`, which
    was called as `path`."""

    def __init__(self, what: str, called: Page, path: str, *, hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.usage = helptext.usage(called, path)
        self.command_path = path
