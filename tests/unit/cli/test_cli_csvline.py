from __future__ import annotations

import pytest

from viaduct.base.errors import UsageError
from viaduct.cli.csvline import fields


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("type=local,dest=out", ["type=local", "dest=out"]),
        ('type=image,"name=a:1,b:2",push=true', ["type=image", "name=a:1,b:2", "push=true"]),
        ('"say ""hi"", you"', ['say "hi", you']),
        ("a,", ["a", ""]),
        (",", ["", ""]),
        ('""', [""]),
        ("id=x,src=/a b/c", ["id=x", "src=/a b/c"]),
    ],
)
def test_fields_are_split_as_gos_csv_splits_them(line: str, read: list[str]) -> None:
    assert fields(line) == read


@pytest.mark.parametrize("line", ["", 'a"b', '"open', '"a"b', 'x,"y'])
def test_stray_quotes_are_refused(line: str) -> None:
    with pytest.raises(UsageError):
        fields(line)


def test_another_separator_is_possible() -> None:
    assert fields("run=1,2,3:error=red", comma=":") == ["run=1,2,3", "error=red"]
