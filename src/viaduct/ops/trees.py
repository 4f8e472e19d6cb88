"""File systems as results: snapshots that can be looked at, changed, and unpacked when needed.

A result is a `Filesystem` (a snapshot, or nothing at all: scratch) or a `LocalTree` (a person's own
directory, seen through its ignore patterns). `Trees` turns either into a directory of this process.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Protocol

from viaduct.base.fs import explain_oserror
from viaduct.base.tasks import Nursery
from viaduct.base.values import Value
from viaduct.oci import media
from viaduct.ops.canvas import Canvas
from viaduct.ops.select import Tree
from viaduct.sandbox import mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from viaduct.base.tasks import Stop
    from viaduct.oci.models import Descriptor
    from viaduct.ops.canvas import Ground
    from viaduct.ops.select import Pattern
    from viaduct.store.snapshots import Active, Snapshot
    from viaduct.store.store import Store

_SCRATCH = "scratch"
# In the state's root, when layers in it hide files by sockets, which overlayfs would show.
_NO_OVERLAYS = "no-overlays"
# Layers of one file system that come in at one time; registries like to be asked so by a client.
_TRANSFERS = 4


class Filesystem(Value):
    """The root file system that ends in `snapshot`; None is the empty one."""

    snapshot: int | None = None

    @property
    def id(self) -> str:
        return _SCRATCH if self.snapshot is None else str(self.snapshot)

    @classmethod
    def of_id(cls, text: str) -> Filesystem:
        return cls(None if text == _SCRATCH else int(text))


class LocalTree(Value):
    """A directory outside of our state; it is never kept, so it has no id."""

    root: Path
    ignored: Pattern | None = None

    @property
    def id(self) -> str:
        return ""


class Fetch(Protocol):
    """Brings a blob into the content store from one of the references that are known to have it."""

    def __call__(self, descriptor: Descriptor, refs: tuple[str, ...], stop: Stop) -> None: ...


class Change(Value):
    """A file system that can be written to at `path`."""

    active: Active
    canvas: Canvas

    @property
    def path(self) -> Path:
        return self.canvas.path


class Trees:
    """The file systems of one build. Views stay mounted until `close`. `warn` is told, once, when
    the build will be slower because overlays cannot stand in the store."""

    def __init__(
        self,
        store: Store,
        run: Path,
        fetch: Fetch,
        *,
        squash_owner: bool,
        warn: Callable[[str], None],
    ) -> None:
        self._store = store
        self._run = run
        self._fetch = fetch
        self.squash_owner = squash_owner
        self._warn = warn
        self._choice = threading.Lock()
        self._chosen: Ground | None = None
        self._lock = threading.Lock()
        self._views: dict[int | None, Path] = {}
        self._busy: dict[int | None, threading.Lock] = {}
        self._mounted = contextlib.ExitStack()
        self._next = 0

    def close(self) -> None:
        """Unmount every view."""
        self._mounted.close()
        if self._chosen is not None:
            self._chosen.close()

    def select(self, result: Filesystem | LocalTree, stop: Stop) -> Tree:
        """The result as a tree to select files from."""
        if isinstance(result, LocalTree):
            # A link to a context is that context; what links inside of it mean starts at its root.
            root = os.path.realpath(result.root)
            # A context that came as an archive is a view of ours, and its owners are its own.
            local = self._run not in result.root.parents
            return Tree(os.fsencode(root), result.ignored, local=local)
        return Tree(os.fsencode(self.view(result, stop)))

    def view(self, filesystem: Filesystem, stop: Stop) -> Path:
        """A read-only directory that shows the whole file system."""
        snapshot = filesystem.snapshot
        with self._lock:
            busy = self._busy.setdefault(snapshot, threading.Lock())
        with busy:
            if (found := self._views.get(snapshot)) is None:
                self.unpack(filesystem, stop)
                with contextlib.ExitStack() as entered:
                    found = entered.enter_context(self._shown(snapshot, stop))
                    with self._lock:
                        self._mounted.push(entered.pop_all())
                        self._views[snapshot] = found
        return found

    def _shown(self, snapshot: int | None, stop: Stop) -> AbstractContextManager[Path]:
        dirs = self._store.snapshots.layer_dirs(snapshot)
        if snapshot is None or len(dirs) == 1:
            return mounts.overlay(dirs, upper=None, work=None, at=self._mountpoint())
        return self._ground().view(snapshot, stop)

    @contextlib.contextmanager
    def change(
        self, base: Filesystem, *, description: str, stop: Stop, kind: str = "regular"
    ) -> Iterator[Change]:
        """A writable view on top of `base`, thrown away unless it is handed to `commit`."""
        self.unpack(base, stop)
        snapshots = self._store.snapshots
        active = snapshots.prepare(base.snapshot, description=description, kind=kind)
        try:
            if base.snapshot is None:
                yield Change(active, Canvas(active.fs))
            else:
                with self._ground().change(base.snapshot, active, stop) as canvas:
                    yield Change(active, canvas)
        except OSError as error:
            raise explain_oserror(error, f"writing {description}") from error
        finally:
            snapshots.discard(active)

    def commit(self, change: Change) -> Filesystem:
        """Keep what was changed as a new snapshot."""
        change.canvas.finish()
        return Filesystem(self._store.snapshots.commit(change.active).id)

    def stack(self, base: Filesystem, top: Filesystem) -> Filesystem:
        """The layers of `top` on top of `base`: same directories, same blobs, another parent."""
        below = base.snapshot
        if top.snapshot is not None:
            for snapshot in self._store.snapshots.chain(top.snapshot):
                below = self._store.snapshots.share(below, snapshot.id).id
        return Filesystem(below)

    def load(self, result_id: str) -> Filesystem | None:
        """The file system of that id, if its snapshot still exists."""
        filesystem = Filesystem.of_id(result_id)
        if filesystem.snapshot is None or self._store.snapshots.find(filesystem.snapshot):
            return filesystem
        return None

    def unpack(self, filesystem: Filesystem, stop: Stop) -> None:
        """Make every layer of the file system present on disk, fetching what is not there.

        Layers are unpacked one after the other, and fetched side by side meanwhile.
        """
        if filesystem.snapshot is None:
            return
        chain = self._store.snapshots.chain(filesystem.snapshot)
        lazy = [each for each in chain if each.state == "lazy"]
        if not lazy:
            return
        self._ground()
        with Nursery(_TRANSFERS, stop=stop, name="fetch") as nursery:
            for snapshot in lazy:
                nursery.start(self._fetch_layer, snapshot, nursery.stop)
            below: int | None = None
            for snapshot in chain:
                if snapshot.state == "lazy":
                    self._unpack_layer(snapshot, below, nursery.stop)
                below = snapshot.id

    def _fetch_layer(self, snapshot: Snapshot, stop: Stop) -> None:
        snapshots = self._store.snapshots
        blob = snapshots.layers(snapshot.id)[0]
        if not self._store.content.has(blob.descriptor.digest):
            self._fetch(blob.descriptor, snapshots.sources(blob.descriptor.digest), stop)

    def _unpack_layer(self, snapshot: Snapshot, below: int | None, stop: Stop) -> None:
        from viaduct.layer import apply as layers

        snapshots = self._store.snapshots
        with snapshots.realize(snapshot.id, stop=stop) as active:
            if active is None:
                return
            blob = snapshots.layers(snapshot.id)[0]
            lower = snapshots.layer_dirs(below) if below is not None else None
            with self._store.content.follow(blob.descriptor.digest, stop) as stream:
                applied = layers.apply(
                    stream,
                    active.fs,
                    lower=lower,
                    kind=media.compression_of(blob.descriptor.media_type),
                    expected_diff_id=blob.diff_id,
                    squash_owner=self.squash_owner,
                    stop=stop,
                )
            # Known by now: asking the file system again takes as long as a fifth of the unpacking.
            snapshots.commit(active, size=applied.disk)

    def _ground(self) -> Ground:
        """Overlays, where they can stand; asked once."""
        with self._choice:
            if self._chosen is None:
                try:
                    self._chosen = self._choose()
                except OSError as error:
                    raise explain_oserror(error, "trying out overlays") from error
            return self._chosen

    def _choose(self) -> Ground:
        from viaduct.ops.overlays import Overlays
        from viaduct.sandbox import ground

        mark = self._store.root / _NO_OVERLAYS
        with self._store.trash.scratch() as place:
            refusal = ground.try_out(place)
        if refusal is None and mark.exists():
            refusal = ground.Refusal(
                f"{self._store.root} was begun where overlays cannot stand",
                "point VIADUCT_HOME at a new directory",
                sockets=True,
            )
        if refusal is None:
            return Overlays(self._store.snapshots, self._mountpoint)
        from viaduct.ops.checkouts import Checkouts

        if refusal.sockets:
            mark.touch(mode=0o600)
        self._warn(
            f"root file systems are copied, which takes longer and more room: {refusal.why}; "
            f"{refusal.remedy}"
        )
        return Checkouts(self._store.snapshots, self._mountpoint)

    def _mountpoint(self) -> Path:
        with self._lock:
            self._next += 1
            path = self._run / f"m{self._next}"
        path.mkdir()
        return path
