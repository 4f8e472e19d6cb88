"""What sources keep beside the store, as records for its garbage collection: git repositories."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from viaduct.base.fs import explain_oserror, locked
from viaduct.base.values import Value
from viaduct.store.directories import disk_usage
from viaduct.store.keep import Holding, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from viaduct.store.directories import Trash

_PREFIX = "git-"


class KeptRepositories(Value):
    """The bare repositories of `viaduct.ops.git` below `root`; satisfies `store.usage.Hoard`."""

    root: Path
    trash: Trash

    def holdings(self, oldest: float | None) -> Iterator[Holding]:
        for lock in sorted(self.root.glob("*.lock")):
            bare = lock.with_suffix("")
            # Without a lock: somebody may remove it just now.
            with contextlib.suppress(OSError):
                size, used = disk_usage(bare), lock.stat().st_mtime
                remote = (bare / "description").read_text(errors="replace").strip()
                yield Holding(
                    Record(
                        id=_PREFIX + bare.name,
                        created=bare.stat().st_mtime,
                        last_used=used,
                        uses=1,
                        description=f"git repository {remote}",
                        mutable=True,
                        in_use=oldest is not None and used >= oldest,
                    ),
                    {f"git {bare.name}": size},
                )

    def remove(self, name: str, allowed: Callable[[float], bool]) -> bool | None:
        if not name.startswith(_PREFIX):
            return None
        bare = self.root / name.removeprefix(_PREFIX)
        lock = bare.with_suffix(".lock")
        try:
            with locked(lock, blocking=False) as free:
                if not free or not allowed(lock.stat().st_mtime):
                    return False
                trashed = self.trash.put(bare)
            self.trash.empty(trashed)
        except OSError as error:
            raise explain_oserror(error, "removing a git repository") from error
        return True
