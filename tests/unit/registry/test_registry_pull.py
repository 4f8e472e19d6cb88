"""Pulling: the right platform, only what is missing, and nothing that was tampered with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.parts import pictures
from tests.parts.front import answering, changing, running_front
from tests.parts.pictures import AMD64, ARM64, Blobs
from tests.unit.registry.conftest import Listener, at

from viaduct.base.errors import ContentError, PlatformError, RegistryError
from viaduct.base.tasks import Stop
from viaduct.engine.audit.gather import gather
from viaduct.engine.inspection import inspect
from viaduct.engine.places import RegistryPlace
from viaduct.oci import digest as digests
from viaduct.oci import media, models
from viaduct.oci.models import Descriptor, Index, Manifest
from viaduct.oci.platform import Platform
from viaduct.registry.progress import Quiet
from viaduct.registry.pull import pull
from viaduct.registry.push import push
from viaduct.store.content import ContentStore
from viaduct.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from viaduct.registry.client import Client


@pytest.fixture
def copy(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "copy")


def test_one_platform_brings_only_its_own(
    client: Client, host: str, blobs: Blobs, copy: Blobs
) -> None:
    root = pictures.index(blobs, attested=True, seed=21)
    push(client, [at(host, "pull/one:1")], root, blobs)
    pulled = pull(client, at(host, "pull/one:1"), copy, platforms=[ARM64])
    (image,) = pulled.images
    assert image.platform == ARM64
    assert image.config.architecture == "arm64"
    assert pulled.root == Descriptor(media_type=root.media_type, digest=root.digest, size=root.size)
    assert len(copy.all()) == 5  # index, manifest, config, two layers


def test_the_content_store_takes_and_gives_images(
    client: Client, ours: str, blobs: Blobs, tmp_path: Path
) -> None:
    root = pictures.index(blobs, attested=True)
    push(client, [at(ours, "one:1")], root, blobs)
    store = ContentStore(tmp_path / "store")
    pull(client, at(ours, "one:1"), store)
    push(client, [at(ours, "two:1")], root, store)
    copy = Blobs(tmp_path / "copy")
    pull(client, at(ours, "two:1"), copy)
    assert copy.all() == blobs.all()


def test_documents_can_come_without_layers(
    client: Client, ours: str, blobs: Blobs, copy: Blobs, requests: list[str]
) -> None:
    push(client, [at(ours, "app:1")], pictures.index(blobs), blobs)
    requests.clear()
    (image,) = pull(client, at(ours, "app:1"), copy, platforms=[AMD64], layers=False).images
    assert not any(copy.has(layer.digest) for layer in image.manifest.layers)
    assert len([r for r in requests if "/blobs/" in r]) == 1


def test_what_is_here_is_not_fetched(
    client: Client, ours: str, blobs: Blobs, copy: Blobs, requests: list[str]
) -> None:
    push(client, [at(ours, "app:1")], pictures.index(blobs), blobs)
    pull(client, at(ours, "app:1"), copy)
    requests.clear()
    pull(client, at(ours, "app:1"), copy)
    assert requests == ["HEAD /v2/app/manifests/1 200"]


def test_a_missing_platform_is_answered_with_what_there_is(
    client: Client, ours: str, blobs: Blobs, copy: Blobs
) -> None:
    push(client, [at(ours, "app:1")], pictures.index(blobs, attested=True), blobs)
    with pytest.raises(PlatformError) as caught:
        pull(client, at(ours, "app:1"), copy, platforms=[Platform("linux", "s390x")])
    assert caught.value.what == f"{ours}/app:1 has no image for linux/s390x"
    assert caught.value.hint == "it has linux/amd64, linux/arm64"


def test_a_single_image_of_another_platform_is_refused_when_strict(
    client: Client, ours: str, blobs: Blobs, copy: Blobs
) -> None:
    push(client, [at(ours, "app:1")], pictures.image(blobs, AMD64), blobs)
    with pytest.raises(PlatformError, match="no image for linux/arm64"):
        pull(client, at(ours, "app:1"), copy, platforms=[ARM64])
    pulled = pull(client, at(ours, "app:1"), copy, platforms=[ARM64], strict=False)
    assert pulled.images[0].platform == AMD64


def test_a_newer_machine_takes_an_older_variant(
    client: Client, ours: str, blobs: Blobs, copy: Blobs
) -> None:
    v6 = Platform("linux", "arm", "v6")
    push(client, [at(ours, "app:1")], pictures.index(blobs, platforms=(AMD64, v6)), blobs)
    pulled = pull(client, at(ours, "app:1"), copy, platforms=[Platform("linux", "arm", "v7")])
    assert pulled.images[0].platform == v6


def test_docker_lists_are_read(client: Client, host: str, blobs: Blobs, copy: Blobs) -> None:
    push(client, [at(host, "pull/list:1")], pictures.index(blobs, oci=False, seed=3), blobs)
    assert len(pull(client, at(host, "pull/list:1"), copy).images) == 2
    assert copy.all() == blobs.all()


def test_entries_without_a_platform_are_known_by_their_configuration(
    client: Client, ours: str, blobs: Blobs, copy: Blobs
) -> None:
    entries = (pictures.image(blobs, AMD64), pictures.image(blobs, ARM64))
    index = Index(schema_version=2, media_type=media.OCI_INDEX, manifests=entries)
    push(client, [at(ours, "app:1")], blobs.add(models.encode(index), media.OCI_INDEX), blobs)
    pulled = pull(client, at(ours, "app:1"), copy, platforms=[ARM64])
    assert pulled.images[0].descriptor.digest == entries[1].digest


def test_an_index_in_an_index_is_opened(
    client: Client, ours: str, blobs: Blobs, copy: Blobs
) -> None:
    inner = pictures.index(blobs)
    outer = Index(schema_version=2, media_type=media.OCI_INDEX, manifests=(inner,))
    push(client, [at(ours, "app:1")], blobs.add(models.encode(outer), media.OCI_INDEX), blobs)
    assert len(pull(client, at(ours, "app:1"), copy, platforms=[ARM64, AMD64]).images) == 2


def test_indexes_that_name_each_other_often_are_opened_once(
    client: Client, ours: str, blobs: Blobs, copy: Blobs, tmp_path: Path
) -> None:
    """Seven indexes of a hundred entries each, which are 10^14 ways to one image."""
    top = pictures.index(blobs)
    for _ in range(7):
        index = Index(schema_version=2, media_type=media.OCI_INDEX, manifests=(top,) * 100)
        top = blobs.add(models.encode(index), media.OCI_INDEX)
    push(client, [at(ours, "app:1")], top, blobs)
    assert len(pull(client, at(ours, "app:1"), copy, platforms=[ARM64, AMD64]).images) == 2
    place = RegistryPlace(client, at(ours, "app:1"))
    assert set(inspect(place, place.document(), Stop()).configs) == {"linux/amd64", "linux/arm64"}
    assert len(gather("app", place, place.document(), Quiet()).images) == 2
    store = Store.open(tmp_path / "store")
    pull(client, at(ours, "app:1"), store.content)
    assert len(store.images.variants(top)) == 2
    store.close()


def test_a_configuration_of_absurd_size_is_not_fetched(
    client: Client, ours: str, blobs: Blobs, copy: Blobs, requests: list[str]
) -> None:
    config = blobs.add(b" " * (9 << 20) + b"{}", media.OCI_CONFIG)
    manifest = Manifest(schema_version=2, media_type=media.OCI_MANIFEST, config=config, layers=())
    push(client, [at(ours, "app:1")], blobs.add(models.encode(manifest), media.OCI_MANIFEST), blobs)
    requests.clear()
    with pytest.raises(ContentError, match="too large for a configuration"):
        pull(client, at(ours, "app:1"), copy)
    assert not any("/blobs/" in request for request in requests)


def test_a_digest_pins_the_image(client: Client, ours: str, blobs: Blobs, copy: Blobs) -> None:
    root = pictures.image(blobs, seed=1)
    push(client, [at(ours, "app:1")], root, blobs)
    push(client, [at(ours, "app:1")], pictures.image(blobs, seed=2), blobs)
    pulled = pull(client, at(ours, f"app:1@{root.digest}"), copy)
    assert pulled.root.digest == root.digest


def test_an_artifact_is_not_an_image(client: Client, ours: str, blobs: Blobs, copy: Blobs) -> None:
    manifest = Manifest(
        schema_version=2,
        media_type=media.OCI_MANIFEST,
        artifact_type="application/vnd.example.chart",
        config=blobs.add(b"{}", media.OCI_EMPTY),
        layers=(),
    )
    push(client, [at(ours, "a:1")], blobs.add(models.encode(manifest), media.OCI_MANIFEST), blobs)
    with pytest.raises(ContentError, match=r"artifact of type application/vnd\.example\.chart"):
        pull(client, at(ours, "a:1"), copy)


def test_progress_is_told_by_layer(client: Client, ours: str, blobs: Blobs, copy: Blobs) -> None:
    push(client, [at(ours, "app:1")], pictures.image(blobs), blobs)
    heard = Listener()
    (image,) = pull(client, at(ours, "app:1"), copy, job=heard).images
    for layer in image.manifest.layers:
        assert (layer.digest, layer.size, layer.size, True) in heard.parts


@pytest.mark.parametrize("document", ["manifests", "blobs"])
def test_changed_bytes_never_arrive(
    client: Client, ours: str, blobs: Blobs, copy: Blobs, document: str
) -> None:
    push(client, [at(ours, "app:1")], pictures.image(blobs), blobs)

    def flip(data: bytes) -> bytes:
        return data[:-1] + bytes([data[-1] ^ 1])

    rule = changing("GET", f"/{document}/", flip)
    with running_front(ours, rule) as front, pytest.raises(ContentError):
        pull(client, at(front.address, "app:1"), copy)
    assert all(digests.of(data)[7:] == name for name, data in copy.all().items())


SCHEMA1 = json.dumps(
    {"schemaVersion": 1, "name": "app", "tag": "1", "fsLayers": [], "history": []}
).encode()


def test_schema_1_is_refused_in_words(client: Client, ours: str, copy: Blobs) -> None:
    rule = answering(
        "GET HEAD", "/manifests/", 200, SCHEMA1, {"Content-Type": media.DOCKER_SCHEMA1}
    )
    with running_front(ours, rule) as front, pytest.raises(RegistryError, match="schema 1"):
        pull(client, at(front.address, "app:1"), copy)


@pytest.mark.parametrize(
    ("content_type", "body", "error"),
    [
        (media.OCI_INDEX, {"schemaVersion": 2, "config": {}, "layers": []}, "is not the"),
        (
            media.OCI_MANIFEST,
            {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": []},
            "calls itself",
        ),
        (
            media.OCI_MANIFEST,
            {"schemaVersion": 2, "manifests": [], "layers": [], "config": {}},
            "at once",
        ),
        ("application/json", b"{", "malformed"),
    ],
)
def test_a_document_with_two_faces_is_refused(
    client: Client, ours: str, copy: Blobs, content_type: str, body: object, error: str
) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    rule = answering("GET HEAD", "/manifests/", 200, data, {"Content-Type": content_type})
    with running_front(ours, rule) as front, pytest.raises(ContentError, match=error):
        pull(client, at(front.address, "app:1"), copy)


def test_a_web_page_is_not_a_registry(client: Client, ours: str, copy: Blobs) -> None:
    rule = answering("GET HEAD", "/v2/", 200, b"<html>hi</html>", {"Content-Type": "text/html"})
    with (
        running_front(ours, rule) as front,
        pytest.raises(RegistryError, match="web page") as caught,
    ):
        pull(client, at(front.address, "app:1"), copy)
    assert "image registry" in caught.value.hint


def test_a_manifest_without_end_is_not_read_to_it(client: Client, ours: str, copy: Blobs) -> None:
    body = b" " * (9 << 20)
    rule = answering("GET", "/manifests/", 200, body, {"Content-Type": media.OCI_INDEX})
    with (
        running_front(ours, answering("HEAD", "/v2/", 404), rule) as front,
        pytest.raises(RegistryError, match="larger than"),
    ):
        pull(client, at(front.address, "app:1"), copy)
