"""`viaduct images`."""

from __future__ import annotations

import contextlib
import time
from datetime import datetime
from typing import TYPE_CHECKING

from viaduct.base.errors import UsageError
from viaduct.cli.command import implements
from viaduct.cli.options import arguments, switch, text, texts
from viaduct.cli.out import echo

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from viaduct.cli.image_list import StoredImage as Line
    from viaduct.cli.session import Session
    from viaduct.engine.images import StoredImage

_FILTERS = ("before", "dangling", "label", "reference", "since")


@implements("images")
@switch("-a", "--all", help="Accepted for scripts: there are no hidden images")
@switch("--digests", help="Show the digests that the names point to")
@texts(
    "--filter", metavar="key=value", help="Filter by reference=, label=, before=, since=, dangling="
)
@text("--format", metavar="template", help="Print 'table', 'json', or this Go template")
@switch("--no-trunc", help="Show ids in full")
@switch("-q", "--quiet", help="Print ids alone")
@arguments("[REPOSITORY[:TAG]]", most=1)
def command(
    _session: Session,
    /,
    args: tuple[str, ...],
    *,
    all: bool,  # noqa: A002, ARG001 - the option's name; as its help says
    digests: bool,
    filter: tuple[str, ...],  # noqa: A002 - the option's name
    format: str,  # noqa: A002 - the option's name
    no_trunc: bool,
    quiet: bool,
) -> None:
    """List the images in the local store, and the platforms each has there."""
    from viaduct import api
    from viaduct.cli import image_list

    chosen = _filtered(api.stored_images(), [*_pairs(filter), *_pattern(args)])
    listed = image_list.render(
        [line(image) for image in chosen],
        time.time(),
        form=format,
        quiet=quiet,
        no_trunc=no_trunc,
        digests=digests,
    )
    echo(listed, nl=False)


def line(image: StoredImage) -> Line:
    """A stored image as a line of the list: its platforms and size are those that are here."""
    from viaduct.cli.image_list import StoredImage as Line
    from viaduct.cli.terminal import visible
    from viaduct.oci import reference

    here = [variant for variant in image.variants if variant.complete]
    sizes = {}
    for variant in here:
        for part in (variant.manifest.config, *variant.manifest.layers):
            sizes[part.digest] = part.size
    return Line(
        id=image.root.digest,
        digest=image.root.digest,
        name=reference.parse(image.name),
        created=_created(image),
        size=sum(sizes.values()),
        # What a document says is anybody's text.
        platforms=tuple(dict.fromkeys(visible(str(variant.platform)) for variant in here)),
    )


def _created(image: StoredImage) -> float:
    """When the newest of its platforms was made."""
    times = [0.0]
    for variant in image.variants:
        with contextlib.suppress(ValueError, OverflowError):
            times.append(datetime.fromisoformat(variant.config.created).timestamp())
    return max(times)


def _pairs(filters: Iterable[str]) -> list[tuple[str, str]]:
    out = []
    for given in filters:
        key, equals, value = given.partition("=")
        if not equals:
            raise UsageError(f"invalid filter '{given}'", hint="write --filter key=value")
        if key not in _FILTERS:
            from viaduct.cli.pflag import suggestion

            raise UsageError(
                f"invalid filter '{key}'",
                hint=suggestion(key, _FILTERS) or f"one of {', '.join(_FILTERS)}",
            )
        out.append((key, value))
    return out


def _pattern(args: Sequence[str]) -> list[tuple[str, str]]:
    return [("reference", args[0])] if args else []


def _filtered(
    images: Sequence[StoredImage], filters: Sequence[tuple[str, str]]
) -> list[StoredImage]:
    """Filters of different kinds all hold; of references one has to."""
    kept = list(images)
    patterns = [value for key, value in filters if key == "reference"]
    if patterns:
        kept = [image for image in kept if any(_named(image, pattern) for pattern in patterns)]
    for key, value in filters:
        match key:
            case "label":
                kept = [image for image in kept if _labeled(image, value)]
            case "before":
                limit = _created(_get(images, value))
                kept = [image for image in kept if _created(image) < limit]
            case "since":
                limit = _created(_get(images, value))
                kept = [image for image in kept if _created(image) > limit]
            case "dangling" if value.lower() in ("1", "t", "true"):
                # What has no name is not an image of the store but a part of the build cache.
                kept = []
    return kept


def _named(image: StoredImage, pattern: str) -> bool:
    from viaduct.dockerfile import gomatch
    from viaduct.oci import reference

    name = reference.parse(image.name)
    bare = reference.Reference(name.domain, name.path)
    texts = {name.familiar, bare.familiar, str(name), str(bare)}
    try:
        return any(gomatch.match(pattern, text) for text in texts)
    except ValueError as error:
        raise UsageError(f"invalid pattern '{pattern}': {error}") from error


def _labeled(image: StoredImage, wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    labels = [variant.config.config.labels for variant in image.variants]
    return any(key in given and (not equals or given[key] == value) for given in labels)


def _get(images: Sequence[StoredImage], text: str) -> StoredImage:
    from viaduct.oci import reference

    name = str(reference.parse(text).with_default_tag())
    for image in images:
        if image.name == name:
            return image
    raise UsageError(f"no such image: {text}", hint="`viaduct images` lists what there is")
