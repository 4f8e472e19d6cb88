"""The command and group classes that everything under `viaduct` is made of.

A command line is read as pflag reads it, with global options before or after the command; help has
one line per option; commands are imported on use; typing errors are answered with suggestions.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from viaduct.base.errors import UsageError
from viaduct.cli import helptext, pflag
from viaduct.cli.failure import with_status
from viaduct.cli.misused import Misused
from viaduct.cli.options import BUILDER, DEBUG, GLOBAL, HELP, declared
from viaduct.cli.out import echo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from viaduct.cli.commands import Row
    from viaduct.cli.helptext import Page
    from viaduct.cli.pflag import Option
    from viaduct.cli.session import Session


class Command:
    """A command: `function` is called with the session, the positional arguments as `args`, and
    every option as a keyword. `aliases` are its other names; without `interspersed`, options end at
    the first argument, as where that is followed by somebody else's command line. `misused` is the
    exit status of a command line that cannot be read."""

    def __init__(
        self,
        name: str,
        function: Callable[..., None],
        *,
        help: str,  # noqa: A002 - the word for it
        aliases: Sequence[str] = (),
        interspersed: bool = True,
        misused: int = 1,
    ) -> None:
        self.name = name
        self.help = help
        self.aliases = tuple(aliases)
        self.options, self.arguments = declared(function)
        self._function = function
        self._interspersed = interspersed
        self._misused = misused

    @property
    def usage(self) -> str:
        return self.arguments.usage

    def run(self, path: str, args: Sequence[str], session: Session) -> None:
        try:
            line = _read(self, path, args, session, interspersed=self._interspersed)
            if line.last(HELP):
                echo(helptext.command(self, path, self.aliases))
                return
            if complaint := self.arguments.complaint(len(line.rest)):
                raise Misused(f"'{path}' {complaint}", self, path)
        except Misused as error:
            raise with_status(error, self._misused) from error
        self._function(session, args=tuple(line.rest), **line.values(self.options))


class Group:
    """A command whose sub-commands are rows of a table, imported when they are called."""

    options: tuple[Option, ...] = ()
    usage = "COMMAND"

    def __init__(self, *, rows: Sequence[Row], help: str) -> None:  # noqa: A002 - the word for it
        self.rows = tuple(rows)
        self.help = help

    def row(self, name: str) -> Row | None:
        """The row of the sub-command with this name or alias."""
        return next((row for row in self.rows if name in (row.name, *row.aliases)), None)

    def run(self, path: str, args: Sequence[str], session: Session) -> None:
        line = _read(self, path, args, session, interspersed=False)
        if line.last(HELP) or not line.rest:
            echo(helptext.group(self, path, self.rows))
            return
        name, *rest = line.rest
        if name == "help":
            self.run(path, [*rest, "--help"], session)
            return
        row = self.row(name)
        if row is None:
            known = [word for row in self.rows for word in (row.name, *row.aliases)]
            hint = pflag.suggestion(name, known)
            raise Misused(f'unknown command: "{name}"', self, path, hint=hint)
        load(row).run(f"{path} {row.name}", rest, session)


def load(row: Row) -> Command | Group:
    """Import the command of a row."""
    module, _, attribute = row.target.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    assert isinstance(found, (Command, Group))
    return found


def implements(
    name: str,
    *,
    help: str = "",  # noqa: A002 - the word for it
    aliases: Sequence[str] = (),
    interspersed: bool = True,
    misused: int = 1,
) -> Callable[[Callable[..., None]], Command]:
    """Make a command of the function below, whose docstring is its help unless `help` is given."""

    def made(function: Callable[..., None]) -> Command:
        text = help or function.__doc__ or ""
        return Command(
            *(name, function),
            help=text,
            aliases=aliases,
            interspersed=interspersed,
            misused=misused,
        )

    return made


def _read(
    page: Page, path: str, args: Sequence[str], session: Session, *, interspersed: bool
) -> pflag.Line:
    try:
        line = pflag.read((*page.options, *GLOBAL), args, interspersed=interspersed)
    except UsageError as error:
        raise Misused(error.what, page, path, hint=error.hint) from error
    session.builder = line.last(BUILDER) or session.builder
    session.debug = session.debug or bool(line.last(DEBUG))
    return line
