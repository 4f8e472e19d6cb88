"""How commands declare their options: switches, texts, repeated texts and positional arguments.

What a value means is decided where it is used, not here; an option is text until then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from viaduct.cli.pflag import Option

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

F = TypeVar("F", bound="Callable[..., Any]")

#: Where a function keeps what was declared for it, the last first.
_DECLARED = "declared"


class Arguments(NamedTuple):
    """The positional arguments of a command, written as `usage` in help: at least `least`, at most
    `most` (None: any number). Completion offers files, or `directories` only."""

    usage: str = ""
    least: int = 0
    most: int | None = None
    directories: bool = False

    def complaint(self, count: int) -> str:
        """What is wrong with `count` arguments, in Docker's words; empty for nothing."""
        least, most = self.least, self.most
        if count >= least and (most is None or count <= most):
            return ""
        if most == 0:
            return "accepts no arguments"
        if least == most:
            return f"requires {least} argument{'s'[: least != 1]}"
        if most is None:
            return f"requires at least {least} argument{'s'[: least != 1]}"
        if least == 0:
            return f"requires at most {most} argument{'s'[: most != 1]}"
        return f"requires between {least} and {most} arguments"


def switch(
    *names: str,
    help: str,  # noqa: A002 - the word for it
    hidden: bool = False,
    default: bool = False,
    keyword: str = "",
) -> Callable[[F], F]:
    """A boolean option; `keyword` is what the function calls it, where its name will not do."""
    value = "true" if default else ""
    return _declaring(
        Option(names, help, switch=True, default=value, hidden=hidden, keyword=keyword)
    )


def text(
    *names: str,
    help: str,  # noqa: A002 - the word for it
    metavar: str = "string",
    default: str = "",
    hidden: bool = False,
    path: bool = False,
    choices: Sequence[str] = (),
) -> Callable[[F], F]:
    """An option with one value; the last one given counts. `path` completes file names, `choices`
    completes words (what is allowed is checked where the value is used)."""
    return _declaring(
        Option(
            names,
            help,
            metavar,
            default=default,
            hidden=hidden,
            path=path,
            choices=tuple(choices),
        )
    )


def texts(
    *names: str,
    help: str,  # noqa: A002 - the word for it
    metavar: str = "string",
    hidden: bool = False,
    path: bool = False,
    choices: Sequence[str] = (),
) -> Callable[[F], F]:
    """An option that may be repeated."""
    return _declaring(
        Option(names, help, metavar, many=True, hidden=hidden, path=path, choices=tuple(choices))
    )


def arguments(
    usage: str, *, least: int = 0, most: int | None = None, directories: bool = False
) -> Callable[[F], F]:
    """The positional arguments, as a tuple called `args`."""
    return _declaring(Arguments(usage, least, most, directories))


def declared(function: Callable[..., object]) -> tuple[tuple[Option, ...], Arguments]:
    """What the decorators above it say of `function`, from top to bottom."""
    found = reversed(function.__dict__.get(_DECLARED, ()))
    options = []
    positional = Arguments(most=0)
    for one in found:
        if isinstance(one, Arguments):
            positional = one
        else:
            options.append(one)
    return tuple(options), positional


def _declaring(one: Option | Arguments) -> Callable[[F], F]:
    def note(function: F) -> F:
        function.__dict__.setdefault(_DECLARED, []).append(one)
        return function

    return note


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

# Options that every command takes, as docker's plugins do.
HELP = Option(("-h", "--help"), "Show this message and exit", switch=True)
BUILDER = Option(("--builder",), "Use this builder instead of the current one", metavar="name")
DEBUG = Option(("-D", "--debug"), "Show debug output, and tracebacks of errors", switch=True)
GLOBAL = (HELP, BUILDER, DEBUG)
