"""How commands declare their options: switches, texts, repeated texts and positional arguments.

What a value means is decided where it is used, not here; an option is text until then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from viaduct.cli import pflag
from viaduct.cli.misused import Misused
from viaduct.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

F = TypeVar("F", bound="Callable[..., Any] | click.Command")


def switch(*names: str, help: str, hidden: bool = False, default: bool = False) -> Callable[[F], F]:  # noqa: A002 - click's word
    """A boolean option (see `pflag.Switch`)."""
    return click.option(
        *names, cls=pflag.Switch, type=click.BOOL, default=default, help=help, hidden=hidden
    )


def text(
    *names: str,
    help: str,  # noqa: A002 - click's word
    metavar: str = "string",
    default: str = "",
    hidden: bool = False,
    path: bool = False,
    choices: Sequence[str] = (),
) -> Callable[[F], F]:
    """An option with one value; the last one given counts. `path` completes file names, `choices`
    completes words (what is allowed is checked where the value is used)."""
    return click.option(
        *names,
        type=_type(path=path, choices=choices),
        default=default,
        help=help,
        metavar=metavar,
        hidden=hidden,
    )


def texts(
    *names: str,
    help: str,  # noqa: A002 - click's word
    metavar: str = "string",
    hidden: bool = False,
    path: bool = False,
    choices: Sequence[str] = (),
) -> Callable[[F], F]:
    """An option that may be repeated."""
    return click.option(
        *names,
        type=_type(path=path, choices=choices),
        multiple=True,
        help=help,
        metavar=metavar,
        hidden=hidden,
    )


def arguments(
    usage: str, *, least: int = 0, most: int | None = None, directories: bool = False
) -> Callable[[F], F]:
    """The positional arguments as a tuple called `args`, written as `usage` in help.

    Fewer than `least` or more than `most` are refused in Docker's words. Completion offers files,
    or `directories` only.
    """

    def check(ctx: click.Context, _param: click.Parameter, args: tuple[str, ...]) -> object:
        if ctx.resilient_parsing:
            return args
        if len(args) < least or (most is not None and len(args) > most):
            raise Misused(f"'{ctx.command_path}' {_count(least, most)}", ctx)
        return args

    return click.argument(
        "args", nargs=-1, metavar=usage, callback=check, type=click.Path(file_okay=not directories)
    )


def _count(least: int, most: int | None) -> str:
    if most == 0:
        return "accepts no arguments"
    if least == most:
        return f"requires {least} argument{'s'[: least != 1]}"
    if most is None:
        return f"requires at least {least} argument{'s'[: least != 1]}"
    if least == 0:
        return f"requires at most {most} argument{'s'[: most != 1]}"
    return f"requires between {least} and {most} arguments"


def _type(*, path: bool, choices: Sequence[str]) -> click.ParamType[Any]:
    if path:
        return click.Path()
    return _Suggested(choices) if choices else click.STRING


class _Suggested(click.types.StringParamType):
    """Any text; completion offers the usual words."""

    name = "text"

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,
        incomplete: str,
    ) -> list[Any]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(word) for word in self.words if word.startswith(incomplete)]


def _remember(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        session = ctx.find_object(Session)
        if session is not None and value:
            setattr(session, name, value)

    return callback


# Options that several commands have.
PROGRESS = text(
    "--progress",
    default="auto",
    metavar="mode",
    choices=("auto", "none", "plain", "quiet", "rawjson", "tty"),
    help="Progress: auto (default), plain, tty, rawjson, quiet, none",
)
REGISTRY_INSECURE = texts(
    "--registry-insecure", metavar="host", help="Allow http and unverified TLS for a registry"
)
REGISTRY_MIRROR = texts(
    "--registry-mirror", metavar="host=url", help="Pull from a mirror of this registry"
)

#: Options that every command takes, as docker's plugins do.
GLOBAL: tuple[click.Option, ...] = (
    click.Option(
        ["--builder"],
        help="Use this builder instead of the current one",
        metavar="name",
        expose_value=False,
        callback=_remember("builder"),
    ),
    pflag.Switch(
        ["-D", "--debug"],
        type=click.BOOL,
        default=False,
        help="Show debug output, and tracebacks of errors",
        expose_value=False,
        callback=_remember("debug"),
    ),
)
