"""Instructions as values: flags, JSON forms, pairs, descriptions; and other front ends."""

from __future__ import annotations

from typing import Any

import pytest

from viaduct.base.errors import DockerfileError
from viaduct.base.spans import Source
from viaduct.dockerfile.frontend import requested_frontend
from viaduct.dockerfile.parse import parse
from viaduct.dockerfile.syntax import Arg, CommandLine, CopyAdd, Env, Instruction, Label, Volume


def first(text: str) -> Any:
    return parse(Source("Dockerfile", f"FROM scratch\n{text}\n")).stages[0].instructions[0]


@pytest.mark.parametrize(
    ("text", "args", "json"),
    [
        ('CMD ["a","b"]', ["a", "b"], True),
        ('CMD [ "a" , "b c" ]', ["a", "b c"], True),
        ('CMD  ["a"]  ', ["a"], True),
        ("CMD []", [], True),
        ('CMD ["\\u0041\\n\\"\\\\"]', ['A\n"\\'], True),
        ('CMD ["\\ud83d\\ude00"]', ["😀"], True),
        ('CMD ["\\ud83d"]', ["\ufffd"], True),
        ('CMD ["$X"]', ["$X"], True),
        ('CMD ["a", "b",]', ['["a", "b",]'], False),
        ("CMD ['a']", ["['a']"], False),
        ('CMD ["a"', ['["a"'], False),
        ('CMD ["a"] b', ['["a"] b'], False),
        ('CMD ["a\\qb"]', ['["a\\qb"]'], False),
        ("CMD a  'b c'", ["a  'b c'"], False),
        ("CMD", [], False),
        ('RUN --network=none ["a"]', ["a"], True),
        ("RUN -- --x", ["--x"], False),
        ("RUN --network=none -- ls", ["ls"], False),
    ],
)
def test_shell_and_exec_forms(text: str, args: list[str], json: bool) -> None:
    found = first(text)
    assert isinstance(found, CommandLine)
    assert [word.text for word in found.args] == args
    assert found.json is json


@pytest.mark.parametrize("value", ['["a", 1]', "[null]", '[["a"]]', "[1]"])
@pytest.mark.parametrize("name", ["CMD", "RUN", "COPY", "VOLUME"])
def test_json_arrays_hold_strings_only(name: str, value: str) -> None:
    with pytest.raises(DockerfileError, match="arrays must be comprised of strings only"):
        first(f"{name} {value}")


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        (
            "RUN --mount=type=cache,target=/a --mount=target=/b x",
            {"mount": ["type=cache,target=/a", "target=/b"]},
        ),
        ('RUN --mount="type=cache,target=/a b" x', {"mount": ["type=cache,target=/a b"]}),
        ("RUN --mount=type=cache,target=/a\\ b x", {"mount": ["type=cache,target=/a b"]}),
        ("COPY --link --chown=a:b x y", {"link": [""], "chown": ["a:b"]}),
        (
            "COPY --link=false --exclude=*.a --exclude=b x y",
            {"link": ["false"], "exclude": ["*.a", "b"]},
        ),
    ],
)
def test_flags(text: str, flags: dict[str, list[str]]) -> None:
    found = first(text)
    assert isinstance(found, Instruction)
    assert {flag.name: list(found.flag_values(flag.name)) for flag in found.flags} == flags


@pytest.mark.parametrize(
    ("text", "sources", "dest"),
    [
        ("COPY a b c/", ["a", "b"], "c/"),
        ('COPY "a b" c', ['"a', 'b"'], "c"),
        ('COPY ["a b", "c"]', ["a b"], "c"),
        ("ADD https://example.com/x y", ["https://example.com/x"], "y"),
        ("COPY a <<E c/\nx\nE", ["a"], "c/"),
    ],
)
def test_copies(text: str, sources: list[str], dest: str) -> None:
    found = first(text)
    assert isinstance(found, CopyAdd)
    assert [word.text for word in found.sources] == sources
    assert found.dest.text == dest
    assert found.is_add == text.startswith("ADD")


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a=b", [("a", "b")]),
        (
            "a=b c='d e' f=\"g h\" i=j\\ k",
            [("a", "b"), ("c", "'d e'"), ("f", '"g h"'), ("i", "j\\ k")],
        ),
        ("a= b=", [("a", ""), ("b", "")]),
        ("a=b=c", [("a", "b=c")]),
        ("a b  c ", [("a", "b  c")]),
        ("a\tb=c", [("a", "b=c")]),
        ("a=$b", [("a", "$b")]),
        ("a='b", [("a", "'b")]),
    ],
)
def test_pairs_keep_their_quotes_until_they_are_expanded(
    text: str, pairs: list[tuple[str, str]]
) -> None:
    for name, kind in (("ENV", Env), ("LABEL", Label)):
        found = first(f"{name} {text}")
        assert isinstance(found, kind)
        assert [(pair.key.text, pair.value.text) for pair in found.pairs] == pairs


def test_volumes_are_trimmed() -> None:
    found = first('VOLUME [" /a ", "/b"]')
    assert isinstance(found, Volume)
    assert [word.text for word in found.paths] == ["/a", "/b"]


def test_comments_describe_stages_and_arguments() -> None:
    text = (
        "# VERSION is the release\n# other words\nARG VERSION=1\n"
        "# a comment\n\n# build compiles\nFROM scratch AS build\n"
        "# A first\n# B second\nARG A B\n"
        "# C is parted\n#\nARG C\n"
    )
    document = parse(Source("Dockerfile", text))
    assert document.global_args[0].pairs[0].doc == "is the release"
    assert document.stages[0].doc == "compiles"
    docs = {}
    for one in document.stages[0].instructions:
        assert isinstance(one, Arg)
        docs.update({pair.key.text: pair.doc for pair in one.pairs})
    assert docs == {"A": "first", "B": "second", "C": ""}


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("FROM scratch", None),
        ("# syntax=docker/dockerfile:1\nFROM scratch", "docker/dockerfile:1"),
        ("#syntax = docker/dockerfile:1.7 # and more", "docker/dockerfile:1.7"),
        ("#!/usr/bin/env x\n# syntax=docker/dockerfile", "docker/dockerfile:latest"),
        ("\ufeff# syntax=docker.io/docker/dockerfile:1", "docker/dockerfile:1"),
        (
            "# syntax=docker/dockerfile-upstream:master-labs",
            "docker/dockerfile-upstream:master-labs",
        ),
        (
            "# syntax=mirror.example.com/docker/dockerfile:1",
            "mirror.example.com/docker/dockerfile:1",
        ),
        ("# syntax=docker/dockerfile:experimental", "docker/dockerfile:experimental"),
        ("# syntax=docker/dockerfile:1.0-experimental", "docker/dockerfile:1.0-experimental"),
        ("# syntax=docker/dockerfile:1.21-rc2-labs", "docker/dockerfile:1.21-rc2-labs"),
        ("# syntax=docker/dockerfile-upstream:nightly", "docker/dockerfile-upstream:nightly"),
        ("# a comment\n# syntax=nope/nope", None),
        ("FROM scratch\n# syntax=nope/nope", None),
    ],
)
def test_our_own_front_end_is_known_by_its_names(text: str, reference: str | None) -> None:
    found = requested_frontend(Source("Dockerfile", text), {})
    if reference is None:
        assert found is None
        return
    assert found is not None
    assert found.reference.removeprefix("docker.io/").removesuffix("@") in (
        reference,
        reference.removesuffix(":latest"),
    )
    assert found.labs == ("labs" in reference or "experimental" in reference)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("# syntax=example.com/other:1", {}),
        ("// syntax=example.com/other:1", {}),
        ('{"syntax": "example.com/other:1"}', {}),
        ("# syntax=docker/dockerfile:nope", {}),
        ("# syntax=docker/dockerfile:1", {"BUILDKIT_SYNTAX": "example.com/other:1 more"}),
        ("# syntax=A:B:C", {}),
    ],
)
def test_another_front_end_is_refused(text: str, arguments: dict[str, str]) -> None:
    with pytest.raises(DockerfileError, match="front end") as caught:
        requested_frontend(Source("Dockerfile", text), arguments)
    assert (caught.value.where is None) == bool(arguments)
