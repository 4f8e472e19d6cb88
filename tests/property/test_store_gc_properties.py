"""Garbage collection of random stores: what is needed stays, what a rule selects goes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.parts.stores import put_image, put_index

from viaduct.store import gc, keep
from viaduct.store.keep import Holding, Limits, Record, Rule, Stock
from viaduct.store.store import Store

if TYPE_CHECKING:
    from tests.parts.stores import Image

NOW = 1_000_000.0


@st.composite
def stocks(draw: st.DrawFn) -> list[Holding]:
    """Records with random parents below them, uses, and parts that several may hold."""
    count = draw(st.integers(0, 12))
    holdings = []
    for number in range(count):
        below = draw(st.none() | st.integers(0, number - 1)) if number else None
        parts = draw(st.lists(st.integers(0, 5), max_size=3, unique=True))
        record = Record(
            id=str(number),
            type=draw(st.sampled_from(["regular", "internal", "source.local"])),
            last_used=NOW - draw(st.integers(0, 100)),
            uses=draw(st.integers(1, 5)),
            parents=() if below is None else (str(below),),
            shared=draw(st.booleans()),
            in_use=draw(st.sampled_from([False, False, True])),
        )
        sizes = {f"part {part}": (part + 1) * 10 for part in parts}
        holdings.append(Holding(record, {f"own {number}": 7, **sizes}))
    return holdings


rules = st.builds(
    Rule,
    all=st.booleans(),
    keep_seconds=st.sampled_from([0.0, 50.0]),
    limits=st.builds(
        Limits,
        max_used=st.integers(0, 200),
        min_free=st.integers(0, 200),
        reserved=st.integers(0, 100),
    ),
)


@given(stocks(), rules, st.integers(0, 300))
def test_a_rule_takes_only_what_it_may_and_stops_in_time(
    holdings: list[Holding], rule: Rule, free: int
) -> None:
    stock = Stock(holdings)
    before = stock.total(rule.counts)
    wanted = rule.limits.keep(before, free)
    totals = [before]

    def remove(record: Record) -> bool:
        assert not wanted or totals[-1] > wanted, "the limit was reached already"
        return True

    known = {holding.record.id: holding.record for holding in holdings}
    gone = keep.collect(stock, rule, now=NOW, free=free, remove=remove)
    ids = [record.id for record in gone]
    left = set(known) - set(ids)
    for name in ids:
        assert rule.selects(known[name], NOW)
        assert not known[name].in_use
    assert not {parent for name in left for parent in known[name].parents} & set(ids)
    freed = sum(record.size for record in gone)
    assert stock.total(lambda _record: True) + freed == Stock(holdings).total(lambda _record: True)
    assert stock.total(lambda _r: True) == sum(record.size for record in stock.sized())
    if not wanted or stock.total(rule.counts) > wanted:
        # What is left was not to be had: nothing more could have gone.
        standing = {parent for name in left for parent in known[name].parents}
        assert not [
            name
            for name in left
            if rule.selects(known[name], NOW) and not known[name].in_use and name not in standing
        ]


@given(stocks(), rules)
def test_a_record_that_refuses_keeps_all_below_it(holdings: list[Holding], rule: Rule) -> None:
    stock = Stock(holdings)
    gone = keep.collect(stock, rule, now=NOW, free=0, remove=lambda record: record.uses > 2)
    assert all(record.uses > 2 for record in gone)
    left = {record.id for record in stock.records()}
    assert all(parent in left for record in stock.records() for parent in record.parents)


# --- real stores ---------------------------------------------------------------------------------

_LAYERS = st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), min_size=1, max_size=3)


@settings(max_examples=25)
@given(
    images=st.lists(_LAYERS, min_size=1, max_size=4),
    tagged=st.sets(st.integers(0, 3)),
    used=st.sets(st.integers(0, 3)),
    everything=st.booleans(),
)
def test_names_and_leases_keep_all_that_they_reach(
    images: list[list[bytes]],
    tagged: set[int],
    used: set[int],
    everything: bool,
) -> None:
    with tempfile.TemporaryDirectory() as place:
        store = Store.open(Path(place))
        made = [
            put_image(store.content, *layers, note=str(number))
            for number, layers in enumerate(images)
        ]
        snapshots = [_define(store, image) for image in made]
        for number, image in enumerate(made):
            if number in tagged:
                index = put_index(store.content, image)
                store.images.tag(f"example.com/app:{number}", index)
        with store.leases.hold():
            for number in used & set(range(len(made))):
                assert store.snapshots.use(snapshots[number][-1:])
                assert all(store.content.has(digest) for digest in made[number].blobs)
            list(gc.collect(store, [Rule(all=everything)]))
            needed = {number for number in range(len(made)) if number in tagged | used}
            for number in needed:
                assert all(store.content.exists(digest) for digest in made[number].blobs)
            for number in used & set(range(len(made))):
                assert len(store.snapshots.chain(snapshots[number][-1])) == len(images[number])
        list(gc.collect(store, [Rule(all=True)]))
        named = [image.descriptor for image in store.images.list()]
        assert {blob.digest for blob in store.content.walk()} == store.images.reachable(named)
        assert store.snapshots.all() == ()
        store.close()


def _define(store: Store, image: Image) -> list[int]:
    """The image's layers, unpacked."""
    found: list[int] = []
    for layer, diff_id in zip(image.layers, image.diff_ids, strict=True):
        below = found[-1] if found else None
        snapshot = store.snapshots.define_layer(below, diff_id, layer, ())
        with store.snapshots.realize(snapshot.id) as active:
            if active is not None:
                (active.fs / "file").write_bytes(b"unpacked")
        found.append(snapshot.id)
    return found
