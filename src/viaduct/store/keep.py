"""What a garbage collection may take, and in which order: pure rules over records of the cache.

The rules are BuildKit's. A record goes when nothing stands on it, no running build uses it, and the
rule selects it. Without limits a rule takes all that it selects; with limits, the least used first
until what is left fits.
"""

from __future__ import annotations

import heapq
import re
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from viaduct.base.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

REGULAR = "regular"
INTERNAL = "internal"
LOCAL_SOURCE = "source.local"
GIT_CHECKOUT = "source.git.checkout"
CACHE_MOUNT = "exec.cachemount"

_HOUR = 3600.0
_GB = 1_000_000_000


class Record(Value, kw_only=True):
    """One thing that the cache keeps, as `viaduct du` shows it.

    `size` are the bytes that go with it, `parents` the ids of what it stands on. `shared` says that
    a tagged image has the same content, `in_use` that a running build or one of its descendants
    needs it. Times are in seconds since the epoch, 0 for never.
    """

    id: str
    type: str = REGULAR
    size: int = 0
    created: float = 0.0
    last_used: float = 0.0
    uses: int = 0
    parents: tuple[str, ...] = ()
    description: str = ""
    mutable: bool = False
    shared: bool = False
    in_use: bool = False


Operator: TypeAlias = Literal["present", "absent", "=", "!=", "~="]


class Filter(Value):
    """A condition on one field of a record; `~=` is a regular expression that may match anywhere.
    `inuse`, `mutable`, `immutable`, `shared` and `private` are only ever present or not."""

    field: str
    operator: Operator = "present"
    value: str = ""

    def matches(self, record: Record) -> bool:
        value, present = _field(record, self.field)
        match self.operator:
            case "present":
                return present
            case "absent":
                return not present
            case "=":
                return present and value == self.value
            case "!=":
                return value != self.value
            case "~=":
                return re.search(self.value, value) is not None


#: Fields that a filter may name.
FIELDS = (
    *("id", "parents", "description", "type"),
    *("inuse", "mutable", "immutable", "shared", "private"),
)


def _field(record: Record, name: str) -> tuple[str, bool]:
    """The text of a field, and whether the record has it."""
    match name:
        case "id":
            text = record.id
        case "parents":
            text = ";".join(record.parents)
        case "description":
            text = record.description
        case "type":
            text = record.type
        case "inuse":
            return "", record.in_use
        case "mutable":
            return "", record.mutable
        case "immutable":
            return "", not record.mutable
        case "shared":
            return "", record.shared
        case "private":
            return "", not record.shared
        case _:
            return "", False
    return text, bool(text)


class Limits(Value, kw_only=True):
    """Bytes, 0 for no limit: the cache may have `max_used`, the disk shall have `min_free`, and
    `reserved` is never taken away for either."""

    max_used: int = 0
    min_free: int = 0
    reserved: int = 0

    def __bool__(self) -> bool:
        return bool(self.max_used or self.min_free or self.reserved)

    def keep(self, total: int, free: int) -> int:
        """How many bytes of `total` to keep on a disk with `free` bytes; 0 for no limit at all."""
        keep = self.max_used
        if (lacking := self.min_free - free) > 0:
            keep = min(keep, total - lacking) if keep else total - lacking
        elif self.min_free and not keep:
            keep = total
        keep = max(keep, self.reserved)
        # So much is lacking that nothing can stay; 0 would mean the opposite of a limit here.
        return max(keep, 1) if self else 0


class Rule(Value, kw_only=True):
    """One pass of a collection.

    Records must match one of the `filters`, all conditions of it; none at all lets every record
    match. Those that were used in the last `keep_seconds` stay, and so do shared and internal ones
    unless `all`.
    """

    all: bool = False
    filters: tuple[tuple[Filter, ...], ...] = ()
    keep_seconds: float = 0.0
    limits: Limits = Limits()

    def counts(self, record: Record) -> bool:
        """Whether the record's size counts against the limits."""
        return self.all or not record.shared

    def selects(self, record: Record, now: float) -> bool:
        """Whether the rule lets the record go, as far as it alone decides."""
        if not self.all and (record.shared or record.type == INTERNAL):
            return False
        if self.keep_seconds and record.last_used > now - self.keep_seconds:
            return False
        return not self.filters or any(
            all(condition.matches(record) for condition in group) for group in self.filters
        )


def default_limits(disk: int) -> Limits:
    """The limits for a disk of that many bytes, when nobody set any: BuildKit's."""

    def share(percent: int) -> int:
        return ((disk * percent // 100 >> 30) + 1) * _GB

    return Limits(
        max_used=min(share(80), 100 * _GB),
        min_free=share(20),
        reserved=min(share(10), 10 * _GB),
    )


def default_policy(limits: Limits) -> tuple[Rule, ...]:
    """The rules of the automatic collection, one after the other: what is made anew most easily
    first, then what was not used for long, then anything, then what images share as well."""
    easy = (LOCAL_SOURCE, CACHE_MOUNT, GIT_CHECKOUT)
    return (
        Rule(
            filters=tuple((Filter("type", "=", kind),) for kind in easy),
            keep_seconds=48 * _HOUR,
            limits=Limits(max_used=512_000_000),
        ),
        Rule(keep_seconds=60 * 24 * _HOUR, limits=limits),
        Rule(limits=limits),
        Rule(all=True, limits=limits),
    )


class Holding(Value):
    """A record and what it occupies: parts that others may hold as well, and that go with the last
    of them. `record.size` does not count here."""

    record: Record
    parts: dict[str, int] = msgspec.field(default_factory=dict)


class Stock:
    """All records of a cache; keeps account while some are taken away."""

    def __init__(self, holdings: Iterable[Holding]) -> None:
        self._holdings = {holding.record.id: holding for holding in holdings}
        self._standing: dict[str, int] = {}
        self._holders: dict[str, int] = {}
        for holding in self._holdings.values():
            for parent in holding.record.parents:
                self._standing[parent] = self._standing.get(parent, 0) + 1
            for part in holding.parts:
                self._holders[part] = self._holders.get(part, 0) + 1

    def records(self) -> tuple[Record, ...]:
        """What is left."""
        return tuple(holding.record for holding in self._holdings.values())

    def sized(self) -> tuple[Record, ...]:
        """The same with sizes that add up: a part that several hold counts for the first."""
        counted: set[str] = set()
        out = []
        for holding in self._holdings.values():
            own = holding.parts.keys() - counted
            counted |= own
            out.append(replace(holding.record, size=sum(holding.parts[part] for part in own)))
        return tuple(out)

    def total(self, counts: Callable[[Record], bool]) -> int:
        """Bytes of the records that count, each part once."""
        parts: dict[str, int] = {}
        for holding in self._holdings.values():
            if counts(holding.record):
                parts |= holding.parts
        return sum(parts.values())

    def is_free(self, record: Record) -> bool:
        """Whether nothing stands on it and no build needs it."""
        return not record.in_use and not self._standing.get(record.id)

    def get(self, name: str) -> Record | None:
        holding = self._holdings.get(name)
        return holding.record if holding else None

    def take(self, record: Record) -> int:
        """Strike the record out; the bytes that nobody else holds."""
        holding = self._holdings.pop(record.id)
        for parent in record.parents:
            self._standing[parent] -= 1
        freed = 0
        for part, size in holding.parts.items():
            self._holders[part] -= 1
            if not self._holders[part]:
                freed += size
        return freed


def collect(
    stock: Stock,
    rule: Rule,
    *,
    now: float,
    free: int,
    remove: Callable[[Record], bool],
) -> list[Record]:
    """Apply one rule: `remove` takes a record away, or says that it stays; returns what went, with
    the sizes that were freed.

    `free` are the bytes that the disk has left.
    """
    total = stock.total(rule.counts)
    keep = rule.limits.keep(total, free)
    if keep and total <= keep:
        return []
    selected = [record for record in stock.records() if rule.selects(record, now)]
    weights = _weights(selected)
    ready = [(weights[r.id], r.id) for r in selected if stock.is_free(r)]
    heapq.heapify(ready)
    gone: list[Record] = []
    while ready and not (keep and total <= keep):
        record = stock.get(heapq.heappop(ready)[1])
        if record is None or not remove(record):
            continue
        freed = stock.take(record)
        if rule.counts(record):
            total -= freed
        gone.append(replace(record, size=freed))
        for name in record.parents:
            parent = stock.get(name)
            if parent is not None and name in weights and stock.is_free(parent):
                heapq.heappush(ready, (weights[name], name))
    return gone


def _weights(records: Sequence[Record]) -> dict[str, float]:
    """How much each record is worth: when it was last used and how often count the same, each by
    its rank."""
    recency = _ranks(records, lambda record: record.last_used)
    frequency = _ranks(records, lambda record: float(record.uses))
    return {record.id: recency[record.id] + frequency[record.id] for record in records}


def _ranks(records: Sequence[Record], value: Callable[[Record], float]) -> dict[str, float]:
    """The rank of each record's value among all different values, from just above 0 to 1."""
    different = sorted({value(record) for record in records})
    rank = {each: (position + 1) / len(different) for position, each in enumerate(different)}
    return {record.id: rank[value(record)] for record in records}
