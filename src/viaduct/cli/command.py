"""The command and group classes that everything under `viaduct` is made of.

They add to click: command lines as pflag reads them, global options before or after the command,
help in one line per option, commands that are imported on use, and suggestions for typing errors.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import click

from viaduct.base.errors import UsageError
from viaduct.cli import helptext, pflag
from viaduct.cli.misused import Misused, misused
from viaduct.cli.options import GLOBAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viaduct.cli.commands import Row

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Command(click.Command):
    """A command of ours. `aliases` are its other names; without `interspersed`, options end at the
    first argument, as where that is followed by somebody else's command line."""

    def __init__(
        self,
        *args: Any,
        aliases: Sequence[str] = (),
        interspersed: bool = True,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("context_settings", _CONTEXT)
        super().__init__(*args, **kwargs)
        self.aliases = tuple(aliases)
        self._interspersed = interspersed

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *GLOBAL]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        lenient = ctx.resilient_parsing
        try:
            words = pflag.canonical(
                self.get_params(ctx), args, interspersed=self._interspersed, lenient=lenient
            )
            return super().parse_args(ctx, words)
        except (UsageError, click.UsageError) as error:
            raise misused(error, ctx) from error

    def get_help(self, ctx: click.Context) -> str:
        return helptext.command(ctx, self.aliases)


class Group(click.Group):
    """A command whose sub-commands are rows of a table, imported when they are called."""

    def __init__(self, *args: Any, rows: Sequence[Row], **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", _CONTEXT)
        super().__init__(*args, **kwargs)
        self.rows = tuple(rows)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *GLOBAL]

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [row.name for row in self.rows]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for row in self.rows:
            if cmd_name == row.name or cmd_name in row.aliases:
                module, _, attribute = row.target.partition(":")
                found = getattr(importlib.import_module(module), attribute)
                assert isinstance(found, click.Command)
                return found
        return None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        lenient = ctx.resilient_parsing
        try:
            args = pflag.canonical(self.get_params(ctx), args, interspersed=False, lenient=lenient)
            return super().parse_args(ctx, args)
        except (UsageError, click.UsageError) as error:
            raise misused(error, ctx) from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        found = self.get_command(ctx, args[0])
        if found is None:
            if ctx.resilient_parsing:
                return None, None, args[1:]
            known = [name for row in self.rows for name in (row.name, *row.aliases)]
            raise Misused(
                f'unknown command: "{args[0]}"', ctx, hint=pflag.suggestion(args[0], known)
            )
        return found.name, found, args[1:]

    def get_help(self, ctx: click.Context) -> str:
        return helptext.group(ctx, self.rows)
