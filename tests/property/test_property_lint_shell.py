"""Reading a script never fails and never loses its place."""

from __future__ import annotations

import shlex

from hypothesis import given
from hypothesis import strategies as st

from viaduct.base.spans import Source
from viaduct.dockerfile.lint.context import LintContext
from viaduct.dockerfile.lint.run import check
from viaduct.dockerfile.lint.shell import commands
from viaduct.dockerfile.lint.words import HOLE
from viaduct.dockerfile.parse import parse

_PIECES = st.sampled_from(
    [
        *"'\"\\$`;&|()<>{}#= \n\t-/",
        *("a", "amd64", "$TARGETARCH", "${", "$(", "case ", " in ", "esac", "if ", "then ", "fi"),
        *("for ", "do ", "done", "[[ ", " ]]", "<<EOF\n", "\nEOF\n", "&&", "||", ";;", "uname -m"),
        *("https://", "x86_64", "é", "sudo "),
    ]
)
_SCRIPTS = st.lists(_PIECES, max_size=40).map("".join)
_WORDS = st.lists(
    st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, categories=["L", "N", "P", "S"]))
    .filter(lambda word: word and "=" not in word)
    .filter(
        lambda word: word not in "if then else fi do done case esac for while until { } !".split()
    ),
    min_size=1,
    max_size=6,
)


@given(_SCRIPTS)
def test_any_text_can_be_read(script: str) -> None:
    for command in commands(script):
        for word in (*command.words, *(value for _, value in command.assignments)):
            assert 0 <= word.start <= word.end <= len(script)
            assert script[word.start : word.end] == word.raw
            assert word.text.count(HOLE) == len(word.expansions)
            for index, char in enumerate(word.text):
                place = word.offset(index)
                assert script[place] == char or char == HOLE
            for expansion in word.expansions:
                assert word.start <= expansion.start < expansion.end <= len(script)


@given(_WORDS)
def test_quoted_words_come_back(words: list[str]) -> None:
    """Python's own quoting is the other side."""
    script = " ".join(shlex.quote(word) for word in words)
    if script.startswith(("function", "select", "[[", "time")):
        return
    (command,) = commands(script)
    assert [word.text for word in command.words] == words


@given(_SCRIPTS)
def test_any_script_can_be_checked(script: str) -> None:
    body = script.replace("\n", " \\\n").replace("EOF", "X").replace("<<", "<")
    document = parse(Source("Dockerfile", f"FROM a\nRUN x {body}\nCOPY b /\n"))
    for finding in check(document, LintContext()).findings:
        assert 1 <= finding.where.start <= finding.where.end
