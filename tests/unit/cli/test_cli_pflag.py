from __future__ import annotations

import click
import pytest

from viaduct.base.errors import UsageError
from viaduct.cli.pflag import Switch, canonical, suggestion

PARAMS = [
    Switch(["--push"], type=click.BOOL),
    Switch(["-q", "--quiet"], type=click.BOOL),
    Switch(["--secret-switch"], type=click.BOOL, hidden=True),
    click.Option(["-t", "--tag"], multiple=True),
    click.Option(["-f", "--file"]),
    click.Option(["--build-arg"], multiple=True),
    click.Option(["-h", "--help"], is_flag=True),
]


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("--push .", "--push=true -- ."),
        (". --push", "--push=true -- ."),
        ("--push=false .", "--push=false -- ."),
        ("--push=T --push=0 .", "--push=true --push=false -- ."),
        ("--build-arg -x=1 .", "--build-arg=-x=1 -- ."),
        ("--build-arg=-x=1 .", "--build-arg=-x=1 -- ."),
        ("--build-arg --push .", "--build-arg=--push -- ."),
        ("-t name .", "--tag=name -- ."),
        ("-t=name .", "--tag=name -- ."),
        ("-tname .", "--tag=name -- ."),
        ("-qt name .", "--quiet=true --tag=name -- ."),
        ("-qtname .", "--quiet=true --tag=name -- ."),
        ("-q=false .", "--quiet=false -- ."),
        ("-t a --file f -t b", "--tag=a --file=f --tag=b --"),
        ("-- --push -x", "-- --push -x"),
        ("-f - -", "--file=- -- -"),
        ("-f- -", "--file=- -- -"),
        ("--file= .", "--file= -- ."),
        ("-h", "-h --"),
    ],
)
def test_a_line_is_read_as_docker_reads_it(line: str, read: str) -> None:
    assert canonical(PARAMS, line.split()) == read.split()


def test_options_end_at_the_first_argument_where_another_command_line_begins() -> None:
    read = canonical(PARAMS, ["-q", "image", "ls", "-t", "--push"], interspersed=False)
    assert read == ["--quiet=true", "--", "image", "ls", "-t", "--push"]


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("--puhs", "unknown flag: --puhs", "did you mean --push?"),
        ("--zzzzz", "unknown flag: --zzzzz", ""),
        ("-z", "unknown shorthand flag: 'z' in -z", ""),
        ("-push", "unknown shorthand flag: 'p' in -push", "did you mean --push?"),
        ("--tag", "flag needs an argument: --tag", ""),
        ("-qt", "flag needs an argument: 't' in -qt", ""),
        ("--push=maybe", 'invalid argument "maybe" for "--push" flag: expected true or false', ""),
        ("-q=", 'invalid argument "" for "-q, --quiet" flag: expected true or false', ""),
    ],
)
def test_what_cannot_be_read_is_told_in_the_peers_words(line: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        canonical(PARAMS, line.split())
    assert (caught.value.what, caught.value.hint) == (message, hint)


def test_a_half_typed_line_loses_only_what_cannot_be_read() -> None:
    assert canonical(PARAMS, ["--nope", "-q", "x", "--tag"], lenient=True) == [
        "--quiet=true",
        "--",
        "x",
    ]


def test_suggestions_need_some_resemblance() -> None:
    assert suggestion("biuld", ["build", "run"]) == "did you mean build?"
    assert suggestion("frobnicate", ["build", "run"]) == ""


def test_hidden_options_are_not_suggested() -> None:
    with pytest.raises(UsageError) as caught:
        canonical(PARAMS, ["--secret-swich"])
    assert caught.value.hint == ""
