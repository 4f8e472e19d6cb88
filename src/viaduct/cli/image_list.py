"""The list of `viaduct images`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from viaduct.base.values import Value
from viaduct.cli.listing import Listing
from viaduct.cli.units import ago, human_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from viaduct.oci.reference import Reference

_NONE = "<none>"
_SHORT_ID = 12

_LISTING = Listing(
    "image",
    {
        "Repository": "REPOSITORY",
        "Tag": "TAG",
        "Digest": "DIGEST",
        "ID": "IMAGE ID",
        "CreatedSince": "CREATED",
        "CreatedAt": "CREATED AT",
        "Size": "SIZE",
        "Platforms": "PLATFORMS",
    },
    "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.Platforms}}",
)
_WITH_DIGESTS = (
    "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
    "\t{{.Platforms}}"
)


class StoredImage(Value):
    """One name in the store, or an image without any. `id` and `digest` are complete digests;
    `created` is in seconds since the epoch, 0 when unknown; `size` is in bytes."""

    id: str
    digest: str
    name: Reference | None = None
    created: float = 0
    size: int = 0
    platforms: tuple[str, ...] = ()


def render(
    images: Sequence[StoredImage],
    now: float,
    *,
    form: str = "",
    quiet: bool = False,
    no_trunc: bool = False,
    digests: bool = False,
) -> str:
    """The list, newest first: a table, ids only (`quiet`), or in the form of `--format`."""
    images = sorted(images, key=lambda image: (-image.created, str(image.name)))
    if quiet:
        ids = (_id(image, no_trunc=no_trunc) for image in images)
        return "".join(f"{text}\n" for text in dict.fromkeys(ids))
    if digests and form in ("", "table"):
        form = _WITH_DIGESTS
    return _LISTING.render(list(_rows(images, now, no_trunc=no_trunc)), form)


def _rows(images: Iterable[StoredImage], now: float, *, no_trunc: bool) -> Iterable[dict[str, Any]]:
    for image in images:
        name = image.name
        familiar = name.familiar.partition("@")[0] if name else _NONE
        at = datetime.fromtimestamp(image.created, UTC)
        yield {
            "Repository": familiar.removesuffix(f":{name.tag}") if name and name.tag else familiar,
            "Tag": (name.tag if name else "") or _NONE,
            "Digest": image.digest or _NONE,
            "ID": _id(image, no_trunc=no_trunc),
            "CreatedSince": ago(image.created, now) if image.created else "N/A",
            "CreatedAt": at.strftime("%Y-%m-%d %H:%M:%S %z UTC"),
            "Size": human_size(image.size, digits=3),
            "Platforms": ", ".join(image.platforms),
        }


def _id(image: StoredImage, *, no_trunc: bool) -> str:
    return image.id if no_trunc else image.id.partition(":")[2][:_SHORT_ID]
