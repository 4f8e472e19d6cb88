"""Where results go: every `Output` is checked before the build and carried out after it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import UsageError
from viaduct.base.events import Warned
from viaduct.base.values import Mutable, Value
from viaduct.engine.request import STDIO
from viaduct.engine.work import work
from viaduct.export.documents import rfc3339
from viaduct.export.image import Annotations, Exported, ImageForm, export_image, reachable
from viaduct.export.layers import LayerForm, Layers
from viaduct.layer.compress import Compression
from viaduct.oci import reference

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from viaduct.engine.request import BuildRequest, Output
    from viaduct.engine.shop import Shop
    from viaduct.engine.work import Work
    from viaduct.export.docker_engine import DockerEngine
    from viaduct.export.image import PlatformResult
    from viaduct.oci.platform import Platform

_NO_LISTS = "docker exporter does not currently support exporting manifest lists"


class Exports(Mutable):
    """What the outputs of a build came to: the image of the first that made one, and all names."""

    image: Exported | None = None
    names: list[str] = msgspec.field(default_factory=list)

    def note(self, image: Exported, names: Sequence[str]) -> None:
        self.image = self.image or image
        self.names += [name for name in names if name not in self.names]


def check(request: BuildRequest, platforms: int, engine: DockerEngine | None) -> None:
    """Raise `UsageError`, in the peers' words, for outputs that cannot work; before any step runs.

    `engine` is the Docker engine that answered, if one did and the request loads into it.
    """
    if sum(output.dest == STDIO for output in request.outputs) > 1:
        raise UsageError("multiple outputs configured to write to stdout")
    for output in request.outputs:
        if platforms > 1:
            _check_lists(output, engine)
        if output.push and not output.names:
            raise UsageError(
                "tag is needed when pushing to registry", hint="add -t registry/repository:tag"
            )
        for name in output.names:
            parsed = reference.parse(name)
            if output.push_by_digest and parsed.tag:
                raise UsageError(
                    f"can't push tagged ref {name} by digest", hint="leave the tag off"
                )
        if output.compression == "zstd" and not output.oci_mediatypes:
            raise UsageError("compression=zstd needs OCI media types", hint="drop oci-mediatypes")


def _check_lists(output: Output, engine: DockerEngine | None) -> None:
    """Several platforms have no place in an archive for `docker load`, nor in an engine with the
    classic image store. Our own store takes them, where no engine is asked for by name."""
    if output.kind == "docker" and not output.load:
        hint = f"-o type=oci,dest={output.dest}" if output.dest else "-o type=oci,dest=FILE"
        raise UsageError(
            "docker exporter does not support exporting manifest lists, "
            "use the oci exporter instead",
            hint=hint,
        )
    takes_lists = output.kind != "docker" if engine is None else engine.holds_indexes
    if output.load and not takes_lists:
        raise UsageError(
            _NO_LISTS,
            hint="use --push, one --platform, or -o type=oci,dest=FILE"
            + ("; --load alone fills Viaduct's own store" if engine is None else ""),
        )


class Exporter(Value):
    """Carries out the outputs of one build.

    `now` dates what has no date (seconds), `epoch` replaces every date this build made; `index`
    asks for an index around a single image; `engine` is where `load` goes, None for our own store.
    """

    shop: Shop
    request: BuildRequest
    results: Sequence[PlatformResult]
    now: float
    epoch: int | None = None
    index: bool = False
    engine: DockerEngine | None = None

    def run(self) -> Exports:
        """All outputs, pushes last: no tag moves when an output that needs no registry fails.

        Raises what the exporters raise.
        """
        done = Exports()
        for output in sorted(self.request.outputs, key=lambda output: output.push):
            match output.kind:
                case "image":
                    self._image(output, done)
                case "docker" if output.load:
                    self._image(output, done)
                case "oci" | "docker":
                    self._layout(output, done)
                case "local":
                    self._local(output)
                case "tar":
                    self._tar(output)
        return done

    def _epoch(self, output: Output) -> int | None:
        return self.epoch if output.epoch is None else output.epoch

    def _created(self, output: Output) -> str:
        epoch = self._epoch(output)
        return rfc3339(int(self.now) if epoch is None else epoch)

    def _assemble(self, output: Output, job: Work) -> Exported:
        epoch = self._epoch(output)
        if output.rewrite_timestamp and epoch is None:
            self._warn("rewrite-timestamp is specified, but no source-date-epoch was found")
        reproducible = epoch is not None or output.rewrite_timestamp
        level = output.compression_level
        if output.compression == "zstd" and level == 0:
            level = None  # zstd's own way to say the default
        shop = self.shop
        form = ImageForm(
            layers=LayerForm(
                compression=Compression(output.compression, level, reproducible),
                force=output.force_compression,
                epoch=epoch if output.rewrite_timestamp else None,
                oci=output.oci_mediatypes,
            ),
            annotations=Annotations(
                tuple(
                    (a.level, a.platform, a.key, a.value)
                    for a in (*self.request.annotations, *output.annotations)
                )
            ),
            index=self.index,
            now=self.now,
            epoch=epoch,
        )
        layers = Layers(shop.store, shop.trees, shop.bases.fetch, shop.stop)
        return export_image(self.results, form, layers=layers, content=shop.store.content, job=job)

    def _warn(self, text: str) -> None:
        self.shop.sink(Warned(text, time.time()))

    def _image(self, output: Output, done: Exports) -> None:
        shop = self.shop
        with work(shop.sink, shop.stop, "exporting to image") as job:
            exported = self._assemble(output, job)
            parsed = [reference.parse(name) for name in output.names]
            if not output.push_by_digest:
                parsed = [name.with_default_tag() for name in parsed]
            names = [str(name) for name in parsed]
            done.note(exported, names)
            if output.load and self.engine is not None:
                self._fetch_missing(exported, job)
                # The containerd store reads the layout; only the classic one needs the old list.
                docker = not self.engine.holds_indexes
                self.engine.load(lambda out: self._archive(out, exported, output, docker=docker))
            elif output.load or (output.store and not output.push):
                for name in self._stored(output, names, exported):
                    shop.store.images.tag(name, exported.root)
                    job.status(f"naming to {name}", done=True)
            if output.push:
                shop.push(parsed, exported.root, job, by_digest=output.push_by_digest)

    def _stored(self, output: Output, names: Sequence[str], exported: Exported) -> list[str]:
        """Names in our own store: with `name-canonical` each also with the digest it has now."""
        canonical = [f"{name}@{exported.root.digest}" for name in names if "@" not in name]
        return [*names, *canonical] if output.name_canonical else list(names)

    def _layout(self, output: Output, done: Exports) -> None:
        from viaduct.export import destination, layout

        shop = self.shop
        form = "oci image format" if output.kind == "oci" else "docker image format"
        created = self._created(output)
        with work(shop.sink, shop.stop, f"exporting to {form}") as job:
            exported = self._assemble(output, job)
            done.note(
                _dated(exported, created),
                [str(reference.parse(name).with_default_tag()) for name in output.names],
            )
            self._fetch_missing(exported, job)
            if output.tar:
                with job.part("sending tarball"), destination.opened(output.dest) as out:
                    self._archive(out, exported, output, docker=output.kind == "docker")
            else:
                layout.write_directory(
                    Path(output.dest),
                    exported.root,
                    output.names,
                    shop.store.content,
                    created=created,
                    stop=shop.stop,
                )

    def _archive(self, out: BinaryIO, exported: Exported, output: Output, *, docker: bool) -> None:
        from viaduct.export import layout

        layout.write_archive(
            out,
            exported,
            output.names,
            self.shop.store.content,
            created=self._created(output),
            docker=docker,
            stop=self.shop.stop,
        )

    def _fetch_missing(self, exported: Exported, job: Work) -> None:
        """Base layers stay in their registry until somebody needs their bytes; an archive does."""
        shop = self.shop
        for descriptor in reachable(exported.root, shop.store.content):
            if not shop.store.content.has(descriptor.digest):
                with job.part(f"fetching {descriptor.digest}"):
                    refs = shop.store.snapshots.sources(descriptor.digest)
                    shop.bases.fetch(descriptor, refs, shop.stop)

    def _trees(self) -> list[tuple[Platform, Path]]:
        trees = self.shop.trees
        return [(r.platform, trees.view(r.filesystem, self.shop.stop)) for r in self.results]

    def _split(self, output: Output) -> bool:
        several = len(self.results) > 1
        return several if output.platform_split is None else output.platform_split

    def _local(self, output: Output) -> None:
        from viaduct.export import destination, files

        with work(self.shop.sink, self.shop.stop, "exporting to client directory"):
            trees = self._trees()
            with destination.explained(output.dest):
                files.write_local(
                    Path(output.dest),
                    trees,
                    split=self._split(output),
                    # 0:0 in here is the person who asked.
                    owner=(0, 0),
                    epoch=self._epoch(output),
                    delete=output.delete,
                )

    def _tar(self, output: Output) -> None:
        from viaduct.export import destination, files

        shop = self.shop
        with (
            work(shop.sink, shop.stop, "exporting to client tarball") as job,
            job.part("sending tarball"),
            destination.opened(output.dest) as out,
        ):
            split, epoch = self._split(output), self._epoch(output)
            files.write_tar(out, self._trees(), split=split, epoch=epoch, stop=shop.stop)


def _dated(exported: Exported, created: str) -> Exported:
    """The image with the date that a layout gives its entry, as the metadata tells it."""
    from viaduct.export.layout_directory import CREATED

    annotations = {CREATED: created, **exported.root.annotations}
    return Exported(
        msgspec.structs.replace(exported.root, annotations=annotations), exported.images
    )
