"""The functions that templates may call: Go's own, and those of docker's `--format`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from viaduct.base.errors import UsageError
from viaduct.cli.gotemplate.values import NO_VALUE, Record, Value, Zeroed, plain, to_json, true

Function: TypeAlias = Callable[..., Value]


class CallError(UsageError):
    """A function was given what it cannot take."""


def functions(*, indent_json: bool = False) -> dict[str, Function]:
    """All functions by name. `json` indents for imagetools, and is compact elsewhere."""
    return {
        "and": _last_of(lambda value: not true(value)),
        "or": _last_of(true),
        "not": lambda value: not true(value),
        "len": _len,
        "index": _index,
        "slice": _slice,
        "print": _print,
        "println": lambda *values: " ".join(plain(value) for value in values) + "\n",
        "printf": _printf,
        "eq": lambda first, *others: any(_equal(first, other) for other in others),
        "ne": lambda first, second: not _equal(first, second),
        "lt": lambda first, second: _order(first, second) < 0,
        "le": lambda first, second: _order(first, second) <= 0,
        "gt": lambda first, second: _order(first, second) > 0,
        "ge": lambda first, second: _order(first, second) >= 0,
        "json": lambda value: to_json(value, indent=indent_json),
        "join": _join,
        "split": lambda text, separator: _text(text).split(_text(separator) or None),
        "lower": lambda text: _text(text).lower(),
        "upper": lambda text: _text(text).upper(),
        "title": lambda text: re.sub(r"\b[a-z]", lambda m: m[0].upper(), _text(text)),
        "truncate": lambda text, length: _text(text)[: _number(length)],
        "pad": lambda text, before, after: (
            " " * _number(before) + _text(text) + " " * _number(after)
        ),
    }


def _last_of(decides: Callable[[Value], bool]) -> Function:
    def choose(*values: Value) -> Value:
        for value in values[:-1]:
            if decides(value):
                return value
        return values[-1]

    return choose


def _text(value: Value) -> str:
    if isinstance(value, str):
        return value
    raise CallError(f"expected a string; found {plain(value)}")


def _number(value: Value) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise CallError(f"expected an integer; found {plain(value)}")


def _len(value: Value) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, (Mapping, Sequence)):
        return len(value)
    raise CallError(f"len of {plain(value)}")


def _index(value: Value, *keys: Value) -> Value:
    for key in keys:
        if isinstance(value, Zeroed):
            value = value.get(key, value.zero)
        elif isinstance(value, Mapping):
            value = value.get(key, "" if _holds_text(value) else NO_VALUE)
        elif isinstance(value, Sequence):
            at = _number(key)
            if not 0 <= at < len(value):
                raise CallError(f"index out of range: {at}")
            value = value[at] if not isinstance(value, str) else value.encode()[at]
        else:
            raise CallError(f"can't index item of {plain(value)}")
    return value


def _holds_text(value: Mapping[Value, Value]) -> bool:
    """A map of strings answers an unknown key with the empty string."""
    return bool(value) and all(isinstance(item, str) for item in value.values())


def _slice(value: Value, *at: Value) -> Value:
    if not isinstance(value, Sequence):
        raise CallError(f"can't slice item of {plain(value)}")
    limits = [_number(limit) for limit in at]
    if any(not 0 <= limit <= len(value) for limit in limits) or limits != sorted(limits):
        raise CallError("slice index out of range")
    return value[slice(*(limits if len(limits) > 1 else [*limits, None]))] if limits else value


def _print(*values: Value) -> str:
    """Spaces stand between operands when neither is a string."""
    out = ""
    for at, value in enumerate(values):
        if at and not isinstance(value, str) and not isinstance(values[at - 1], str):
            out += " "
        out += plain(value)
    return out


def _join(values: Value, separator: Value) -> str:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise CallError(f"expected a list to join; found {plain(values)}")
    return _text(separator).join(plain(value) for value in values)


def _equal(first: Value, second: Value) -> bool:
    if isinstance(first, bool) is not isinstance(second, bool):
        raise CallError("incompatible types for comparison")
    if isinstance(first, str) is not isinstance(second, str) and None not in (first, second):
        raise CallError("incompatible types for comparison")
    return bool(first == second)


def _order(first: Value, second: Value) -> int:
    both_text = isinstance(first, str) and isinstance(second, str)
    both_numbers = all(
        isinstance(value, (int, float)) and not isinstance(value, bool) for value in (first, second)
    )
    if not both_text and not both_numbers:
        raise CallError("incompatible types for comparison")
    return int(first > second) - int(first < second)


_VERB = re.compile(r"%([-+# 0]*)(\d+|\*)?(?:\.(\d+|\*)?)?(.)", re.DOTALL)


def _printf(template: Value, *values: Value) -> str:
    """Go's verbs v s q d x X o b c t f e g T with flags, width and precision."""
    queue = list(values)

    def one(found: re.Match[str]) -> str:
        flags, width, precision, verb = found.groups()
        if verb == "%":
            return "%"
        if width == "*":
            width = str(_number(queue.pop(0))) if queue else ""
        if not queue:
            return f"%!{verb}(MISSING)"
        text = _verb(verb, flags, precision, queue.pop(0))
        size = int(width or 0)
        if "-" in flags:
            return text.ljust(size)
        if "0" in flags and verb in "dfxX":
            return text.zfill(size)
        return text.rjust(size)

    out = _VERB.sub(one, _text(template))
    extra = ", ".join(f"{_go_type(value)}={plain(value)}" for value in queue)
    return out + (f"%!(EXTRA {extra})" if queue else "")


def _verb(verb: str, flags: str, precision: str | None, value: Value) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if verb in "vs" and not (verb == "s" and number):
        text = plain(value)
        return text if precision is None or verb == "v" else text[: int(precision)]
    if verb == "q" and isinstance(value, str):
        return to_json(value, indent=False)
    if verb == "T":
        return _go_type(value)
    if verb == "t" and isinstance(value, bool):
        return plain(value)
    if verb in "xX" and isinstance(value, str):
        text = value.encode().hex()
        return text if verb == "x" else text.upper()
    if verb in "dxXobc" and isinstance(value, int) and number:
        return format(value, ("+" if "+" in flags else "") + verb)
    if verb in "feEgG" and number:
        return format(float(value), ("+" if "+" in flags else "") + f".{precision or 6}{verb}")
    return f"%!{verb}({_go_type(value)}={plain(value)})"


def _go_type(value: Value) -> str:
    match value:
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float64"
        case str():
            return "string"
        case Record():
            return value.type_name
        case Mapping():
            return "map[string]interface {}"
        case None:
            return "<nil>"
        case _:
            return "[]interface {}"
