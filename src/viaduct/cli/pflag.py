"""Command lines as Go's pflag reads them, which is what fingers trained on docker expect.

`--push=false` is allowed and `--push .` leaves the dot alone; a value may begin with a dash
(`--build-arg -x=1`); `-t=name`, `-tname` and `-qf file` work; options stand anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from viaduct.base.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))


class Option(NamedTuple):
    """An option. `names` are as they are typed, the one with two dashes among them.

    A `switch` is `--name`, `--name=true` or `--name=false`, never `--name VALUE`; all others take a
    value, the last one counting unless they are `many`. `default` is what it is without being
    given: for a switch, `true` or empty. `path` and `choices` are what completion offers. `keyword`
    names it in calls, where its own name is a word of Python's.
    """

    names: tuple[str, ...]
    help: str = ""
    metavar: str = "string"
    switch: bool = False
    many: bool = False
    default: str = ""
    hidden: bool = False
    path: bool = False
    choices: tuple[str, ...] = ()
    keyword: str = ""

    @property
    def long(self) -> str:
        """The name with two dashes; of several, the first."""
        return next(name for name in self.names if name.startswith("--"))

    @property
    def key(self) -> str:
        """The name as a keyword argument has it: `build_arg`."""
        return self.keyword or self.long.removeprefix("--").replace("-", "_")


class Line(NamedTuple):
    """A command line that was read: the options in their order, each with what it was given (for a
    switch, `true` or empty), and the positional arguments."""

    given: list[tuple[Option, str]]
    rest: list[str]

    def last(self, option: Option) -> str:
        """What `option` is, by its last word or its default."""
        return next((said for one, said in reversed(self.given) if one == option), option.default)

    def values(self, options: Iterable[Option]) -> dict[str, str | bool | tuple[str, ...]]:
        """What each of `options` is, as keyword arguments."""
        out: dict[str, str | bool | tuple[str, ...]] = {}
        for option in options:
            if option.many:
                out[option.key] = tuple(said for one, said in self.given if one == option)
            else:
                said = self.last(option)
                out[option.key] = bool(said) if option.switch else said
        return out


def read(
    options: Iterable[Option],
    args: Sequence[str],
    *,
    interspersed: bool = True,
    lenient: bool = False,
) -> Line:
    """Read `args` as a line with these options.

    Without `interspersed` the first positional argument ends the options, and everything from it
    on is passed through. Raises `UsageError` for unknown options and missing values; `lenient`
    drops those instead, for completing a half-typed line.
    """
    known = {name: option for option in options for name in option.names}
    line = Line([], [])
    queue = list(args)
    while queue:
        arg = queue.pop(0)
        if arg == "--":
            line.rest.extend(queue)
            break
        if not arg.startswith("-") or arg == "-":
            line.rest.append(arg)
            if not interspersed:
                line.rest.extend(queue)
                break
            continue
        try:
            line.given.extend((_long if arg.startswith("--") else _short)(known, arg, queue))
        except UsageError:
            if not lenient:
                raise
    return line


def _long(known: dict[str, Option], arg: str, queue: list[str]) -> list[tuple[Option, str]]:
    name, equals, value = arg.partition("=")
    option = known.get(name)
    if option is None:
        raise UsageError(f"unknown flag: {name}", hint=suggestion(name, _visible(known)))
    if option.switch:
        return [(option, _switched(option, value if equals else "true"))]
    if not equals:
        if not queue:
            raise UsageError(f"flag needs an argument: {name}")
        value = queue.pop(0)
    return [(option, value)]


def _short(known: dict[str, Option], arg: str, queue: list[str]) -> list[tuple[Option, str]]:
    """One dash: a bundle of switches of which the last letter may take a value."""
    out: list[tuple[Option, str]] = []
    letters = arg[1:]
    while letters:
        name, letters = f"-{letters[0]}", letters[1:]
        option = known.get(name)
        if option is None:
            raise UsageError(
                f"unknown shorthand flag: '{name[1:]}' in {arg}",
                hint=suggestion(f"-{arg}", _visible(known)) if len(arg) > 2 else "",
            )
        if option.switch:
            value = "true"
            if letters.startswith("="):
                value, letters = letters[1:], ""
            out.append((option, _switched(option, value)))
        else:
            if letters:
                value = letters.removeprefix("=")
            elif queue:
                value = queue.pop(0)
            else:
                raise UsageError(f"flag needs an argument: '{name[1:]}' in {arg}")
            out.append((option, value))
            letters = ""
    return out


def _switched(option: Option, value: str) -> str:
    if value in _TRUE:
        return "true"
    if value in _FALSE:
        return ""
    names = ", ".join(sorted(option.names, key=len))
    raise UsageError(f'invalid argument "{value}" for "{names}" flag: expected true or false')


def _visible(known: dict[str, Option]) -> list[str]:
    return [name for name, option in known.items() if name.startswith("--") and not option.hidden]


def suggestion(word: str, known: Iterable[str]) -> str:
    """`did you mean X?` for a word that resembles a known one, else nothing."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else ""
