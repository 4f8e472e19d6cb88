"""Archives of images that were made to harm who loads them."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING

from tests.parts import pictures
from tests.parts.pictures import Blobs

from viaduct.base.tasks import Stop
from viaduct.engine import archives
from viaduct.oci import media, models
from viaduct.oci.models import Index
from viaduct.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path


def test_indexes_that_name_each_other_often_are_loaded(tmp_path: Path) -> None:
    """Seven indexes of a hundred entries each, which are 10^14 ways to one image."""
    blobs = Blobs(tmp_path / "blobs")
    top = pictures.index(blobs)
    for _ in range(7):
        index = Index(schema_version=2, media_type=media.OCI_INDEX, manifests=(top,) * 100)
        top = blobs.add(models.encode(index), media.OCI_INDEX)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = {"mediaType": top.media_type, "digest": top.digest, "size": top.size}
        files = {f"blobs/sha256/{name}": data for name, data in blobs.all().items()}
        files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    out.seek(0)
    store = Store.open(tmp_path / "store")
    (loaded,) = archives.load(store, out, stop=Stop())
    assert loaded.root.digest == top.digest
    store.close()
