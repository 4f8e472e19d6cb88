"""Physical lines become logical lines: directives, comments, continuations, here-documents."""

from __future__ import annotations

import pytest

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile.lex import MAX_LINE
from viaduct.dockerfile.parse import decode, parse
from viaduct.dockerfile.syntax import Document, Env, Run


def read(text: str | bytes) -> Document:
    return parse(decode(text if isinstance(text, bytes) else text.encode()))


def codes(text: str | bytes) -> list[str]:
    return [instruction.code for instruction in read(text).instructions]


@pytest.mark.parametrize(
    ("top", "names"),
    [
        ("# escape=`", {"escape": "`"}),
        ("#escape=`", {"escape": "`"}),
        ("# EsCaPe = ` ", {"escape": "`"}),
        (
            "# syntax=docker/dockerfile:1\n# escape=`",
            {"syntax": "docker/dockerfile:1", "escape": "`"},
        ),
        ("# check=skip=all;error=true", {"check": "skip=all;error=true"}),
        ("\n# escape=`", {}),
        ("# a comment\n# escape=`", {}),
        ("# unknown=x\n# escape=`", {}),
        ("#!/usr/bin/env viaduct\n# escape=`", {}),
        ("# escape=", {}),
    ],
)
def test_directives_stand_at_the_very_top(top: str, names: dict[str, str]) -> None:
    document = read(f"{top}\nFROM scratch\n")
    assert {one.name: one.value for one in document.directives} == names
    assert document.escape == names.get("escape", "\\")


def test_a_backtick_escapes_and_leaves_backslashes_alone() -> None:
    document = read("# escape=`\nFROM scratch\nCOPY a `\n b\nENV A=C:\\x\\\nENV B=1\n")
    assert [one.code for one in document.instructions[1:]] == [
        "COPY a  b",
        "ENV A=C:\\x\\",
        "ENV B=1",
    ]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("RUN a \\\n  b", "RUN a   b"),
        ("RUN a \\ \t\n b", "RUN a  b"),
        ("RUN a \\\n# comment\n  # indented\n b", "RUN a  b"),
        ("RUN a \\\n\n \n b", "RUN a  b"),
        ("RUN \\\na", "RUN a"),
        ("RUN a \\", "RUN a"),
        ("RUN a # no comment", "RUN a # no comment"),
        ("RUN a \\\\", "RUN a \\\\"),
        ("\t RUN a", "RUN a"),
        ("run\ta", "run\ta"),
    ],
)
def test_continued_lines_are_one_instruction(text: str, code: str) -> None:
    assert codes(f"FROM scratch\n{text}\n") == ["FROM scratch", code]


def test_blank_lines_inside_of_an_instruction_are_remembered() -> None:
    document = read("FROM scratch\nRUN a \\\n\n  b\nRUN c \\\n# comment\n  d\n")
    assert [span.start for span in document.empty_continuations] == [4]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_byte_order_mark_and_line_ends_mean_nothing(mark: bytes, end: bytes) -> None:
    text = mark + end.join([b"FROM scratch", b"RUN a \\", b" b", b"ENV A=b", b""])
    assert codes(text) == ["FROM scratch", "RUN a  b", "ENV A=b"]
    assert codes(mark + b"# escape=`" + end + b"FROM scratch" + end + b"RUN a `" + end + b"b")[
        1
    ] == ("RUN a b")


def test_bytes_that_are_no_text_do_not_stop_the_parser() -> None:
    assert codes(b"FROM scratch\nRUN \xff\n") == ["FROM scratch", "RUN \ufffd"]


def test_words_know_where_they_stand() -> None:
    document = read("FROM scratch\nRUN --network=none a \\\n  b\nENV A=1 \\\n\tB=2\n")
    run, env = document.stages[0].instructions
    assert isinstance(run, Run)
    assert isinstance(env, Env)
    assert (run.span.start, run.span.end) == (2, 3)
    flag = run.where(run.flags[0])
    assert (flag.start, flag.column) == (2, 5)
    second = env.where(env.pairs[1].key)
    assert (second.start, second.column) == (5, 2)


@pytest.mark.parametrize("size", [MAX_LINE - 1, MAX_LINE])
def test_a_line_has_a_limit(size: int) -> None:
    text = "FROM scratch\nRUN " + "x" * (size - 4)
    if size < MAX_LINE:
        assert len(codes(text)) == 2
        return
    with pytest.raises(DockerfileError, match="line greater than max allowed size") as caught:
        read(text)
    assert caught.value.where is not None
    assert caught.value.where.start == 2


def _heredocs(text: str) -> list[tuple[str, str, bool, int]]:
    (instruction,) = read(f"FROM scratch\n{text}\n").stages[0].instructions
    return [(one.name, one.body, one.expand, one.fd) for one in instruction.heredocs]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("RUN <<E\na\nb\nE", [("E", "a\nb\n", True, 0)]),
        ("RUN <<E\nE", [("E", "", True, 0)]),
        ("RUN <<-E\n\ta\n\t\tb\n\tE", [("E", "a\nb\n", True, 0)]),
        ("RUN <<-E\n  a\n  E\nE", [("E", "  a\n  E\n", True, 0)]),
        ('RUN <<"E"\n$a\nE', [("E", "$a\n", False, 0)]),
        ("RUN <<'E'\n$a\nE", [("E", "$a\n", False, 0)]),
        ("RUN <<E'F'\n$a\nEF", [("EF", "$a\n", False, 0)]),
        ("RUN cat <<A <<B\na\nA\nb\nB", [("A", "a\n", True, 0), ("B", "b\n", True, 0)]),
        ("RUN 3<<E cat\na\nE", [("E", "a\n", True, 3)]),
        ("RUN cat << E\na\nE", [("E", "a\n", True, 0)]),
        ("RUN <<E \\\n | sh\na\nE", [("E", "a\n", True, 0)]),
        ("COPY <<E /x\na\nE", [("E", "a\n", True, 0)]),
        ("ADD <<a/b /x\na\na/b", [("a/b", "a\n", True, 0)]),
        ("ONBUILD RUN <<E\na\nE", [("E", "a\n", True, 0)]),
        ("RUN <<E\n# no comment\na \\\n\nE", [("E", "# no comment\na \\\n\n", True, 0)]),
        ("RUN cat <<<E", []),
        ("RUN echo '<<E'", []),
        ("RUN echo a<<E", []),
        ("RUN echo $((1<<2))", []),
        ('RUN ["cat", "<<E"]', []),
        ("CMD cat <<E", []),
        ("ENV A=<<E", []),
    ],
)
def test_here_documents(text: str, found: list[tuple[str, str, bool, int]]) -> None:
    assert _heredocs(text) == found


@pytest.mark.parametrize(
    "text", ["RUN <<E", "RUN <<E\na\n E", "RUN <<E\na\nE ", "COPY <<A <<B /x/\na\nA\nb"]
)
def test_a_here_document_needs_its_end(text: str) -> None:
    with pytest.raises(DockerfileError, match="unterminated heredoc") as caught:
        read(f"FROM scratch\n{text}\n")
    assert caught.value.where is not None
    assert caught.value.where.start == 2
