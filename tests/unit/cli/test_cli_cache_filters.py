"""`--filter` of du and prune, from text to conditions."""

from __future__ import annotations

import pytest

from viaduct.base.errors import UsageError
from viaduct.cli import cache_filters
from viaduct.store.keep import Filter


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type=regular", Filter("type", "=", "regular")),
        ("type==regular", Filter("type", "=", "regular")),
        ("TYPE = regular", Filter("type", "=", "regular")),
        ("type!=regular", Filter("type", "!=", "regular")),
        ("description~=^RUN a=b", Filter("description", "~=", "^RUN a=b")),
        ("description", Filter("description")),
        ("id=12", Filter("id", "~=", "12")),
        ("id=a.b", Filter("id", "~=", "a\\.b")),
        ("id!=12", Filter("id", "!=", "12")),
        ("inuse", Filter("inuse")),
        ("inuse=true", Filter("inuse")),
        ("inuse!=true", Filter("inuse", "absent")),
        ("shared=false", Filter("shared", "absent")),
        ("private=1", Filter("private")),
    ],
)
def test_a_condition_names_a_field(text: str, expected: Filter) -> None:
    assert cache_filters.read([text]) == ((expected,), 0.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("24h", 86_400), ("1h30m", 5_400), ("90s", 90), ("7d", 604_800), ("1.5h", 5_400)],
)
def test_until_is_how_long_something_was_not_used(text: str, seconds: float) -> None:
    assert cache_filters.read([f"until={text}"]) == ((), seconds)
    assert cache_filters.read([f"unused-for={text}", "inuse"])[1] == seconds


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["until=soon"], "expects a duration"),
        (["until=10"], "expects a duration"),
        (["until"], "expects one value"),
        (["until!=1h"], "expects one value"),
        (["until=1h", "unused-for=2h"], "expects one value"),
        (["colour=red"], "invalid filter 'colour'"),
        (["description~=("], "invalid filter"),
        (["inuse~=t"], "invalid filter"),
        (["inuse=perhaps"], "invalid filter"),
        (["=x"], "invalid filter"),
        ([""], "invalid filter"),
    ],
)
def test_conditions_that_make_no_sense_are_told(texts: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        cache_filters.read(texts)
