"""The Dockerfile language under random input: no mistake but the declared one, nothing lost in
print, and `.dockerignore` as a slow and obvious matcher reads it."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.parts.lowering import lowered

from viaduct.base.errors import DockerfileError, ViaductError
from viaduct.base.spans import Source, Span
from viaduct.dockerfile.expand import expand_word, expand_words
from viaduct.dockerfile.ignore import Matcher, read_ignore_file
from viaduct.dockerfile.parse import decode, parse
from viaduct.dockerfile.printer import print_document

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from viaduct.dockerfile.syntax import Document

#: Characters and words that mean something somewhere in the language.
_PIECES = st.sampled_from(
    [
        *"abA$`'\"\\[]{},=<>#%/:-+?!é",
        *("${", "$A", "${A}", "${A:-b}", ":-", ":+", "##", "//", "\\\\", "==", "$$", "\ufeff"),
        *("--", "--link", "--from=a", "--mount=type=cache,target=/x", "--chown=1:2", '["a", "b"]'),
        *("<<", "<<E", "<<-E", '<<"E"', " ", "\t", "\n", "\r\n", "\\\n", "\v", "\x00", "\u2028"),
        *("\n# comment\n", "\n\n"),
    ]
)
_TEXT = st.lists(_PIECES, max_size=12).map("".join)
_NAMES = st.sampled_from(
    "FROM RUN COPY ADD ARG ENV LABEL CMD ENTRYPOINT SHELL VOLUME EXPOSE USER WORKDIR STOPSIGNAL "
    "HEALTHCHECK ONBUILD MAINTAINER run frOm NOPE".split()
)
_LINES = st.one_of(
    st.tuples(_NAMES, st.sampled_from([" ", "  ", "\t"]), _TEXT).map("".join),
    st.sampled_from(
        [
            "FROM alpine",
            "FROM alpine AS a",
            "FROM a",
            "FROM scratch",
            "ARG A=1",
            "ENV A=b C='d e' F=$A",
            "RUN a \\\n # comment\n b",
            "RUN <<E\nx\nE",
            "COPY --from=a x y/",
            "COPY <<E <<'F' /x/\n$A\nE\n$B\nF",
            'CMD ["a", "b"]',
            "ONBUILD RUN <<E\nx\nE",
            "# comment",
            "#\ttext",
            "",
            "HEALTHCHECK --interval=5s CMD x",
        ]
    ),
    _TEXT,
)
_FILES = st.tuples(
    st.sampled_from(
        ["", "# escape=`\n", "# syntax=x\n# check=skip=all\n", "#!/x\n", "\ufeff", "\n"]
    ),
    st.sampled_from(["", "ARG A=1\n", "FROM alpine\n", "FROM scratch AS a\n"]),
    st.lists(_LINES, max_size=6).map("\n".join),
    st.sampled_from(["", "\n"]),
).map("".join)


@settings(max_examples=300)
@given(_FILES)
def test_a_file_is_parsed_or_refused_with_a_place(text: str) -> None:
    try:
        document = parse(decode(text.encode(errors="surrogatepass")))
    except DockerfileError as error:
        if error.where is not None:
            assert 1 <= error.where.start <= max(1, text.count("\n") + 1)
            error.where.excerpt()
    else:
        for instruction in document.instructions:
            assert instruction.span.start <= instruction.span.end


@settings(max_examples=200)
@given(st.binary(max_size=200))
@example(b"\xff\xfe")
@example(b"FROM a\nRUN \xc3\x28")
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    with suppress(DockerfileError):
        parse(decode(data))


@settings(max_examples=150)
@given(_FILES)
def test_a_file_is_lowered_or_refused(text: str) -> None:
    with suppress(ViaductError):
        lowered(text, build_args={"A": "x y", "B": ""})


def _meaning(document: Document) -> Any:
    """A document without its places."""
    return _bare(document)


def _bare(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        left_out = {"span", "places", "start", "end", "line", "word", "source"}
        left_out |= {"empty_continuations", "text" if hasattr(value, "keyword") else ""}
        fields = {name: _bare(getattr(value, name)) for name in value.__struct_fields__}
        kept = {name: field for name, field in fields.items() if name not in left_out}
        # A stage begins with its FROM: there `start` is no place.
        return {**kept, "from": fields["start"]} if "instructions" in fields else kept
    if isinstance(value, (tuple, list)):
        return [_bare(one) for one in value]
    return None if isinstance(value, (Span, Source)) else value


@settings(max_examples=300)
@given(_FILES)
@example("# escape=`\nFROM a\nRUN x ``\nENV A=b\n")
@example("FROM a\nRUN x \\\n")
@example("FROM a\nRUN <<E\n#!/bin/sh\n\tx\nE\n# last")
def test_what_is_printed_means_the_same(text: str) -> None:
    try:
        document = parse(Source("Dockerfile", text))
    except DockerfileError:
        return
    printed = print_document(document)
    again = parse(Source("Dockerfile", printed))
    assert _meaning(again) == _meaning(document)
    assert print_document(again) == printed


@settings(max_examples=600)
@given(_TEXT, st.sampled_from("\\`"), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_expansion_gives_text_or_the_declared_error(
    text: str, escape: str, raw_quotes: bool, raw_escapes: bool, skip_unset: bool, skip_quotes: bool
) -> None:
    with suppress(DockerfileError):
        expand_word(
            text,
            {"A": "a*b c/d"},
            escape=escape,
            raw_quotes=raw_quotes,
            raw_escapes=raw_escapes,
            skip_unset=skip_unset,
            skip_quotes=skip_quotes,
        )
    with suppress(DockerfileError):
        assert all(expand_words(text, {"A": "a*b c/d"}, escape=escape))


@given(st.text("abc$ {}:-", max_size=12))
def test_expansion_of_text_without_variables_is_idempotent(text: str) -> None:
    if "$" not in text:
        assert expand_word(text, {}) == text


_PARTS = st.sampled_from("a b ab a.c b.c .a * ** a* *b ?b *.c a?* [ab] [^a]".split())
_PATTERNS = st.tuples(
    st.sampled_from(["", "", "", "!", "/", "./"]),
    st.lists(_PARTS, min_size=1, max_size=4).map("/".join),
    st.sampled_from(["", "", "/", " "]),
).map("".join)
_PATHS = st.lists(st.sampled_from("a b ab a.c b.c .a abc".split()), min_size=1, max_size=4).map(
    "/".join
)


@settings(max_examples=400)
@given(st.lists(_PATTERNS, max_size=6), st.lists(_PATHS, min_size=1, max_size=8))
def test_ignore_files_hide_what_an_obvious_matcher_hides(
    lines: list[str], paths: list[str]
) -> None:
    try:
        patterns = read_ignore_file("\n".join(lines).encode())
        matcher = Matcher(patterns)
    except DockerfileError:
        return
    walk = _obvious(patterns)
    for path in paths:
        assert matcher.excludes(path) == walk(path), path


def _obvious(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Every pattern is asked about every path, top directory first.

    A pattern that cannot change the answer is not asked; one that matched a directory counts for
    all that is below.
    """
    rules = [(one.startswith("!"), _expression(one.removeprefix("!"))) for one in patterns if one]

    def excludes(path: str) -> bool:
        hidden = False
        above: set[int] = set()
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            here = "/".join(parts[:count])
            hidden = False
            matched: set[int] = set()
            for number, (exception, expression) in enumerate(rules):
                if number in above or (exception == hidden and expression.fullmatch(here)):
                    hidden = not exception
                    matched.add(number)
            above = matched
        return hidden

    return excludes


def _expression(pattern: str) -> re.Pattern[str]:
    """`**` is any number of directories, `*` and `?` stay inside of one, classes match one."""
    out, at = "", 0
    while at < len(pattern):
        if pattern.startswith("**", at):
            at += 2
            if at == len(pattern):
                out += ".*"
            elif pattern.startswith("/", at):
                out += "(?:.*/)?"
                at += 1
            else:
                out += "(?:.*/)?"
            continue
        char = pattern[at]
        at += 1
        if char == "*":
            out += "[^/]*"
        elif char == "?":
            out += "[^/]"
        elif char in "[]^":
            out += char
        else:
            out += re.escape(char)
    return re.compile(out)
