"""Word expansion: quotes, escapes and variables, as instructions see them.

Forms: `$v ${v} ${v:-w} ${v-w} ${v:+w} ${v+w} ${v:?w} ${v?w} ${v#p} ${v##p} ${v%p} ${v%%p}
${v/p/r} ${v//p/r}`. Patterns know `*` and `?`.

Two readings of a text exist. `expand_word` gives one word with its spaces; `expand_words` splits
what comes out at spaces that are not quoted, and keeps `<< WORD` together, which is how
here-documents are found.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile.gotext import SPACE, quote
from viaduct.dockerfile.shellpattern import LONGEST, replace, too_long, trim_prefix, trim_suffix

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PLAIN: dict[str, re.Pattern[str]] = {
    escape: re.compile("[^$'\"<" + re.escape(escape) + "]*") for escape in "\\`"
}
#: `${a:-${b:-…}}` deeper than this is an attack on the stack.
_DEEPEST = 100
#: What Go prints for the end of the text where it expected a character.
_END = "\ufffd"


def expand_word(
    text: str,
    env: Mapping[str, str],
    *,
    escape: str = "\\",
    raw_quotes: bool = False,
    raw_escapes: bool = False,
    skip_unset: bool = False,
    skip_quotes: bool = False,
    matched: set[str] | None = None,
    unmatched: set[str] | None = None,
) -> str:
    """The text with variables of `env` in place and quotes and escapes removed.

    `raw_quotes` and `raw_escapes` keep quotes and escapes; `skip_unset` leaves references to
    variables that are not set; `skip_quotes` takes quotes for ordinary characters. Names that were
    and were not found are added to `matched` and `unmatched`. Raises `DockerfileError`, also for
    what grows or nests beyond reason.
    """
    plain = _PLAIN[escape].match(text)
    if plain is not None and plain.end() == len(text) and not text.startswith("\ufeff"):
        return text
    reader = _Reader(text, env, escape, raw_quotes, raw_escapes, skip_unset, skip_quotes)
    try:
        return reader.run()
    except DockerfileError as error:
        raise _failed(text, error) from None
    finally:
        if matched is not None:
            matched |= reader.matched
        if unmatched is not None:
            unmatched |= reader.unmatched


def expand_words(
    text: str,
    env: Mapping[str, str],
    *,
    escape: str = "\\",
    raw_quotes: bool = False,
    raw_escapes: bool = False,
    skip_unset: bool = False,
) -> list[str]:
    """The words that the text expands to. Empty words vanish. Raises `DockerfileError`."""
    reader = _Reader(
        text, env, escape, raw_quotes, raw_escapes, skip_unset, skip_quotes=False, splits=True
    )
    try:
        reader.run()
    except DockerfileError as error:
        raise _failed(text, error) from None
    return reader.words


def _failed(text: str, error: DockerfileError) -> DockerfileError:
    return DockerfileError(f"failed to process {quote(text)}: {error.what}")


class _Reader:
    """One pass over one text."""

    def __init__(
        self,
        text: str,
        env: Mapping[str, str],
        escape: str,
        raw_quotes: bool,
        raw_escapes: bool,
        skip_unset: bool,
        skip_quotes: bool,
        splits: bool = False,
    ) -> None:
        self.text = text.removeprefix("\ufeff")
        self.at = 0
        self.env = env
        self.escape = escape
        self.raw_quotes = raw_quotes
        self.raw_escapes = raw_escapes
        self.skip_unset = skip_unset
        self.matched: set[str] = set()
        self.unmatched: set[str] = set()
        self.words: list[str] = []
        self._splits = splits
        self._depth = 0
        self._grown = 0
        self._word: list[str] = []
        self._special: dict[str, Callable[[], str]] = {"$": self._dollar, "<": self._angle}
        if not skip_quotes:
            self._special["'"] = self._single
            self._special['"'] = self._double
        self._chunk = _PLAIN[escape]

    def run(self) -> str:
        return self._until("", self.raw_escapes)

    def _peek(self) -> str:
        """The next character, "" at the end."""
        return self.text[self.at : self.at + 1]

    def _next(self) -> str:
        char = self.text[self.at : self.at + 1]
        self.at += 1
        return char

    def _until(self, stop: str, raw_escapes: bool) -> str:
        """Read to `stop` (consumed) or to the end when `stop` is empty."""
        # One buffer serves all levels: a nested text starts it anew, so that what stood before
        # `${v:-w}` in the same word is lost to `expand_words`. Peers do that to EXPOSE.
        self._word.clear()
        self._depth += 1
        if self._depth > _DEEPEST:
            raise DockerfileError("substitutions are nested too deeply")
        words: list[str] = []
        out: list[str] = []
        before, self.raw_escapes = self.raw_escapes, raw_escapes
        try:
            while char := self._peek():
                if char == stop:
                    self.at += 1
                    self._finish(words, stop)
                    return "".join(out)
                if special := self._special.get(char):
                    text = special()
                    out.append(text)
                    if char == "$":
                        self._add_split(text, words)
                    else:
                        self._word.append(text)
                elif char == self.escape:
                    self.at += 1
                    if self.raw_escapes:
                        out.append(char)
                        self._word.append(char)
                    if not (char := self._next()):
                        break
                    out.append(char)
                    self._word.append(char)
                else:
                    text = self._plain(stop)
                    out.append(text)
                    self._add_split(text, words)
        finally:
            self.raw_escapes = before
            self._depth -= 1
        if stop:
            raise DockerfileError(f"unexpected end of statement while looking for matching {stop}")
        self._finish(words, stop)
        return "".join(out)

    def _plain(self, stop: str) -> str:
        found = self._chunk.match(self.text, self.at)
        end = found.end() if found else self.at
        if stop and (cut := self.text.find(stop, self.at, end)) >= 0:
            end = cut
        end = max(end, self.at + 1)
        text = self.text[self.at : end]
        self.at = end
        return text

    def _add_split(self, text: str, words: list[str]) -> None:
        """Add text whose spaces separate words."""
        if not self._splits:
            return
        if not text.strip(SPACE):
            if text:
                self._flush(words)
            return
        start = 0
        for index, char in enumerate(text):
            if char in SPACE:
                self._word.append(text[start:index])
                self._flush(words)
                start = index + 1
        self._word.append(text[start:])

    def _flush(self, words: list[str]) -> None:
        if word := "".join(self._word):
            words.append(word)
        self._word.clear()

    def _finish(self, words: list[str], stop: str) -> None:
        self._flush(words)
        if not stop:
            self.words = words

    def _single(self) -> str:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            self.at = len(self.text)
            raise DockerfileError(
                "unexpected end of statement while looking for matching single-quote"
            )
        inner = self.text[self.at + 1 : end]
        self.at = end + 1
        return f"'{inner}'" if self.raw_quotes else inner

    def _double(self) -> str:
        mark = '"' if self.raw_quotes else ""
        self.at += 1
        out = [mark]
        while char := self._peek():
            if char == '"':
                self.at += 1
                out.append(mark)
                return "".join(out)
            if char == "$":
                out.append(self._dollar())
                continue
            self.at += 1
            if char == self.escape:
                if self.raw_escapes:
                    out.append(char)
                following = self._peek()
                if not following:
                    break
                if following in ('"', "$", self.escape):
                    char = following
                    self.at += 1
            out.append(char)
        raise DockerfileError("unexpected end of statement while looking for matching double-quote")

    def _angle(self) -> str:
        """`<`, or `<<` with the blanks that may precede the here-document's word."""
        start = self.at
        self.at += 1
        if self._peek() == "<":
            self.at += 1
            while self._peek() in ("\t", "\r", " "):
                self.at += 1
        return self.text[start : self.at]

    def _look_up(self, name: str) -> str | None:
        value = self.env.get(name)
        (self.unmatched if value is None else self.matched).add(name)
        self._count(value or "")
        return value

    def _count(self, text: str) -> None:
        """Of a few lines that double each other's variables nothing would be left of the memory."""
        self._grown += len(text)
        if self._grown > LONGEST:
            raise too_long()

    def _name(self) -> str:
        """A variable's name, a special parameter, or a number; empty when there is none."""
        text, start, end = self.text, self.at, self.at
        first = text[end : end + 1]
        if first.isdecimal():
            while text[end : end + 1].isdecimal():
                end += 1
        elif first and first in "@*#?-$!":
            end += 1
        else:
            while (char := text[end : end + 1]) and _is_word(char):
                end += 1
        self.at = end
        return text[start:end]

    def _dollar(self) -> str:
        self.at += 1
        if self._peek() != "{":
            name = self._name()
            if not name:
                return "$"
            value = self._look_up(name)
            if value is None:
                return f"${name}" if self.skip_unset else ""
            return value
        self.at += 1
        if not self._peek():
            raise DockerfileError("syntax error: missing '}'")
        if self._peek() in "{}:":
            raise DockerfileError("syntax error: bad substitution")
        name = self._name()
        modifier = self._next()
        if modifier == "}":
            value = self._look_up(name)
            if value is None:
                return f"${{{name}}}" if self.skip_unset else ""
            return value
        if modifier == "/":
            return self._replace(name)
        empty_is_unset = modifier == ":"
        shown = modifier or _END
        if empty_is_unset:
            modifier = self._next()
            shown += modifier or _END
        elif modifier not in ("+", "-", "?", "#", "%"):
            raise _unsupported(shown)
        return self._modified(name, modifier, shown, empty_is_unset)

    def _modified(self, name: str, modifier: str, shown: str, empty_is_unset: bool) -> str:
        trims = modifier in ("#", "%")
        if trims and empty_is_unset:
            raise _unsupported(shown)
        word = self._nested("}", raw_escapes=trims, missing="syntax error: missing '}'")
        value = self._look_up(name)
        if value is None and self.skip_unset:
            return f"${{{name}{shown}{word}}}"
        absent = value is None or (empty_is_unset and value == "")
        if modifier == "-":
            return word if absent else value or ""
        if modifier == "+":
            return "" if absent else word
        if modifier == "?":
            if absent:
                state = "unset" if value is None else "empty"
                raise DockerfileError(f"{name}: {word or f'is not allowed to be {state}'}")
            return value or ""
        if not trims:
            raise _unsupported(shown)
        greedy = word.startswith(modifier)
        pattern = word[1:] if greedy else word
        trim = trim_prefix if modifier == "#" else trim_suffix
        return trim(pattern, value or "", greedy=greedy)

    def _replace(self, name: str) -> str:
        every = self._peek() == "/"
        if every:
            self.at += 1
        missing = "syntax error: missing '/' in ${}"
        pattern = self._nested("/", raw_escapes=True, missing=missing)
        text = self._nested("}", raw_escapes=True, missing="syntax error: missing '}'")
        value = self._look_up(name)
        if value is None and self.skip_unset:
            return f"${{{name}/{pattern}/{text}}}"
        replaced = replace(pattern, value or "", text, every=every)
        self._count(replaced)
        return replaced

    def _nested(self, stop: str, *, raw_escapes: bool, missing: str) -> str:
        try:
            return self._until(stop, raw_escapes)
        except DockerfileError:
            if self.at >= len(self.text):
                raise DockerfileError(missing) from None
            raise


def _is_word(char: str) -> bool:
    return char == "_" or char.isalpha() or char.isdecimal()


def _unsupported(modifier: str) -> DockerfileError:
    return DockerfileError(f"unsupported modifier ({modifier}) in substitution")
