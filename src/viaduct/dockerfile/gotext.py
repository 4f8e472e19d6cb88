"""Text as Go's standard library reads and writes it.

The Dockerfile language and the history of images are defined by a Go program: what it calls a
space, a duration, a boolean or a quoted string is part of what a Dockerfile means.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What `unicode.IsSpace` accepts (Python's `str.isspace` accepts four control characters more).
SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)

_ESCAPES = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    "\\": r"\\",
    '"': r"\"",
}
_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_DURATION_PART = re.compile(r"([0-9]*)(\.[0-9]*)?([^0-9.]*)")
_SIZE = re.compile(r"(?s)(.*[0-9.]| ?.* )(.*)")
_PERCENT = re.compile(r"%([0-9a-fA-F]{2})?")
_MAX_INT64 = 2**63 - 1


def quote(text: str) -> str:
    """The text as a Go string literal (`%q`)."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(map(_quote_char, text)) + '"'


def _quote_char(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quote_list(items: Iterable[str]) -> str:
    """A list of strings as `%q` prints it: `["a" "b"]`."""
    return f"[{' '.join(map(quote, items))}]"


def parse_bool(text: str) -> bool:
    """`strconv.ParseBool`. Raises ValueError."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError(text)


def parse_uint(text: str, base: int, bits: int = 32) -> int:
    """`strconv.ParseUint`: digits only. Raises ValueError."""
    # Python takes 0o755 for a number in base eight.
    if not text.isascii() or not text.isdigit():
        raise ValueError(text)
    value = int(text, base)
    if value >= 1 << bits:
        raise ValueError(text)
    return value


def parse_int(text: str, bits: int = 64) -> int:
    """`strconv.ParseInt` in base ten. Raises ValueError."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not digits.isascii() or not digits.isdigit() or len(digits) > 40:
        raise ValueError(text)
    value = int(text)
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise ValueError(text)
    return value


def parse_duration(text: str) -> int:
    """`time.ParseDuration` in nanoseconds. Raises ValueError with Go's words."""
    invalid = ValueError(f"time: invalid duration {quote(text)}")
    rest, sign = text, 1
    if rest[:1] in ("-", "+"):
        sign = -1 if rest[0] == "-" else 1
        rest = rest[1:]
    if rest == "0":
        return 0
    if not rest:
        raise invalid
    total = 0
    while rest:
        part = _DURATION_PART.match(rest)
        assert part is not None
        whole, fraction, unit = part[1], (part[2] or "")[1:], part[3]
        if not whole and not fraction:
            raise invalid
        if not unit:
            raise ValueError(f"time: missing unit in duration {quote(text)}")
        if unit not in _UNITS:
            raise ValueError(f"time: unknown unit {quote(unit)} in duration {quote(text)}")
        if len(whole) > 20:
            raise invalid
        scale = _UNITS[unit]
        total += int(whole or "0") * scale
        if fraction:
            # Go keeps the digits that fit an int64; eighteen of them decide every nanosecond.
            digits = fraction[:18]
            total += int(digits) * scale // 10 ** len(digits)
        if total > _MAX_INT64:
            raise invalid
        rest = rest[part.end() :]
    return sign * total


def format_duration(nanoseconds: int) -> str:
    """`time.Duration.String`: `1m30s`, `500ms`, `0s`."""
    if nanoseconds == 0:
        return "0s"
    sign, left = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if left < 10**9:
        unit, scale = (
            ("ns", 1) if left < 10**3 else ("µs", 10**3) if left < 10**6 else ("ms", 10**6)
        )
        return f"{sign}{_decimal(left, scale)}{unit}"
    minutes, left = divmod(left, _UNITS["m"])
    hours, minutes = divmod(minutes, 60)
    out = _decimal(left, 10**9) + "s"
    if hours:
        out = f"{hours}h{minutes}m{out}"
    elif minutes:
        out = f"{minutes}m{out}"
    return sign + out


def _decimal(value: int, scale: int) -> str:
    whole, fraction = divmod(value, scale)
    digits = str(fraction).zfill(len(str(scale)) - 1).rstrip("0") if fraction else ""
    return f"{whole}.{digits}" if digits else str(whole)


def ram_in_bytes(text: str) -> int:
    """`units.RAMInBytes`: `64m`, `1.5GiB`; binary multiples. Raises ValueError."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(text)
    number, suffix = found[1].removesuffix(" "), found[2].lower()
    if not re.fullmatch(r"[+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)", number, re.ASCII):
        raise ValueError(text)
    if not re.fullmatch(r"b?|[kmgtp](?:i?b)?", suffix):
        raise ValueError(text)
    size = float(number) * 1024 ** ("bkmgtp".index(suffix[0]) if suffix else 0)
    if size >= 1 << 63:
        raise ValueError(text)
    return int(size)


def clean(path: str) -> str:
    """`path.Clean`."""
    out = posixpath.normpath(path)
    return out[1:] if out.startswith("//") else out


def join(*parts: str) -> str:
    """`path.Join`: empty parts are dropped, the result is clean, and "" joins nothing."""
    text = "/".join(filter(None, parts))
    return clean(text) if text else ""


def base(path: str) -> str:
    """`path.Base`."""
    if not path:
        return "."
    return path.rstrip("/").rpartition("/")[2] or "/"


def percent_decode(text: str, *, plus: bool = False) -> str:
    """A part of a URL without percent escapes; `plus` reads `+` as a space, as in queries.

    Raises ValueError for a malformed escape.
    """
    if plus:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    if not all(found[1] for found in _PERCENT.finditer(text)):
        raise ValueError(text)
    parts = re.split(r"((?:%[0-9a-fA-F]{2})+)", text)
    return "".join(
        bytes.fromhex(part.replace("%", "")).decode(errors="replace") if index % 2 else part
        for index, part in enumerate(parts)
    )
