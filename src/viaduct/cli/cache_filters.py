"""`--filter` of `viaduct du` and `viaduct prune`: from text to conditions on cache records."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viaduct.base.errors import UsageError
from viaduct.cli.pflag import suggestion
from viaduct.store import keep
from viaduct.store.keep import Filter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_AGES = ("until", "unused-for")
_SWITCHES = ("inuse", "mutable", "immutable", "shared", "private")
_WORDS = {"": True, "true": True, "1": True, "t": True, "false": False, "0": False, "f": False}
_CONDITION = re.compile(r"\s*([A-Za-z-]+)\s*(?:(==?|!=|~=)\s*(.*))?", re.DOTALL)

_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d|w)")
_SECONDS: Mapping[str, float] = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1,
    "m": 60,
    "h": 3600,
    "d": 86_400,
    "w": 7 * 86_400,
}


def read(values: Iterable[str]) -> tuple[tuple[Filter, ...], float]:
    """Conditions that must all hold, and how many seconds a record must have been unused.

    A condition is `FIELD=TEXT`, `FIELD!=TEXT`, `FIELD~=REGEXP`, or, for what is only true or not,
    `FIELD` or `FIELD=false`. An id need not be whole. Raises `UsageError`.
    """
    conditions = []
    ages: dict[str, float] = {}
    for value in values:
        found = _CONDITION.fullmatch(value)
        if found is None:
            raise UsageError(f"invalid filter '{value}'", hint="write --filter type=regular")
        name, operator, text = found[1].lower(), found[2] or "", found[3] or ""
        if name in _AGES:
            if not operator.startswith("=") or ages:
                raise UsageError(f'the filter "{name}" expects one value', hint="until=24h")
            ages[name] = duration(text, name)
        else:
            conditions.append(_condition(value, name, operator, text.strip()))
    return tuple(conditions), next(iter(ages.values()), 0.0)


def _condition(value: str, name: str, operator: str, text: str) -> Filter:
    if name not in keep.FIELDS:
        known = (*keep.FIELDS, _AGES[0])
        raise UsageError(
            f"invalid filter '{name}'",
            hint=suggestion(name, known) or f"one of {', '.join(known)}",
        )
    if name in _SWITCHES:
        if operator == "~=" or text.lower() not in _WORDS:
            raise UsageError(f"invalid filter '{value}'", hint=f"{name}=true or {name}=false")
        return Filter(name, "present" if _WORDS[text.lower()] != (operator == "!=") else "absent")
    if not operator:
        return Filter(name)
    if operator == "!=":
        return Filter(name, "!=", text)
    if operator == "~=" or name == "id":
        pattern = text if operator == "~=" else re.escape(text)
        try:
            re.compile(pattern)
        except re.error as error:
            raise UsageError(f"invalid filter '{value}': {error}") from error
        return Filter(name, "~=", pattern)
    return Filter(name, "=", text)


def duration(text: str, what: str) -> float:
    """Seconds from `24h`, `1h30m`, `90s`; days (`7d`) and weeks are understood as well."""
    text = text.strip()
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UsageError(
            f"the filter \"{what}\" expects a duration, not '{text}'", hint="like 24h, 90m or 7d"
        )
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)
