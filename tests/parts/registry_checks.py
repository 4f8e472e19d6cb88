"""What has to hold for a registry whatever happened to those who pushed to it."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_ACCEPTED = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


def resolve_completely(host: str, repository: str, tag: str) -> str | None:
    """Follow a tag down to its last blob; its digest, or None when there is no such tag.

    Raises AssertionError for anything on the way that is missing, has another size, or another
    digest.
    """
    try:
        data = _get(host, repository, f"manifests/{tag}")
    except urllib.error.HTTPError as error:
        error.close()
        assert error.code == 404, f"{repository}:{tag}: {error.code}"
        return None
    _follow(host, repository, json.loads(data))
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def check_blobs(root: Path) -> int:
    """Every blob file below a directory is what its name says; returns their number."""
    count = 0
    for path in root.rglob("blobs/sha256/*"):
        with path.open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == path.name
        count += 1
    return count


def _follow(host: str, repository: str, document: dict[str, Any]) -> None:
    for entry in document.get("manifests", ()):
        data = _get(host, repository, f"manifests/{entry['digest']}")
        _check(entry, data)
        _follow(host, repository, json.loads(data))
    blobs = [*document.get("layers", ())]
    if "config" in document:
        blobs.append(document["config"])
    for entry in blobs:
        _check(entry, _get(host, repository, f"blobs/{entry['digest']}"))


def _check(descriptor: dict[str, Any], data: bytes) -> None:
    assert len(data) == descriptor["size"], descriptor
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" == descriptor["digest"], descriptor


def _get(host: str, repository: str, rest: str) -> bytes:
    request = urllib.request.Request(
        f"http://{host}/v2/{repository}/{rest}", headers={"Accept": _ACCEPTED}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        data = answer.read()
    assert isinstance(data, bytes)
    return data
