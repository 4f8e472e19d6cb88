"""Help pages: Docker's layout, one line per option."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from viaduct.cli.options import GLOBAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from viaduct.cli.commands import Row
    from viaduct.cli.pflag import Option


class Page(Protocol):
    """What has a page: `usage` is what follows the options in a line of it."""

    help: str
    options: tuple[Option, ...]

    @property
    def usage(self) -> str: ...


def usage(page: Page, path: str) -> str:
    """`viaduct build [OPTIONS] PATH | URL | -`, called as `path`."""
    return f"{path} [OPTIONS] {page.usage}".rstrip()


def command(page: Page, path: str, aliases: Sequence[str]) -> str:
    """The page of one command."""
    parts = [f"Usage:  {usage(page, path)}", page.help.strip()]
    if aliases:
        parent = path.rpartition(" ")[0]
        names = [f"{parent} {alias}".strip() for alias in aliases]
        parts.append("Aliases:\n  " + ", ".join([path, *names]))
    own, shared = _options(page)
    width = max(len(left) for left, _ in (*own, *shared))
    if own:
        parts.append("Options:\n" + _columns(own, width))
    parts.append("Global options:\n" + _columns(shared, width))
    return "\n\n".join(filter(None, parts))


def group(page: Page, path: str, rows: Sequence[Row]) -> str:
    """The page of a group: its commands under their headings."""
    parts = [f"Usage:  {usage(page, path)}", page.help.strip()]
    width = max(len(row.name) for row in rows)
    for heading in dict.fromkeys(row.heading for row in rows):
        lines = [(row.name, row.summary) for row in rows if row.heading == heading]
        parts.append(f"{heading or 'Commands'}:\n" + _columns(lines, width, indent=2))
    own, shared = _options(page)
    options = [*own, *shared]
    parts.append("Options:\n" + _columns(options, max(len(left) for left, _ in options)))
    parts.append(f"Run '{path} COMMAND --help' for more about a command.")
    return "\n\n".join(parts)


def _options(page: Page) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The visible options of the command itself, by name, and those that all commands share."""
    own = sorted(
        (option for option in page.options if not option.hidden),
        key=lambda option: max(option.names, key=len),
    )
    return [_option(option) for option in own], [_option(option) for option in GLOBAL]


def _option(option: Option) -> tuple[str, str]:
    short = next((name for name in option.names if not name.startswith("--")), "")
    left = f"{short + ',' if short else '   '} {option.long}"
    if not option.switch:
        left += f" {option.metavar}"
    return left, option.help.rstrip(".")


def _columns(rows: Iterable[tuple[str, str]], width: int, *, indent: int = 2) -> str:
    return "\n".join(f"{'':{indent}}{left:<{width}}  {right}".rstrip() for left, right in rows)
