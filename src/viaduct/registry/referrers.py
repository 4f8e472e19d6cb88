"""Referrers at registries that do not find them by themselves: the tag that lists them.

The distribution specification (1.1, "Referrers Tag Schema") has the client keep an index under the
tag `sha256-<hex>` of the subject where a registry lacks the referrers API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from viaduct.base.errors import RegistryError
from viaduct.oci import digest as digests
from viaduct.oci import media, models

if TYPE_CHECKING:
    from viaduct.oci.digest import Digest
    from viaduct.oci.models import Descriptor
    from viaduct.oci.reference import Reference
    from viaduct.registry.client import Client


def tag_of(subject: Digest) -> str:
    """The tag under which referrers of `subject` are listed."""
    return f"{digests.algorithm(subject)[:32]}-{digests.encoded(subject)[:64]}"


def ensure_listed(client: Client, ref: Reference, subject: Digest, entry: Descriptor) -> None:
    """Make `entry`, a manifest in the repository of `ref`, known as a referrer of `subject`; does
    nothing where the registry knows it already."""
    if any(known.digest == entry.digest for known in client.referrers(ref, subject)):
        return
    at = replace(ref, tag=tag_of(subject), digest=None)
    try:
        document = client.manifest(at)
        listed = models.decode(document.data, models.Index, what=str(at)).manifests
    except RegistryError as error:
        if error.status != 404:
            raise
        listed = ()
    index = models.Index(schema_version=2, media_type=media.OCI_INDEX, manifests=(*listed, entry))
    client.put_manifest(at, models.encode(index), media.OCI_INDEX)
