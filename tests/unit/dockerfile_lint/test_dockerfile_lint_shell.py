"""Scripts are read as people mean them."""

from __future__ import annotations

import pytest

from viaduct.dockerfile.lint.shell import commands
from viaduct.dockerfile.lint.words import HOLE, read_word


def argv(script: str) -> list[list[str]]:
    return [[word.text for word in command.words] for command in commands(script)]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("a b  c", [["a", "b", "c"]]),
        ("a;b&&c||d&e|f\ng", [["a"], ["b"], ["c"], ["d"], ["e"], ["f"], ["g"]]),
        ("""a 'b c' "d e"f\\ g h""", [["a", "b c", "d ef g", "h"]]),
        ("a \\\n b", [["a", "b"]]),
        ("a # b\nc#d", [["a"], ["c#d"]]),
        ("a > x 2>&1 >> y < z b", [["a", "b"]]),
        ("{ a; }; (b; c)", [["a"], ["b"], ["c"]]),
        ("! a && time b", [["a"], ["b"]]),
        ('a $(b `c`) "$(d)"', [["a", HOLE, HOLE], ["b", HOLE], ["c"], ["d"]]),
        ("a ${b:-$(c)}", [["a", HOLE], ["c"]]),
        ("if a; then b; elif c; then d; else e; fi", [["a"], ["b"], ["c"], ["d"], ["e"]]),
        ("while a; do b; done; until c; do d; done", [["a"], ["b"], ["c"], ["d"]]),
        ("for x in a b; do c $x; done", [["a", "b"], ["c", HOLE]]),
        ("for x; do c; done", [["c"]]),
        ("case $x in a|b) c;; (d) e ;; *) f; esac; g", [[HOLE], ["c"], ["e"], ["f"], ["g"]]),
        ("a <<X b\nnot this\nX\nc", [["a", "b"], ["c"]]),
        ("a <<-'X'\n\tno\n\tX\nc", [["a"], ["c"]]),
        ("a <<X <<Y\nno\nX\nno\nY\nb", [["a"], ["b"]]),
        ("bash <<X\na b\nX", [["bash"], ["a", "b"]]),
        ("a <<< b", [["a", "b"]]),
        ("[[ a && b ]] && c", [["[[", "a && b ]]"], ["c"]]),
        ("f() { a; }; function g { b; }", [["f"], ["a"], ["b"]]),
        ('a "it\'s" b', [["a", "it's", "b"]]),
        ("a 'open", [["a", "open"]]),
        ('a "open $(b', [["a", f"open {HOLE}"], ["b"]]),
    ],
)
def test_commands_and_their_words(script: str, expected: list[list[str]]) -> None:
    assert [words for words in argv(script) if words] == expected


@pytest.mark.parametrize(
    ("script", "name", "guards"),
    [
        ("if [ $A = x ]; then run; fi", "run", ["[ $A = x ]"]),
        ("if a; then b; else run; fi", "run", ["a"]),
        ("if a; then b; elif c; then run; fi", "run", ["a c"]),
        ("if a; then b; fi; run", "run", []),
        ("case $A in x|y) run;; z) b;; esac", "run", ["$A x y z"]),
        ("case $A in x) b;; esac; run", "run", []),
        ("for A in x y; do run; done", "run", ["A x y"]),
        ("[ $A ] && run", "run", ["[ $A ]"]),
        ("test $A || run", "run", ["test $A"]),
        ("[ $A ] && b && run", "run", ["[ $A ]"]),
        ("[ $A ]; run", "run", []),
        ("b && run", "run", []),
        ("[ $A ] && (b; run)", "run", ["[ $A ]"]),
        ("x=$(case $A in y) run;; esac)", "run", ["$A y"]),
        ("if a; then x=$(run); fi", "run", ["a"]),
        ("while [ $A ]; do run; done", "run", ["[ $A ]"]),
    ],
)
def test_conditions_of_a_command(script: str, name: str, guards: list[str]) -> None:
    (command,) = [one for one in commands(script) if one.name == name]
    assert list(command.guards) == guards


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("A=1 B='2 3' run", [("A", "1"), ("B", "2 3")]),
        ("A=$(b)", [("A", HOLE)]),
        ("A=(x y) ", [("A", "x y")]),
        ("run A=1", []),
        ("A+=1", [("A", "1")]),
    ],
)
def test_assignments(script: str, expected: list[tuple[str, str]]) -> None:
    first = commands(script)[0]
    assert [(name, value.text) for name, value in first.assignments] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$a", ("a", "", "")),
        ("${a}", ("a", "", "")),
        ("${a:-b}", ("a", ":-b", "")),
        ("${a/x/y}", ("a", "/x/y", "")),
        ("${#a}", ("a", "", "")),
        ("$(a b)", ("", "", "a b")),
        ("`a b`", ("", "", "a b")),
        ("$((1 + 2))", ("", "", "")),
        ("$(case x in y) z;; esac)", ("", "", "case x in y) z;; esac")),
        ("${a:-${b}}", ("a", ":-${b}", "")),
    ],
)
def test_expansions(text: str, expected: tuple[str, str, str]) -> None:
    word = read_word(text, 0, len(text))
    assert word.text == HOLE
    (found,) = word.expansions
    assert (found.name, found.operation, found.command) == expected


def test_what_is_no_expansion_stays_text() -> None:
    for text in ("$", "a$", "'$a'", "\\$a", '"\\$a"'):
        assert read_word(text, 0, len(text)).expansions == ()


def test_every_character_knows_where_it_stood() -> None:
    script = "run 'a b'\"c$X d\"\\e"
    word = commands(script)[0].words[1]
    assert word.text == f"a bc{HOLE} de"
    places = [word.offset(index) for index in range(len(word.text))]
    assert "".join(script[place] for place in places) == "a bc$ de"


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("/usr/bin/curl x", "curl"),
        ("sudo -E apt-get install", "apt-get"),
        ("env A=1 make", "make"),
        ("A=1", ""),
    ],
)
def test_the_name_of_a_command(script: str, name: str) -> None:
    assert commands(script)[0].name == name
