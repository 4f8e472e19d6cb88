"""An OCI image layout as a directory that other tools read and write too.

Blobs are added whole or not at all. `index.json` is replaced under a lock on the directory, so that
several builds can enter their images into one layout; a lock file would stay behind in it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from viaduct.base.errors import ContentError, NotFound, UsageError
from viaduct.base.fs import read_file, write_atomic
from viaduct.oci import digest as digests
from viaduct.oci import media, models, reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from viaduct.oci.digest import Digest
    from viaduct.oci.models import Descriptor

CREATED = "org.opencontainers.image.created"

_DOCUMENT_LIMIT = 8 << 20


class LayoutDirectory:
    """The layout at `path`, which need not exist before something is added."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def blob_path(self, digest: Digest) -> Path:
        return self.path / "blobs" / digests.algorithm(digest) / digests.encoded(digest)

    def has(self, digest: Digest) -> bool:
        return self.blob_path(digest).is_file()

    def open(self, digest: Digest) -> BinaryIO:
        """The blob's bytes, unverified. Raises `NotFound` when the layout lacks it."""
        try:
            # What is no file would be waited for, or never end.
            if not self.has(digest):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            return open(self.blob_path(digest), "rb")
        except OSError as error:
            raise NotFound(
                f"{self.path} lacks {digest}, which its image names",
                hint="the layout is incomplete; write it again",
            ) from error

    def read(self, digest: Digest) -> bytes:
        """A document, whole and verified. Raises `NotFound` and `ContentError`."""
        with self.open(digest) as file:
            data = file.read(_DOCUMENT_LIMIT + 1)
        if len(data) > _DOCUMENT_LIMIT:
            raise ContentError(f"{digest} in {self.path} is too large for a document")
        if digests.from_hash(hashlib.new(digests.algorithm(digest), data)) != digest:
            raise ContentError(
                f"{self.path} holds other bytes under {digest}", hint="write the layout again"
            )
        return data

    def entries(self) -> tuple[Descriptor, ...]:
        """What `index.json` lists. Raises `NotFound` when this is no layout."""
        try:
            data = read_file(self.path / "index.json", limit=_DOCUMENT_LIMIT)
        except OSError as error:
            raise NotFound(
                f"{self.path} is not an OCI layout: {error.strerror}",
                hint="name a directory that holds oci-layout and index.json",
            ) from error
        return models.decode(data, models.Index, what=f"{self.path}/index.json").manifests

    def find(self, tag: str) -> Descriptor:
        """The entry of that tag or image name. Raises `NotFound`, naming the tags there are."""
        entries = self.entries()
        for key in (media.LAYOUT_NAME, media.LAYOUT_TAG):
            for entry in entries:
                if entry.annotations.get(key) == tag:
                    return entry
        if tag == "latest" and len(entries) == 1:
            return entries[0]
        raise self._lacks(tag, entries)

    def find_digest(self, digest: Digest) -> Descriptor:
        """The entry of that digest, or a document that only other documents name. Raises
        `NotFound`, naming the tags there are."""
        entries = self.entries()
        for entry in entries:
            if entry.digest == digest:
                return entry
        if not self.has(digest):
            raise self._lacks(digest, entries)
        document = self.blob_path(digest).read_bytes()
        return models.Descriptor(
            media_type=models.sniff_media_type(document), digest=digest, size=len(document)
        )

    def _lacks(self, wanted: str, entries: Sequence[Descriptor]) -> NotFound:
        tags = [
            entry.annotations[media.LAYOUT_TAG]
            for entry in entries
            if media.LAYOUT_TAG in entry.annotations
        ]
        return NotFound(
            f"{self.path} does not hold an image {wanted}",
            hint=f"it has the tags: {', '.join(tags)}" if tags else "it has no tags; name a digest",
        )

    def add(self, digest: Digest, write: Callable[[BinaryIO], object]) -> None:
        """Keep a blob that `write` writes, unless it is there; the caller has verified it."""
        path = self.blob_path(digest)
        if path.exists():
            return
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            temp = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
            try:
                with open(temp, "xb") as out:
                    write(out)
                temp.rename(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    temp.unlink()
                raise

    def enter(self, entries: Sequence[Descriptor]) -> None:
        """List these in `index.json`; an entry takes the place of those with the same name, and
        one without any name that of its equal."""
        with self._explained():
            self.path.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                index = self._index()
                write_atomic(self.path / "oci-layout", media.LAYOUT_MARKER)
                write_atomic(self.path / "index.json", models.encode(_with(index, entries)))
            finally:
                os.close(fd)

    def _index(self) -> models.Index:
        try:
            data = (self.path / "index.json").read_bytes()
        except FileNotFoundError:
            data = b""
        if not data:
            return models.Index(schema_version=2, media_type=media.OCI_INDEX, manifests=())
        index = models.decode(data, models.Index, what=f"{self.path}/index.json")
        return msgspec.structs.replace(index, media_type=index.media_type or media.OCI_INDEX)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UsageError(
                f"cannot write the OCI layout {self.path}: {error.strerror or error}",
                hint="name a directory that can be written, on a disk with room",
            ) from error


def _with(index: models.Index, entries: Sequence[Descriptor]) -> models.Index:
    kept = list(index.manifests)
    for entry in entries:
        name = _name(entry)
        kept = [
            old
            for old in kept
            if (_name(old) != name if any(name) else old.digest != entry.digest or any(_name(old)))
        ]
        kept.append(entry)
    return msgspec.structs.replace(index, manifests=tuple(kept))


def _name(entry: Descriptor) -> tuple[str, str]:
    return entry.annotations.get(media.LAYOUT_NAME, ""), entry.annotations.get(media.LAYOUT_TAG, "")


def parse(text: str) -> tuple[Path, str, Digest | None]:
    """`oci-layout://path[:tag][@digest]` as directory, tag and digest; `latest` without either."""
    rest = text.removeprefix(reference.LAYOUT_SCHEME)
    digest = None
    head, at, last = rest.rpartition("@")
    if at and ":" in last and "/" not in last:
        rest, digest = head, digests.parse(last)
    tag = ""
    head, colon, last = rest.rpartition(":")
    if colon and head and "/" not in last and last:
        rest, tag = head, last
    return Path(rest), tag or ("" if digest else "latest"), digest
