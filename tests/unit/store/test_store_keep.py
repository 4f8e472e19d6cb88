"""The rules of garbage collection, without anything to collect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from viaduct.store import keep
from viaduct.store.keep import Filter, Holding, Limits, Record, Rule, Stock

if TYPE_CHECKING:
    from collections.abc import Iterable

NOW = 1_800_000_000.0
HOUR = 3600.0
GB = 1_000_000_000
ALL = Rule(all=True)


def _holding(
    name: str, size: int = 100, *, unused: float = 0.0, parent: str = "", **more: object
) -> Holding:
    record = Record(
        id=name,
        last_used=NOW - unused * HOUR,
        uses=1,
        parents=(parent,) if parent else (),
    )
    return Holding(replace(record, **more), {f"directory {name}": size})


def _collect(
    holdings: Iterable[Holding], rule: Rule, *, free: int = 0, stubborn: str = ""
) -> list[str]:
    """The ids that go, in their order; `stubborn` refuses to."""
    gone = keep.collect(
        Stock(holdings), rule, now=NOW, free=free, remove=lambda record: record.id != stubborn
    )
    return [record.id for record in gone]


# --- filters -------------------------------------------------------------------------------------

RECORD = Record(
    id="abc",
    type="source.local",
    parents=("p", "q"),
    description="build context",
    mutable=True,
    in_use=True,
)


@pytest.mark.parametrize(
    ("condition", "matches"),
    [
        (Filter("id", "=", "abc"), True),
        (Filter("id", "=", "ab"), False),
        (Filter("id", "~=", "b"), True),
        (Filter("id", "~=", "^b"), False),
        (Filter("id", "!=", "x"), True),
        (Filter("parents", "=", "p;q"), True),
        (Filter("description"), True),
        (Filter("description", "~=", "context$"), True),
        (Filter("type", "=", "source.local"), True),
        (Filter("type", "!=", "source.local"), False),
        (Filter("inuse"), True),
        (Filter("inuse", "absent"), False),
        (Filter("mutable"), True),
        (Filter("immutable"), False),
        (Filter("shared"), False),
        (Filter("private"), True),
        (Filter("nonsense"), False),
    ],
)
def test_filters_ask_one_field(condition: Filter, matches: bool) -> None:
    assert condition.matches(RECORD) is matches


def test_a_field_that_is_empty_is_absent() -> None:
    assert not Filter("description").matches(Record(id="x"))
    assert not Filter("parents", "=", "").matches(Record(id="x"))


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "total", "free", "keep_bytes"),
    [
        (Limits(), 100, 0, 0),
        (Limits(max_used=50), 100, 0, 50),
        (Limits(max_used=500), 100, 0, 500),
        (Limits(min_free=30), 100, 10, 80),
        (Limits(min_free=30), 100, 40, 100),
        (Limits(max_used=90, min_free=30), 100, 10, 80),
        (Limits(max_used=50, min_free=30), 100, 10, 50),
        (Limits(max_used=50, min_free=30), 100, 40, 50),
        (Limits(reserved=70), 100, 0, 70),
        (Limits(max_used=50, reserved=70), 100, 0, 70),
        (Limits(min_free=900, reserved=70), 100, 0, 70),
        # So much is lacking that all has to go: not "no limit".
        (Limits(min_free=900), 100, 0, 1),
    ],
)
def test_limits_say_how_much_stays(limits: Limits, total: int, free: int, keep_bytes: int) -> None:
    assert limits.keep(total, free) == keep_bytes


@pytest.mark.parametrize(
    ("disk", "limits"),
    [
        (50 * 1 << 30, Limits(max_used=41 * GB, min_free=11 * GB, reserved=6 * GB)),
        (2000 * 1 << 30, Limits(max_used=100 * GB, min_free=401 * GB, reserved=10 * GB)),
    ],
)
def test_limits_are_a_share_of_the_disk_by_default(disk: int, limits: Limits) -> None:
    assert keep.default_limits(disk) == limits


# --- rules ---------------------------------------------------------------------------------------


def test_without_limits_all_that_is_selected_goes() -> None:
    holdings = [_holding("a"), _holding("b", parent="a"), _holding("c", parent="b")]
    assert _collect(holdings, Rule()) == ["c", "b", "a"]


def test_what_something_stands_on_stays() -> None:
    holdings = [_holding("base"), _holding("top", parent="base", in_use=True)]
    assert _collect(holdings, ALL) == []
    holdings = [_holding("base"), _holding("top", parent="base")]
    assert _collect(holdings, ALL, stubborn="top") == []


def test_shared_and_internal_records_go_only_with_all() -> None:
    holdings = [
        _holding("plain"),
        _holding("shared", shared=True),
        _holding("internal", type="internal"),
    ]
    assert _collect(holdings, Rule()) == ["plain"]
    assert sorted(_collect(holdings, ALL)) == ["internal", "plain", "shared"]


def test_what_was_used_lately_stays() -> None:
    holdings = [_holding("old", unused=50), _holding("new", unused=47)]
    assert _collect(holdings, Rule(keep_seconds=48 * HOUR)) == ["old"]


def test_one_of_several_groups_of_conditions_is_enough() -> None:
    holdings = [
        _holding("a", type="source.local"),
        _holding("b", type="exec.cachemount", mutable=True),
        _holding("c", type="exec.cachemount"),
        _holding("d"),
    ]
    rule = Rule(
        filters=(
            (Filter("type", "=", "source.local"),),
            (Filter("type", "=", "exec.cachemount"), Filter("mutable")),
        )
    )
    assert sorted(_collect(holdings, rule)) == ["a", "b"]


def test_a_parent_that_is_not_selected_stays() -> None:
    holdings = [_holding("base"), _holding("top", parent="base", description="RUN")]
    assert _collect(holdings, Rule(filters=((Filter("description"),),))) == ["top"]


def test_the_least_used_goes_first_until_the_rest_fits() -> None:
    holdings = [
        _holding("often", unused=10, uses=50),
        _holding("new", unused=1),
        _holding("old", unused=10),
        _holding("oldest", unused=20),
    ]
    assert _collect(holdings, Rule(limits=Limits(max_used=300))) == ["oldest"]
    assert _collect(holdings, Rule(limits=Limits(max_used=200))) == ["oldest", "old"]
    assert _collect(holdings, Rule(limits=Limits(max_used=400))) == []
    assert _collect(holdings, Rule(limits=Limits(max_used=1))) == ["oldest", "old", "new", "often"]


def test_children_go_before_their_parents_however_old_these_are() -> None:
    holdings = [
        _holding("base", unused=100),
        _holding("top", parent="base", unused=1),
        _holding("other", unused=10),
    ]
    rule = Rule(limits=Limits(max_used=1))
    assert _collect(holdings, rule) == ["other", "top", "base"]


def test_a_disk_that_gets_full_is_made_free() -> None:
    holdings = [_holding(str(age), unused=age) for age in range(5)]
    rule = Rule(limits=Limits(min_free=1000))
    assert _collect(holdings, rule, free=1000) == []
    assert _collect(holdings, rule, free=850) == ["4", "3"]


def test_reserved_space_is_not_taken_for_other_limits() -> None:
    holdings = [_holding(str(age), unused=age) for age in range(5)]
    assert _collect(holdings, Rule(limits=Limits(max_used=1, reserved=300))) == ["4", "3"]


def test_shared_records_do_not_push_private_ones_out() -> None:
    holdings = [_holding("image", 10_000, shared=True), _holding("cache", 100)]
    limits = Limits(max_used=5_000)
    assert _collect(holdings, Rule(limits=limits)) == []
    assert _collect(holdings, Rule(all=True, limits=limits)) == ["cache", "image"]


def test_parts_go_with_the_last_who_holds_them() -> None:
    blob = {"blob": 1000}
    stock = Stock(
        [
            Holding(Record(id="a", last_used=1), {"directory a": 10, **blob}),
            Holding(Record(id="b", last_used=2), {"directory b": 20, **blob}),
        ]
    )
    assert [record.size for record in stock.sized()] == [1010, 20]
    assert stock.total(lambda _record: True) == 1030
    gone = keep.collect(stock, ALL, now=NOW, free=0, remove=lambda _record: True)
    assert [(record.id, record.size) for record in gone] == [("a", 10), ("b", 1020)]


def test_the_default_policy_takes_what_is_easily_made_again_first() -> None:
    policy = keep.default_policy(Limits(max_used=10 * GB))
    holdings = [
        _holding("context", GB, type="source.local", unused=49),
        _holding("mount", GB, type="exec.cachemount", unused=49),
        _holding("fresh", GB, type="exec.cachemount", unused=1),
        _holding("step", GB, unused=49),
    ]
    assert sorted(_collect(holdings, policy[0])) == ["context", "mount"]
    assert [_collect(holdings, rule) for rule in policy[1:]] == [[], [], []]
    old = [_holding("ancient", 8 * GB, unused=61 * 24), _holding("step", 3 * GB, unused=1)]
    assert _collect(old, policy[1]) == ["ancient"]
