"""Help pages: Docker's layout, one line per option."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from viaduct.cli.pflag import Switch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from viaduct.cli.commands import Row


def usage(ctx: click.Context) -> str:
    """`viaduct build [OPTIONS] PATH | URL | -`."""
    if isinstance(ctx.command, click.Group):
        return f"{ctx.command_path} [OPTIONS] COMMAND"
    positional = [
        param.metavar or "" for param in ctx.command.params if isinstance(param, click.Argument)
    ]
    return " ".join([ctx.command_path, "[OPTIONS]", *filter(None, positional)])


def command(ctx: click.Context, aliases: Sequence[str]) -> str:
    """The page of one command."""
    parts = [f"Usage:  {usage(ctx)}", (ctx.command.help or "").strip()]
    if aliases:
        parent = ctx.parent.command_path if ctx.parent else ""
        names = [f"{parent} {alias}".strip() for alias in aliases]
        parts.append("Aliases:\n  " + ", ".join([ctx.command_path, *names]))
    own, shared = _options(ctx)
    width = max(len(left) for left, _ in (*own, *shared))
    if own:
        parts.append("Options:\n" + _columns(own, width))
    parts.append("Global options:\n" + _columns(shared, width))
    return "\n\n".join(filter(None, parts))


def group(ctx: click.Context, rows: Sequence[Row]) -> str:
    """The page of a group: its commands under their headings."""
    parts = [f"Usage:  {usage(ctx)}", (ctx.command.help or "").strip()]
    width = max(len(row.name) for row in rows)
    for heading in dict.fromkeys(row.heading for row in rows):
        lines = [(row.name, row.summary) for row in rows if row.heading == heading]
        parts.append(f"{heading or 'Commands'}:\n" + _columns(lines, width, indent=2))
    own, shared = _options(ctx)
    options = [*own, *shared]
    parts.append("Options:\n" + _columns(options, max(len(left) for left, _ in options)))
    parts.append(f"Run '{ctx.command_path} COMMAND --help' for more about a command.")
    return "\n\n".join(parts)


def _options(ctx: click.Context) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The visible options of the command itself, by name, and those that all commands share."""
    own: list[click.Option] = []
    shared: list[click.Option] = []
    for param in ctx.command.get_params(ctx):
        if isinstance(param, click.Option) and not param.hidden:
            (own if param in ctx.command.params else shared).append(param)
    own.sort(key=lambda option: max(option.opts, key=len))
    return [_option(option) for option in own], [_option(option) for option in shared]


def _option(option: click.Option) -> tuple[str, str]:
    short = next((name for name in option.opts if not name.startswith("--")), "")
    long = next(name for name in option.opts if name.startswith("--"))
    left = f"{short + ',' if short else '   '} {long}"
    if not isinstance(option, Switch) and not option.is_flag:
        left += f" {option.metavar or 'string'}"
    return left, (option.help or "").rstrip(".")


def _columns(rows: Iterable[tuple[str, str]], width: int, *, indent: int = 2) -> str:
    return "\n".join(f"{'':{indent}}{left:<{width}}  {right}".rstrip() for left, right in rows)
