"""The face of the content store for other tools: `oci-layout` and `index.json`.

Each image is listed under its complete name and, for the image that got it last, under its tag
alone; so both `oci:DIR:1.0` and `oci:DIR:registry/app:1.0` find it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import ContentError, UsageError
from viaduct.base.fs import explain_oserror, locked, write_atomic
from viaduct.oci import media, models, reference
from viaduct.oci.models import Descriptor, Index

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable
    from pathlib import Path

    from viaduct.store.database import Database


def changed(db: sqlite3.Connection) -> None:
    """Note, in the transaction that changes the images, that `index.json` is behind."""
    db.execute("UPDATE layout SET changes = changes + 1")


def publish(root: Path, database: Database) -> None:
    """Write `index.json` (and `oci-layout`) below `root`, if the images changed since last time.

    Raises `StoreError`. A process that is killed in between leaves the old file, and a table that
    knows it.
    """
    with database.read() as db:
        changes, published = db.execute("SELECT changes, published FROM layout").fetchone()
    if changes == published:
        return
    try:
        with locked(root / "index.lock"):
            with database.read() as db:
                # The counter first: a change that comes after it is published once more.
                (changes,) = db.execute("SELECT changes FROM layout").fetchone()
                rows = db.execute(
                    "SELECT name, descriptor FROM images ORDER BY updated DESC, name"
                ).fetchall()
            if not (root / "oci-layout").exists():
                write_atomic(root / "oci-layout", media.LAYOUT_MARKER)
            write_atomic(root / "index.json", _index(rows))
            with database.write() as db:
                db.execute("UPDATE layout SET published = ?", (changes,))
    except OSError as error:
        raise explain_oserror(error, "writing index.json") from error


def read(root: Path) -> list[tuple[str, Descriptor]]:
    """The named images of a layout; none when there is no layout or it makes no sense."""
    try:
        data = (root / "index.json").read_bytes()
        entries = models.decode(data, Index, what="index.json").manifests
    except (OSError, ContentError):
        return []
    found: dict[str, Descriptor] = {}
    for entry in reversed(entries):
        annotations = dict(entry.annotations)
        name = annotations.pop(media.LAYOUT_NAME, "")
        annotations.pop(media.LAYOUT_TAG, None)
        try:
            reference.parse(name)
        except UsageError:
            continue
        found[name] = msgspec.structs.replace(entry, annotations=annotations)
    return list(found.items())


def _index(rows: Iterable[tuple[str, bytes]]) -> bytes:
    entries: list[Descriptor] = []
    tags: set[str] = set()
    for name, encoded in rows:
        descriptor = models.decode(encoded, Descriptor, what=name)
        tag = reference.parse(name).tag
        if tag and tag not in tags:
            tags.add(tag)
            entries.append(_entry(descriptor, name, tag))
        entries.append(_entry(descriptor, name, name))
    index = Index(schema_version=2, media_type=media.OCI_INDEX, manifests=tuple(entries))
    return models.encode(index, indent=2)


def _entry(descriptor: Descriptor, name: str, ref: str) -> Descriptor:
    annotations = {**descriptor.annotations, media.LAYOUT_NAME: name, media.LAYOUT_TAG: ref}
    return msgspec.structs.replace(descriptor, annotations=annotations)
