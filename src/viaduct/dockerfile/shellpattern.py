"""Patterns of `${v#p}` and `${v/p/r}`: `*` and `?`, and a replacement's `$0`."""

from __future__ import annotations

import re

from viaduct.base.errors import DockerfileError

_TEMPLATE = re.compile(r"\$(?:(\$)|\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))")
_REGEX_SPECIAL = frozenset("[]{}.+()|^$")
#: What Go prints for the end of the text where it expected a character.
_END = "\ufffd"


def trim_prefix(pattern: str, value: str, *, greedy: bool) -> str:
    """The value without the shortest or longest match of `pattern` at its start.

    This and the others raise `DockerfileError` for a bad pattern.
    """
    found = _compile(pattern, greedy=greedy).match(value)
    return value[found.end() :] if found else value


def trim_suffix(pattern: str, value: str, *, greedy: bool) -> str:
    """The value without the shortest or longest match of `pattern` at its end."""
    # The shortest match at the end is the shortest match at the start of the mirrored text.
    mirrored = "".join(reversed(re.findall(r"(?s)\\.|.", pattern)))
    return trim_prefix(mirrored, value[::-1], greedy=greedy)[::-1]


def replace(pattern: str, value: str, text: str, *, every: bool) -> str:
    """The value with the first match or every match of `pattern` replaced.

    In a replacement of every match `$0` stands for the match, as in Go's regexp package.
    """
    out: list[str] = []
    copied, previous = 0, -1
    for found in _compile(pattern, greedy=True).finditer(value):
        # Go passes over an empty match that touches the match before.
        if found.start() == found.end() == previous:
            continue
        previous = found.end()
        out += [value[copied : found.start()], _fill(text, found[0]) if every else text]
        copied = found.end()
        if not every:
            break
    return "".join([*out, value[copied:]])


def _fill(template: str, match: str) -> str:
    """Go's regexp replacement template, where only the whole match has a name."""
    if "$" not in template:
        return template
    return _TEMPLATE.sub(
        lambda found: "$" if found[1] else match if (found[2] or found[3]).strip("0") == "" else "",
        template,
    )


def _compile(pattern: str, *, greedy: bool) -> re.Pattern[str]:
    out: list[str] = []
    chars = iter(pattern.removeprefix("\ufeff"))
    for char in chars:
        if char == "*":
            out.append(".*" if greedy else ".*?")
        elif char == "?":
            out.append(".")
        elif char == "\\":
            following = next(chars, _END)
            if following not in "*?\\}/":
                raise DockerfileError(
                    f"invalid pattern ({pattern}) in substitution: invalid escape '\\{following}'"
                )
            out.append(re.escape(following))
        else:
            out.append(f"\\{char}" if char in _REGEX_SPECIAL else char)
    return re.compile("".join(out))
