"""Variables, quotes and escapes, row by row as the language's reference lists them."""

from __future__ import annotations

import pytest

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile.expand import expand_word, expand_words

ENV = {"set": "value", "empty": "", "path": "/a/b.c/b.tar.gz", "word": "foobar foobar"}

# Each form for a variable that is set, empty, and not set.
FORMS = [
    ("$X", "value", "", ""),
    ("${X}", "value", "", ""),
    ("${X:-w}", "value", "w", "w"),
    ("${X-w}", "value", "", "w"),
    ("${X:+w}", "w", "", ""),
    ("${X+w}", "w", "w", ""),
    ("${X:?m}", "value", None, None),
    ("${X?m}", "value", "", None),
    ("${X#va}", "lue", "", ""),
    ("${X%ue}", "val", "", ""),
    ("${X/l/L}", "vaLue", "", ""),
    ("${X//e/E}", "valuE", "", ""),
    ("${X:-}", "value", "", ""),
    ("${X:+}", "", "", ""),
    ("a${X}b", "avalueb", "ab", "ab"),
    ('"$X"', "value", "", ""),
    ("'$X'", "$X", "$X", "$X"),
    ("\\$X", "$X", "$X", "$X"),
]


@pytest.mark.parametrize(("form", "when_set", "when_empty", "when_unset"), FORMS)
def test_forms(
    form: str, when_set: str | None, when_empty: str | None, when_unset: str | None
) -> None:
    for name, expected in (("set", when_set), ("empty", when_empty), ("unset", when_unset)):
        text = form.replace("X", name)
        if expected is None:
            with pytest.raises(DockerfileError, match=f"{name}: m"):
                expand_word(text, ENV)
        else:
            assert expand_word(text, ENV) == expected.replace("X", name)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${path#*/}", "a/b.c/b.tar.gz"),
        ("${path##*/}", "b.tar.gz"),
        ("${path%.*}", "/a/b.c/b.tar"),
        ("${path%%.*}", "/a/b"),
        ("${path%.?z}", "/a/b.c/b.tar"),
        ("${path#?a}", "/b.c/b.tar.gz"),
        ("${path#b}", "/a/b.c/b.tar.gz"),
        ("${path##*}", ""),
        ("${path%%*}", ""),
        ("${path#}", "/a/b.c/b.tar.gz"),
        ("${word/foo/x}", "xbar foobar"),
        ("${word//foo/x}", "xbar xbar"),
        ("${word/f*b/x}", "xar"),
        ("${word//o/}", "fbar fbar"),
        ("${word/?/}", "oobar foobar"),
        ("${path//\\//:}", ":a:b.c:b.tar.gz"),
        ("${path/./\\*}", "/a/b\\*c/b.tar.gz"),
        ("${word//o/[$0]}", "f[][]bar f[][]bar"),
    ],
)
def test_patterns_know_stars_and_question_marks(text: str, result: str) -> None:
    assert expand_word(text, ENV) == result


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${unset:-$set}", "value"),
        ("${unset:-${empty:-deep}}", "deep"),
        ("${set:+<${set}>}", "<value>"),
        ("${unset:-'a b'}", "a b"),
        ('${unset:-"$set"}', "value"),
        ("${unset:-a\\}b}", "a}b"),
        ("$set$set", "valuevalue"),
        ("$set-$set", "value-value"),
        ("$setting", ""),
        ("${set}ting", "valueting"),
        ("$", "$"),
        ("$/", "$/"),
        ("a$", "a$"),
        ("$1", ""),
        ("plain text  stays", "plain text  stays"),
        ("a'b'\"c\"\\d", "abcd"),
        ('"a\\"b"', 'a"b'),
        ('"a\\nb"', "a\\nb"),
        ('"a\\\\b"', "a\\b"),
        ("'a\\nb'", "a\\nb"),
        ("a\\\\b", "a\\b"),
        ("a<<b", "a<<b"),
        ("$(set)", "$(set)"),
    ],
)
def test_words(text: str, result: str) -> None:
    assert expand_word(text, ENV) == result


@pytest.mark.parametrize(
    ("text", "result"),
    [("`$set", "$set"), ("\\$set", "\\value"), ("C:\\$set\\x", "C:\\value\\x"), ('"`""', '"')],
)
def test_the_escape_character_may_be_a_backtick(text: str, result: str) -> None:
    assert expand_word(text, ENV, escape="`") == result


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${", "syntax error: missing '}'"),
        ("${set", "unsupported modifier"),
        ("${set:-w", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution"),
        ("${{}", "syntax error: bad substitution"),
        ("${:-w}", "syntax error: bad substitution"),
        ("${set!w}", "unsupported modifier (!) in substitution"),
        ("${set:w}", "unsupported modifier (:w) in substitution"),
        ("${set:#w}", "unsupported modifier (:#) in substitution"),
        ("${set^}", "unsupported modifier (^) in substitution"),
        ("${set/w}", "syntax error: missing '/' in ${}"),
        ("${set/w/x", "syntax error: missing '}'"),
        ("${unset?}", "unset: is not allowed to be unset"),
        ("${empty:?}", "empty: is not allowed to be empty"),
        ("${unset:?say $set}", "unset: say value"),
        ("'", "unexpected end of statement while looking for matching single-quote"),
        ('"', "unexpected end of statement while looking for matching double-quote"),
        ("${set#\\q}", "invalid pattern (\\q) in substitution: invalid escape '\\q'"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        expand_word(text, ENV)
    assert caught.value.what.startswith("failed to process ")
    assert message in caught.value.what


def test_names_that_were_read_are_told() -> None:
    found: set[str] = set()
    missing: set[str] = set()
    expand_word("$set ${unset:-$empty} ${path%x}", ENV, matched=found, unmatched=missing)
    assert found == {"set", "empty", "path"}
    assert missing == {"unset"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b", ["a", "b"]),
        ("  a   b ", ["a", "b"]),
        ("$word", ["foobar", "foobar"]),
        ('"$word"', ["foobar foobar"]),
        ("a$word", ["afoobar", "foobar"]),
        ("'a b' c", ["a b", "c"]),
        ("$empty", []),
        ("a\\ b", ["a b"]),
    ],
)
def test_some_instructions_split_what_comes_out(text: str, words: list[str]) -> None:
    assert expand_words(text, ENV) == words


@pytest.mark.parametrize(
    ("form", "result"),
    [
        ("${long##PATTERN}", None),
        ("${long%%PATTERN}", None),
        ("${long#PATTERN}", None),
        ("${long/PATTERN/x}", None),
        ("${long//PATTERN/x}", None),
        ("${lines//a*b/x}", None),
        ("${long//a*a/x}", "x"),
    ],
)
def test_no_pattern_takes_for_ever(form: str, result: str | None) -> None:
    """With backtracking each star more would multiply the time by the length of the value."""
    env = {"long": "a" * 50_000, "lines": "aaaa\n" * 20_000}
    text = form.replace("PATTERN", "*a" * 30 + "b")
    unchanged = env["lines" if "lines" in form else "long"]
    assert expand_word(text, env) == (unchanged if result is None else result)


@pytest.mark.parametrize(
    "text",
    [
        "$a" * 20_000,
        "${a//?/$a}",
        "${a//?/" + "b" * 2000 + "}",
        "${a/x/}" * 2000,
    ],
)
def test_what_grows_beyond_reason_is_refused(text: str) -> None:
    """A few lines that double each other would take all memory."""
    with pytest.raises(DockerfileError, match="substitution makes more than 262144 characters"):
        expand_word(text, {"a": "a" * 1000})


@pytest.mark.parametrize("opening", ["${a:-", "${a/", '"${a:-', "${a#"])
def test_what_nests_beyond_reason_is_refused(opening: str) -> None:
    with pytest.raises(DockerfileError, match="nested too deeply"):
        expand_word(opening * 2000, {})
    with pytest.raises(DockerfileError, match="nested too deeply"):
        expand_words(opening * 2000, {})
