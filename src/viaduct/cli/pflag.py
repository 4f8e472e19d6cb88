"""Command lines as Go's pflag reads them, which is what fingers trained on docker expect.

Differences to click that matter: `--push=false` is allowed and `--push .` leaves the dot alone; a
value may begin with a dash (`--build-arg -x=1`); `-t=name`, `-tname` and `-qf file` work; options
stand anywhere. `canonical` rewrites an argument list so that click reads the same out of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from viaduct.base.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))


class Switch(click.Option):
    """A boolean option: `--name`, `--name=true` or `--name=false`, never `--name VALUE`.

    For click it takes a value, because only that lets `=false` through; `canonical` adds it.
    """


def canonical(
    params: Iterable[click.Parameter],
    args: Sequence[str],
    *,
    interspersed: bool = True,
    lenient: bool = False,
) -> list[str]:
    """`args` with every option spelled `--long=value` and the positional arguments after `--`.

    Without `interspersed` the first positional argument ends the options, and everything from it
    on is passed through. Raises `UsageError` for unknown options and missing values; `lenient`
    drops those instead, for completing a half-typed line.
    """
    flags = {
        name: param
        for param in params
        if isinstance(param, click.Option)
        for name in (*param.opts, *param.secondary_opts)
    }
    options: list[str] = []
    rest: list[str] = []
    queue = list(args)
    while queue:
        arg = queue.pop(0)
        if arg == "--":
            rest += queue
            break
        if not arg.startswith("-") or arg == "-":
            if not interspersed:
                rest = [arg, *queue]
                break
            rest.append(arg)
            continue
        try:
            read = _long if arg.startswith("--") else _short
            options += read(flags, arg, queue)
        except UsageError:
            if not lenient:
                raise
    return [*options, "--", *rest]


def _long(flags: dict[str, click.Option], arg: str, queue: list[str]) -> list[str]:
    name, equals, value = arg.partition("=")
    option = flags.get(name)
    if option is None:
        raise UsageError(f"unknown flag: {name}", hint=suggestion(name, _visible(flags)))
    if isinstance(option, Switch):
        return [_switched(option, value if equals else "true")]
    if option.is_flag:
        return [name]
    if not equals:
        if not queue:
            raise UsageError(f"flag needs an argument: {name}")
        value = queue.pop(0)
    return [f"{_long_name(option)}={value}"]


def _short(flags: dict[str, click.Option], arg: str, queue: list[str]) -> list[str]:
    """One dash: a bundle of switches of which the last letter may take a value."""
    out: list[str] = []
    letters = arg[1:]
    while letters:
        name, letters = f"-{letters[0]}", letters[1:]
        option = flags.get(name)
        if option is None:
            raise UsageError(
                f"unknown shorthand flag: '{name[1:]}' in {arg}",
                hint=suggestion(f"-{arg}", _visible(flags)) if len(arg) > 2 else "",
            )
        if isinstance(option, Switch):
            if letters.startswith("="):
                out.append(_switched(option, letters[1:]))
                letters = ""
            else:
                out.append(_switched(option, "true"))
        elif option.is_flag:
            out.append(name)
        else:
            if letters:
                value = letters.removeprefix("=")
            elif queue:
                value = queue.pop(0)
            else:
                raise UsageError(f"flag needs an argument: '{name[1:]}' in {arg}")
            out.append(f"{_long_name(option)}={value}")
            letters = ""
    return out


def _switched(option: click.Option, value: str) -> str:
    if value in _TRUE:
        return f"{_long_name(option)}=true"
    if value in _FALSE:
        return f"{_long_name(option)}=false"
    names = ", ".join(sorted(option.opts, key=len))
    raise UsageError(f'invalid argument "{value}" for "{names}" flag: expected true or false')


def _long_name(option: click.Option) -> str:
    return next(name for name in option.opts if name.startswith("--"))


def _visible(flags: dict[str, click.Option]) -> list[str]:
    return [name for name, option in flags.items() if name.startswith("--") and not option.hidden]


def suggestion(word: str, known: Iterable[str]) -> str:
    """`did you mean X?` for a word that resembles a known one, else nothing."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else ""
