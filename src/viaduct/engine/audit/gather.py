"""Reading an image where it is: every document and every blob of it, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from viaduct.base.errors import ContentError, NotFound, RegistryError, ViaductError
from viaduct.base.tasks import Nursery
from viaduct.engine.audit.facts import Facts, Fault, Image, Layer
from viaduct.engine.audit.flatten import flatten
from viaduct.engine.audit.scan import Contents, scan
from viaduct.oci import media, models
from viaduct.registry.parcel import may_stay_away
from viaduct.registry.progress import Meter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from viaduct.base.tasks import Stop
    from viaduct.engine.places import Place
    from viaduct.oci.digest import Digest
    from viaduct.oci.models import Descriptor, ImageConfig
    from viaduct.registry.documents import RawManifest
    from viaduct.registry.progress import Job

# Layers on their way at once: enough to keep a connection and two processors busy. Each takes a
# few megabytes, and what it says of its files.
_STREAMS = 4
_DEEPEST = 8
_DOCUMENT_LIMIT = 8 << 20
_PIECE = 1 << 18
_FILES = (".tar", "+gzip", ".gzip", "+zstd", ".zstd")


def gather(name: str, place: Place, document: RawManifest, job: Job) -> Facts:
    """Read all that `document`, which is at `place`, leads to.

    What is missing or damaged is a fault, not an error. Raises `RegistryError` when a registry
    refuses or cannot be reached, and `Canceled`.
    """
    return _Gathering(place, job).run(name, document)


class _Found:
    """A manifest on its way to becoming an `Image`."""

    def __init__(self, entry: Descriptor, *, listed: bool) -> None:
        self.image = Image(entry, listed)
        self.faults: list[Fault] = []


class _Blob:
    """What became of a blob."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.contents: Contents | None = None
        self.data = b""


class _Gathering:
    def __init__(self, place: Place, job: Job) -> None:
        self._place = place
        self._job = job
        self._faults: list[Fault] = []
        self._blobs: dict[Digest, _Blob] = {}
        #: Indexes that were looked into; a few that name each other often would take for ever.
        self._entered: set[Digest] = set()

    def run(self, name: str, document: RawManifest) -> Facts:
        root = document.descriptor
        found = list(self._manifests(root, document))
        with Nursery(_STREAMS, stop=self._job.stop, name="verify") as todo:
            for descriptor, readable in _blobs(found):
                blob = self._blobs[descriptor.digest] = _Blob()
                todo.start(self._read_blob, descriptor, blob, readable, todo.stop)
        images = tuple(self._image(each) for each in found)
        return Facts(name, root, images, tuple(self._faults))

    # --- documents -------------------------------------------------------------------------------

    def _manifests(self, root: Descriptor, document: RawManifest) -> Iterator[_Found]:
        """Every manifest, in the order of the index."""
        if not models.is_index(root):
            found = _Found(root, listed=False)
            self._decode(found, document.data)
            yield found
            return
        yield from self._children(root, document.data, 0)

    def _children(self, index: Descriptor, data: bytes, depth: int) -> Iterator[_Found]:
        try:
            if depth > _DEEPEST:
                raise ContentError("indexes are nested too deeply")
            entries = models.decode(data, models.Index, what=f"index {index.digest}").manifests
        except ContentError as error:
            self._faults.append(Fault("damaged", error.what))
            return
        documents = self._fetch(entries)
        for entry in entries:
            fault, document = documents.get(entry.digest, (None, None))
            if models.is_index(entry):
                if fault is not None:
                    self._faults.append(fault)
                elif document is not None and entry.digest not in self._entered:
                    self._entered.add(entry.digest)
                    yield from self._children(entry, document.data, depth + 1)
                continue
            found = _Found(entry, listed=True)
            if fault is not None:
                found.faults.append(fault)
            elif document is not None:
                if wrong := _differs(entry, document):
                    found.faults.append(wrong)
                self._decode(found, document.data)
            yield found

    def _fetch(
        self, entries: tuple[Descriptor, ...]
    ) -> dict[Digest, tuple[Fault | None, RawManifest | None]]:
        """The documents of an index's entries, side by side."""
        out: dict[Digest, tuple[Fault | None, RawManifest | None]] = {}

        def one(entry: Descriptor) -> None:
            try:
                out[entry.digest] = None, self._place.with_digest(entry.digest).document()
            except ViaductError as error:
                out[entry.digest] = _fault(error, f"manifest {entry.digest}"), None

        unique = {entry.digest: entry for entry in entries if models.is_document(entry.media_type)}
        with Nursery(_STREAMS, stop=self._job.stop, name="manifest") as todo:
            for entry in unique.values():
                todo.start(one, entry)
        return out

    def _decode(self, found: _Found, data: bytes) -> None:
        what = f"manifest {found.image.entry.digest}"
        try:
            manifest = models.decode(data, models.Manifest, what=what)
        except ContentError as error:
            found.faults.append(Fault("damaged", error.what))
            return
        found.image = replace(found.image, manifest=manifest)

    # --- blobs -----------------------------------------------------------------------------------

    def _read_blob(self, descriptor: Descriptor, blob: _Blob, readable: str, stop: Stop) -> None:
        try:
            with self._place.blob(descriptor) as raw:
                if readable == "document":
                    blob.data = _whole(raw, descriptor)
                    return
                stream = _Metered(raw, Meter(self._job, descriptor.digest, descriptor.size))
                try:
                    if readable == "files":
                        blob.contents = scan(stream, stop)  # type: ignore[arg-type]  # reads
                except ContentError:
                    # That the bytes are not those of the digest explains whatever else is wrong.
                    stream.drain(stop)
                    raise
                stream.drain(stop)
                stream.done()
        except ViaductError as error:
            blob.fault = _fault(error, f"blob {descriptor.digest}")

    def _image(self, found: _Found) -> Image:
        image, faults = found.image, list(found.faults)
        if image.manifest is None:
            return replace(image, faults=tuple(faults))
        manifest = image.manifest
        for part in (manifest.config, *manifest.layers):
            fault = self._blobs[part.digest].fault
            if fault is not None and not (fault.kind == "missing" and may_stay_away(part)):
                faults.append(fault)
        config = self._config(image, faults)
        contents = [self._blobs[layer.digest].contents for layer in manifest.layers]
        layers = tuple(
            Layer(layer, read.diff_id if read is not None else None)
            for layer, read in zip(manifest.layers, contents, strict=True)
        )
        image = replace(image, config=config, layers=layers)
        whole = [read.members for read in contents if read is not None]
        if config is not None and len(whole) == len(contents):
            try:
                image = replace(image, files=flatten(whole), audited=True)
            except ContentError as error:
                faults.append(Fault("damaged", f"the layers do not fit together: {error.what}"))
        return replace(image, faults=tuple(dict.fromkeys(faults)))

    def _config(self, image: Image, faults: list[Fault]) -> ImageConfig | None:
        assert image.manifest is not None
        descriptor = image.manifest.config
        if descriptor.media_type not in media.CONFIGS or models.is_attestation(image.entry):
            return None
        blob = self._blobs[descriptor.digest]
        if blob.fault is not None:
            return None
        try:
            what = f"configuration {descriptor.digest}"
            return models.decode(blob.data, models.ImageConfig, what=what)
        except ContentError as error:
            faults.append(Fault("damaged", error.what))
            return None


class _Metered:
    """A stream that tells how far it has been read."""

    def __init__(self, raw: BinaryIO, meter: Meter) -> None:
        self._raw = raw
        self._meter = meter
        self._position = 0

    def read(self, size: int) -> bytes:
        data = self._raw.read(size)
        self._position += len(data)
        self._meter.at("", self._position)
        return data

    def drain(self, stop: Stop) -> None:
        """Read what is left."""
        while self.read(_PIECE):
            stop.check()

    def done(self) -> None:
        self._meter.done()


def _blobs(found: list[_Found]) -> Iterator[tuple[Descriptor, str]]:
    """Every blob once, with what it is read as: `document`, `files` or `bytes`."""
    seen: set[Digest] = set()
    for each in found:
        manifest = each.image.manifest
        if manifest is None:
            continue
        is_image = manifest.config.media_type in media.CONFIGS and not models.is_attestation(
            each.image.entry
        )
        for part in (manifest.config, *manifest.layers):
            if part.digest in seen:
                continue
            seen.add(part.digest)
            if part is manifest.config:
                yield part, "document" if is_image else "bytes"
            else:
                yield part, "files" if is_image and part.media_type.endswith(_FILES) else "bytes"


def _whole(stream: BinaryIO, descriptor: Descriptor) -> bytes:
    if descriptor.size > _DOCUMENT_LIMIT:
        raise ContentError(f"{descriptor.digest} of {descriptor.size} bytes is no configuration")
    data = b""
    while piece := stream.read(descriptor.size + 1 - len(data)):
        data += piece
    return data


def _differs(entry: Descriptor, document: RawManifest) -> Fault | None:
    """What an index says of a document, against the document."""
    told = document.descriptor
    if entry.size != told.size:
        text = f"the index says {entry.size} bytes for {entry.digest}, which has {told.size}"
        return Fault("mismatch", text)
    if entry.media_type != told.media_type:
        called = f"{entry.digest} {entry.media_type}, it calls itself {told.media_type}"
        return Fault("mismatch", f"the index calls {called}")
    return None


def _fault(error: ViaductError, what: str) -> Fault:
    """What went wrong as a fault of the image; raises what is none."""
    if isinstance(error, NotFound) or (isinstance(error, RegistryError) and error.status == 404):
        return Fault("missing", f"{what} is missing")
    if isinstance(error, ContentError):
        text = error.what if what.partition(" ")[2] in error.what else f"{what}: {error.what}"
        return Fault("damaged", text)
    raise error
