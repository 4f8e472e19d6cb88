from __future__ import annotations

import pytest

from viaduct.base.errors import UsageError
from viaduct.cli.pflag import Line, Option, read, suggestion

OPTIONS = [
    Option(("--push",), switch=True),
    Option(("-q", "--quiet"), switch=True),
    Option(("--secret-switch",), switch=True, hidden=True),
    Option(("-t", "--tag"), many=True),
    Option(("-f", "--file")),
    Option(("--build-arg",), many=True),
    Option(("-h", "--help"), switch=True),
]


def spelled(line: Line) -> list[str]:
    """A line as somebody would type it who leaves nothing open."""
    options = [
        f"{option.long}={said or 'false'}" if option.switch else f"{option.long}={said}"
        for option, said in line.given
    ]
    return [*options, "--", *line.rest]


@pytest.mark.parametrize(
    ("line", "meant"),
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
        ("-h", "--help=true --"),
    ],
)
def test_a_line_is_read_as_docker_reads_it(line: str, meant: str) -> None:
    assert spelled(read(OPTIONS, line.split())) == meant.split()


def test_the_last_word_counts_unless_all_do() -> None:
    line = read(OPTIONS, "-t a -f x --push -t b -f y --push=false".split())
    assert line.values(OPTIONS) == {
        "push": False,
        "quiet": False,
        "secret_switch": False,
        "tag": ("a", "b"),
        "file": "y",
        "build_arg": (),
        "help": False,
    }


def test_what_is_not_given_has_its_default() -> None:
    options = [Option(("--rm",), switch=True, default="true"), Option(("--call",), default="build")]
    assert read(options, []).values(options) == {"rm": True, "call": "build"}
    assert read(options, ["--rm=0"]).values(options) == {"rm": False, "call": "build"}


def test_options_end_at_the_first_argument_where_another_command_line_begins() -> None:
    line = read(OPTIONS, ["-q", "image", "ls", "-t", "--push"], interspersed=False)
    assert spelled(line) == ["--quiet=true", "--", "image", "ls", "-t", "--push"]


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
        read(OPTIONS, line.split())
    assert (caught.value.what, caught.value.hint) == (message, hint)


def test_a_half_typed_line_loses_only_what_cannot_be_read() -> None:
    line = read(OPTIONS, ["--nope", "-q", "x", "--tag"], lenient=True)
    assert spelled(line) == ["--quiet=true", "--", "x"]


def test_suggestions_need_some_resemblance() -> None:
    assert suggestion("biuld", ["build", "run"]) == "did you mean build?"
    assert suggestion("frobnicate", ["build", "run"]) == ""


def test_hidden_options_are_not_suggested() -> None:
    with pytest.raises(UsageError) as caught:
        read(OPTIONS, ["--secret-swich"])
    assert caught.value.hint == ""
