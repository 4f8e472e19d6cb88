"""Looking at the cache and collecting garbage: on request, and by itself after a build."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from viaduct.base.errors import Canceled, StoreError, UsageError
from viaduct.base.fs import explain_oserror
from viaduct.ops.kept import KeptRepositories
from viaduct.store import gc, keep, liveness, usage
from viaduct.store.keep import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from viaduct.base.tasks import Stop
    from viaduct.store.keep import Record, Rule
    from viaduct.store.store import Store
    from viaduct.store.usage import Hoard

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_FALSE = frozenset(("0", "f", "false", "no", "off"))


def records(store: Store) -> tuple[Record, ...]:
    """What the cache holds, the smallest first; the sizes add up."""
    return usage.usage(store, _hoards(store))


def prune(store: Store, rule: Rule, stop: Stop) -> Iterator[Record]:
    """Apply one rule, and yield what was removed with the bytes it freed."""
    _forget_checkouts(store)
    yield from gc.collect(store, [rule], hoards=_hoards(store), stop=stop)


def automatic(store: Store, wanted: Limits | None, stop: Stop) -> None:
    """What happens at the end of every build, whoever's it was: nothing, unless the cache has grown
    over its limits or the disk is getting full. One process at a time does it.

    What goes wrong is left for the next time: the build is done.
    """
    if wanted is None or stop.is_set():
        return
    with contextlib.suppress(StoreError, OSError, Canceled):
        # Commands outside of the namespaces may have failed to delete what other ids own.
        store.trash.retry()
        if not gc.is_due(store, wanted):
            return
        with liveness.try_hold(store.root / "locks" / "collection") as alone:
            if alone is not None:
                _forget_checkouts(store)
                policy = keep.default_policy(wanted)
                for _ in gc.collect(store, policy, hoards=_hoards(store), stop=stop):
                    pass


def limits(store: Store, env: Mapping[str, str]) -> Limits | None:
    """What the automatic collection keeps to: a share of the disk, or what
    `VIADUCT_GC_MAX_USED_SPACE`, `VIADUCT_GC_MIN_FREE_SPACE` and `VIADUCT_GC_RESERVED_SPACE` say.
    None with `VIADUCT_GC=0`. Raises `UsageError` for a size that is none."""
    if env.get("VIADUCT_GC", "").lower() in _FALSE:
        return None
    try:
        disk = os.statvfs(store.root)
    except OSError as error:
        raise explain_oserror(error, "looking at the disk") from error
    total = disk.f_blocks * disk.f_frsize
    given = {
        name: _size(text, total, f"VIADUCT_GC_{name.upper()}_SPACE")
        for name in ("max_used", "min_free", "reserved")
        if (text := env.get(f"VIADUCT_GC_{name.upper()}_SPACE"))
    }
    # As with the peers: whoever sets one limit sets them all.
    return Limits(**given) if given else keep.default_limits(total)


def _size(text: str, total: int, where: str) -> int:
    """`10GB`, `500m`, a number of bytes, or a share of the disk: `20%`."""
    word = text.strip().lower()
    with contextlib.suppress(ValueError, KeyError):
        if word.endswith("%"):
            return int(total * float(word[:-1]) / 100)
        number = word.removesuffix("b").rstrip("kmgt")
        return int(float(number) * _UNITS[word.removesuffix("b")[len(number) :]])
    raise UsageError(f"{where}={text} is not a size", hint="write it as 10GB, 500MB or 20%")


def _hoards(store: Store) -> Sequence[Hoard]:
    return (KeptRepositories(store.root / "git", store.trash),)


def _forget_checkouts(store: Store) -> None:
    """Remove what killed processes were checking out of a repository."""
    found = list((store.root / "git").glob("checkout-*"))
    # Looked for first: no build that runs now made one of these.
    if store.leases.oldest() is None:
        with contextlib.suppress(OSError):
            for path in found:
                store.trash.throw(path)
