"""`viaduct imagetools create`: an image made of images that are in registries already."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from viaduct.base.errors import UsageError
from viaduct.cli.command import implements
from viaduct.cli.options import PROGRESS, REGISTRY_INSECURE, arguments, switch, text, texts
from viaduct.cli.out import pass_on

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from viaduct.base.tasks import Stop
    from viaduct.cli.session import Session
    from viaduct.engine.compose import Annotation, Composition
    from viaduct.engine.places import LayoutPlace, RegistryPlace
    from viaduct.engine.sources import Source
    from viaduct.registry.client import Client


@implements("create")
@texts("--annotation", metavar="type:k=v", help="Annotate the index or its manifest-descriptors")
@switch("--append", help="Add the sources to the image that the first tag names")
@switch("--dry-run", help="Print the image instead of pushing it")
@texts("-f", "--file", path=True, metavar="path", help="Read a source's descriptor from a file")
@text("--metadata-file", path=True, metavar="path", help="Write the result's metadata as JSON")
@texts("-p", "--platform", metavar="platform", help="Keep only these platforms")
@switch(
    "--prefer-index", default=True, help="Make an index of a single image, too; false copies it"
)
@PROGRESS
@REGISTRY_INSECURE
@texts("--registry-mirror", metavar="host=url", help="Read from a mirror of this registry")
@texts("-t", "--tag", metavar="name", help="Name of the new image")
@arguments("[SOURCE...]")
def command(
    session: Session,
    /,
    args: tuple[str, ...],
    *,
    annotation: tuple[str, ...],
    append: bool,
    dry_run: bool,
    file: tuple[str, ...],
    metadata_file: str,
    platform: tuple[str, ...],
    prefer_index: bool,
    progress: str,
    registry_insecure: tuple[str, ...],
    registry_mirror: tuple[str, ...],
    tag: tuple[str, ...],
) -> None:
    """Create an image from images in registries, or copy one."""
    from viaduct.cli import values
    from viaduct.cli.imagetools import connected
    from viaduct.engine import compose, sources
    from viaduct.oci import platform as platforms

    if not args and not file:
        raise UsageError("no sources specified", hint="name an image: imagetools create -t NEW OLD")
    if not dry_run and not tag:
        raise UsageError("can't push with no tags specified, please set --tag or --dry-run")
    mode = values.progress_mode(progress, session.env)
    annotations = _annotations(annotation)
    compose.check(annotations)
    wanted = platforms.parse_list(platform)
    with connected(session, registry_insecure, registry_mirror) as (client, stop):
        named = sources.targets(tag, client)
        words = [*_files(file), *args]
        if append and tag:
            words.insert(0, tag[0])
        found = sources.sources(words, named, client)
        made = compose.combine(
            sources.fetch(found, stop),
            annotations=annotations,
            prefer_index=prefer_index,
            platforms=wanted,
        )
        if dry_run:
            pass_on(made.data + b"\n")
            return
        _deliver(made, found, named, client=client, stop=stop, mode=mode, session=session)
    if metadata_file:
        _write_metadata(metadata_file, made, named)


def _annotations(texts: Iterable[str]) -> list[Annotation]:
    from viaduct.cli import values
    from viaduct.engine.compose import Annotation

    return [Annotation(a.level, a.key, a.value, a.platform) for a in values.annotated(texts)]


def _files(paths: Iterable[str]) -> list[str]:
    found = []
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                found.append(file.read())
        except OSError as error:
            raise UsageError(
                f"cannot read --file {path}: {error.strerror}", hint="name a descriptor's file"
            ) from error
    return found


def _deliver(
    made: Composition,
    found: Sequence[Source],
    named: Sequence[RegistryPlace | LayoutPlace],
    *,
    client: Client,
    stop: Stop,
    mode: str,
    session: Session,
) -> None:
    from viaduct.cli.progress.display import Display, renderer
    from viaduct.engine import assemble
    from viaduct.engine.work import work

    display = Display(renderer(mode, sys.stderr, session.env), session.env)
    where = ", ".join(dict.fromkeys(place.repository for place in named))
    with display, work(display.sink, stop, f"[internal] pushing {where}") as job:
        cargo = assemble.gather(made, found, named, stop)
        assemble.deliver(made, cargo, named, client, job)


def _write_metadata(
    path: str, made: Composition, named: Sequence[RegistryPlace | LayoutPlace]
) -> None:
    from viaduct.cli import metadata

    repositories = sorted({place.repository for place in named})
    document = {
        "containerimage.descriptor": made.root,
        "image.name": ",".join(repositories),
    }
    metadata.write(path, metadata.encode(document), "--metadata-file")
