"""A logical line cut into words: keyword, flags, arguments, JSON arrays.

All functions take the whole line and a range of offsets, so that every word knows where it stands.
Quotes and escapes stay in the words; only flags and JSON strings are decoded.
"""

from __future__ import annotations

import re
from functools import lru_cache

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile.gotext import SPACE
from viaduct.dockerfile.syntax import Flag, Word

_SPACE = re.escape(SPACE)
_UNQUOTED = re.compile(f"[^{_SPACE}]+")
#: What separates the keyword and list elements: not every space is one.
_BLANK = re.compile(r"[\t\v\f\r ]+")
_NOT_BLANK = re.compile(r"[^\t\v\f\r ]+")

_STRING = r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"'
_JSON_STRING = re.compile(_STRING)
_JSON_ARRAY = re.compile(
    rf"\[[ \t\r\n]*(?:{_STRING}[ \t\r\n]*(?:,[ \t\r\n]*{_STRING}[ \t\r\n]*)*)?\]"
)
_JSON_ESCAPE = re.compile(
    r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\(.)"
)
_JSON_CHARS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

NOT_STRINGS = "when using JSON array syntax, arrays must be comprised of strings only"


def trim(text: str, start: int, end: int) -> tuple[int, int]:
    """The range without space at both sides."""
    cut = text[start:end]
    left = len(cut) - len(cut.lstrip(SPACE))
    if left == len(cut):
        return start, start
    return start + left, start + len(cut.rstrip(SPACE))


def split_keyword(text: str, start: int, end: int) -> tuple[Word, int, int]:
    """The first word, and the range of what follows it (untrimmed at the left)."""
    start, end = trim(text, start, end)
    gap = _BLANK.search(text, start, end)
    if gap is None:
        return Word(text[start:end], start, end), end, end
    return Word(text[start : gap.start()], start, gap.start()), gap.end(), end


def split_flags(text: str, start: int, end: int, escape: str) -> tuple[tuple[Flag, ...], int, int]:
    """Leading words that begin with `--`, and the trimmed range of the rest.

    `--` alone ends the flags.
    """
    flags: list[Flag] = []
    while True:
        start, end = trim(text, start, end)
        if not text.startswith("--", start, end):
            return tuple(flags), start, end
        value, after = _flag_word(text, start, end, escape)
        if value == "--":
            if after < end:
                return tuple(flags), *trim(text, after, end)
            return tuple(flags), end, end
        name, equals, rest = value.partition("=")
        flags.append(Flag(name[2:], rest if equals else None, Word(value, start, after)))
        start = after


def _flag_word(text: str, start: int, end: int, escape: str) -> tuple[str, int]:
    """One word without its quotes and escapes, and where it ends."""
    out: list[str] = []
    quote = ""
    at = start
    while at < end:
        char = text[at]
        if char == escape:
            at += 1
            if at < end:
                out.append(text[at])
        elif char == quote:
            quote = ""
        elif quote:
            out.append(char)
        elif char in "'\"":
            quote = char
        elif char in SPACE:
            break
        else:
            out.append(char)
        at += 1
    return "".join(out), min(at, end)


def blank_separated(text: str, start: int, end: int) -> tuple[Word, ...]:
    """Words between blanks; quotes mean nothing."""
    return tuple(
        Word(found[0], found.start(), found.end())
        for found in _NOT_BLANK.finditer(text, start, end)
    )


def key_and_rest(text: str, start: int, end: int) -> tuple[Word, Word] | None:
    """The first word and all that follows it, or None when nothing follows."""
    gap = _BLANK.search(text, start, end)
    if gap is None:
        return None
    return (
        Word(text[start : gap.start()], start, gap.start()),
        Word(text[gap.end() : end], gap.end(), end),
    )


@lru_cache(maxsize=2)
def _quoted_word(escape: str) -> re.Pattern[str]:
    e = re.escape(escape)
    return re.compile(
        rf"""(?s)(?:[^{_SPACE}'"{e}]+|{e}.|"(?:[^"{e}]+|{e}.)*(?:"|({e}?)\Z)|'[^']*(?:'|\Z)|({e})\Z)+"""
    )


def shell_words(text: str, start: int, end: int, escape: str) -> tuple[Word, ...]:
    """Words between spaces that are neither quoted nor escaped.

    An escape character at the very end is dropped.
    """
    cut = text[start:end]
    if "'" not in cut and '"' not in cut and escape not in cut:
        return tuple(
            Word(found[0], found.start(), found.end())
            for found in _UNQUOTED.finditer(text, start, end)
        )
    words: list[Word] = []
    for found in _quoted_word(escape).finditer(cut):
        word = found[0][:-1] if found[1] or found[2] else found[0]
        if word:
            words.append(Word(word, start + found.start(), start + found.start() + len(word)))
    return tuple(words)


def json_strings(text: str, start: int, end: int) -> tuple[Word, ...] | None:
    """The strings of a JSON array, or None when the text is no JSON array.

    Raises `DockerfileError` for an array that holds something else.
    """
    start, end = trim(text, start, end)
    if not text.startswith("[", start, end):
        return None
    array = _JSON_ARRAY.fullmatch(text, start, end)
    if array is None:
        if _is_json_array(text[start:end]):
            raise DockerfileError(NOT_STRINGS)
        return None
    return tuple(
        Word(_decode(found[0][1:-1]), found.start(), found.end())
        for found in _JSON_STRING.finditer(text, start, end)
    )


def _decode(body: str) -> str:
    return _JSON_ESCAPE.sub(_decode_escape, body) if "\\" in body else body


def _decode_escape(found: re.Match[str]) -> str:
    if found[1]:
        high, low = int(found[1], 16) - 0xD800, int(found[2], 16) - 0xDC00
        return chr(0x10000 + (high << 10) + low)
    if found[3]:
        code = int(found[3], 16)
        return "\ufffd" if 0xD800 <= code < 0xE000 else chr(code)
    return _JSON_CHARS.get(found[4], found[4])


def _is_json_array(text: str) -> bool:
    """Whether the text is valid JSON; only asked for what is no array of strings."""
    import json

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    def number(digits: str) -> float:
        value = float(digits)
        if value in (float("inf"), float("-inf")):
            raise ValueError(digits)
        return value

    try:
        json.loads(text, parse_constant=refuse, parse_int=number, parse_float=number)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True
