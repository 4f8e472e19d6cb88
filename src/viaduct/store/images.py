"""Tagged images: names that point to manifests and indexes in the content store.

What a name reaches is kept by garbage collection. The OCI layout's `index.json` is made from the
table after every change, so that other tools find the same images there.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import NotFound, UsageError
from viaduct.oci import models, reference
from viaduct.oci.models import Descriptor
from viaduct.store import layout, reach

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    from viaduct.oci.digest import Digest
    from viaduct.store.content import ContentStore
    from viaduct.store.database import Database
    from viaduct.store.reach import Variant

_COLUMNS = "name, descriptor, created, updated"


class Image(msgspec.Struct, frozen=True):
    """A complete reference and what it points to. `created` is when the name was first used,
    `updated` when it last moved (seconds since the epoch)."""

    name: str
    descriptor: Descriptor
    created: float
    updated: float


class Found(msgspec.Struct, frozen=True):
    """An image found by its id: a tag's target or one of the images in it; `names` reach it."""

    descriptor: Descriptor
    names: tuple[str, ...]


class Images:
    """See the module. Safe to use from any thread."""

    def __init__(
        self,
        content: ContentStore,
        database: Database,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._content = content
        self._database = database
        self._clock = clock

    def tag(self, name: str, descriptor: Descriptor) -> None:
        """Point `name`, a reference with a tag or digest, to an image that is in the store.

        Raises `UsageError` for a name that is none, `NotFound` when the image's manifest or index
        is not in the store. Once it returns, name and image survive a power cut.
        """
        self.tag_all([(name, descriptor)])

    def tag_all(self, targets: Iterable[tuple[str, Descriptor]]) -> None:
        """Point several names to images, all of them or none; see `tag`."""
        rows = [(str(reference.parse(name).with_default_tag()), at) for name, at in targets]
        now = self._clock()
        self._content.sync()
        # A collector that runs now either sees the names or has already taken the content.
        with self._content.pinned():
            for name, descriptor in rows:
                if not self._content.has(descriptor.digest):
                    raise NotFound(
                        f"cannot name {name}: {descriptor.digest} is not in the store",
                        hint="pull or build the image first",
                    )
            with self._database.write() as db:
                for name, descriptor in rows:
                    _insert(db, name, descriptor, now)
                layout.changed(db)
        self.publish()

    def get(self, name: str) -> Image | None:
        """The image of that complete reference."""
        with self._database.read() as db:
            row = db.execute(f"SELECT {_COLUMNS} FROM images WHERE name = ?", (name,)).fetchone()
        return _image(row) if row else None

    def list(self) -> tuple[Image, ...]:
        """Every name, the one that moved last first."""
        with self._database.read() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM images ORDER BY updated DESC, name"
            ).fetchall()
        return tuple(map(_image, rows))

    def remove(self, name: str) -> bool:
        """Forget a name; whether it was there. Its content goes with the next prune."""
        with self._database.write() as db:
            gone = db.execute("DELETE FROM images WHERE name = ?", (name,)).rowcount
            if gone:
                layout.changed(db)
        if gone:
            self.publish()
        return bool(gone)

    def find(self, text: str) -> Found | None:
        """The image with this id: a digest, or the beginning of one, with or without `sha256:`.

        Ids are the digests of what a name points to, and of the manifests and configurations in it;
        the first kind wins. Raises `UsageError` when several images begin like this.
        """
        wanted = text.removeprefix("sha256:")
        if not wanted or any(c not in "0123456789abcdef" for c in wanted):
            return None
        images = self.list()
        roots = {image.descriptor.digest: image.descriptor for image in images}
        hits = {d: root for d, root in roots.items() if _begins(d, wanted)}
        if not hits:
            for root in roots.values():
                for variant in self.variants(root):
                    ids = [variant.descriptor.digest]
                    if variant.manifest is not None:
                        ids.append(variant.manifest.config.digest)
                    if any(_begins(digest, wanted) for digest in ids):
                        hits[variant.descriptor.digest] = variant.descriptor
        if len(hits) > 1:
            raise UsageError(
                f"{text} begins the id of {len(hits)} images",
                hint="write more of it: " + ", ".join(_short(digest) for digest in sorted(hits)),
            )
        for digest, descriptor in hits.items():
            names = tuple(i.name for i in images if digest in self.reachable([i.descriptor]))
            return Found(descriptor, names)
        return None

    def unnamed(self, digest: Digest) -> Descriptor | None:
        """The manifest or index with this digest, or the manifest that has this configuration,
        whether a name leads to it or not."""
        return reach.of_digest(self._content, digest)

    def variants(self, descriptor: Descriptor) -> tuple[Variant, ...]:
        """The images behind a descriptor, in the order of its index, with what of each is here;
        one for a manifest. Raises `NotFound` when the descriptor's own document is not here, and
        `ContentError` for documents that make no sense. To look is no use: what is here may be gone
        the next moment, unless a name leads to it."""
        return reach.variants(self._content, descriptor)

    def reachable(self, descriptors: Iterable[Descriptor]) -> set[Digest]:
        """Digests of everything below the descriptors, as far as documents are here to tell."""
        return reach.reachable(self._content, descriptors)

    def publish(self) -> None:
        """Bring `index.json` up to the table, if it is behind. Raises `StoreError`."""
        layout.publish(self._content.root, self._database)


def restore(db: sqlite3.Connection, content: ContentStore, now: float) -> None:
    """Fill an empty table from the `index.json` of a layout whose database was lost."""
    for name, descriptor in layout.read(content.root):
        if content.has(descriptor.digest):
            _insert(db, name, descriptor, now)


def _insert(db: sqlite3.Connection, name: str, descriptor: Descriptor, now: float) -> None:
    db.execute(
        "INSERT INTO images(name, digest, descriptor, created, updated) VALUES (?1, ?2, ?3, ?4, ?4)"
        " ON CONFLICT(name) DO UPDATE SET digest = excluded.digest,"
        " descriptor = excluded.descriptor, updated = excluded.updated",
        (name, descriptor.digest, models.encode(descriptor), now),
    )


def _image(row: tuple[str, bytes, float, float]) -> Image:
    name, descriptor, created, updated = row
    return Image(name, models.decode(descriptor, Descriptor, what=name), created, updated)


def _begins(digest: Digest, wanted: str) -> bool:
    return digest.partition(":")[2].startswith(wanted)


def _short(digest: Digest) -> str:
    return digest.partition(":")[2][:16]
