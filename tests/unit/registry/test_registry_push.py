"""What a push promises: order, sharing, no needless work, and tags that move last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from tests.parts import pictures
from tests.parts.front import answering, running_front, times
from tests.parts.pictures import Blobs
from tests.parts.registry import running_registry
from tests.unit.registry.conftest import Listener, at, make_client

from viaduct.base.errors import Canceled, ContentError, RegistryError, UsageError
from viaduct.oci import media, models
from viaduct.oci.models import Index
from viaduct.registry.pull import pull
from viaduct.registry.push import push

if TYPE_CHECKING:
    from pathlib import Path

    from viaduct.registry.client import Client


def test_what_was_pushed_can_be_pulled_byte_for_byte(
    client: Client, host: str, blobs: Blobs, tmp_path: Path
) -> None:
    root = pictures.index(blobs, attested=True, seed=1)
    (pushed,) = push(client, [at(host, "push/whole:1")], root, blobs)
    assert str(pushed) == f"{host}/push/whole:1@{root.digest}"

    copy = Blobs(tmp_path / "copy")
    pulled = pull(client, at(host, "push/whole:1"), copy)
    assert copy.all() == blobs.all()
    assert [str(image.platform) for image in pulled.images] == ["linux/amd64", "linux/arm64"]


def test_everything_is_there_before_what_names_it(
    client: Client, ours: str, requests: list[str], blobs: Blobs
) -> None:
    root = pictures.index(blobs, attested=True)
    push(client, [at(ours, "app:1"), at(ours, "app:2")], root, blobs)
    puts = [line.split()[1] for line in requests if line.startswith("PUT")]
    kinds = ["blob" if "/uploads/" in path else path.rpartition("/")[2] for path in puts]

    index = models.decode(blobs.read(root.digest), Index)
    images = [d.digest for d in index.manifests if not models.is_attestation(d)]
    referrers = [d.digest for d in index.manifests if models.is_attestation(d)]
    order = [k for k in kinds if k != "blob"]
    assert kinds == ["blob"] * (len(kinds) - len(order)) + order
    assert sorted(order[:2]) == sorted(images)
    assert sorted(order[2:4]) == sorted(referrers)
    assert order[4:] == [root.digest, "1", "2"]


def test_one_tag_needs_no_second_put_of_the_same_bytes(
    client: Client, ours: str, requests: list[str], blobs: Blobs
) -> None:
    push(client, [at(ours, "app:1")], pictures.image(blobs), blobs)
    manifests = [line for line in requests if line.startswith("PUT") and "/manifests/" in line]
    assert manifests == ["PUT /v2/app/manifests/1 201"]


def test_a_push_without_news_is_one_question(
    client: Client, ours: str, requests: list[str], blobs: Blobs
) -> None:
    root = pictures.index(blobs, attested=True)
    push(client, [at(ours, "app:1")], root, blobs)
    requests.clear()
    push(client, [at(ours, "app:1")], root, Blobs(blobs.root / "nothing"))
    assert requests == ["HEAD /v2/app/manifests/1 200"]


def test_a_new_tag_for_what_is_there_sends_nothing_else(
    client: Client, ours: str, requests: list[str], blobs: Blobs
) -> None:
    root = pictures.index(blobs)
    push(client, [at(ours, "app:1")], root, blobs)
    requests.clear()
    push(client, [at(ours, "app:2")], root, blobs)
    assert requests == [
        "HEAD /v2/app/manifests/2 404",
        f"HEAD /v2/app/manifests/{root.digest} 200",
        "PUT /v2/app/manifests/2 201",
    ]


def test_only_what_changed_is_sent(
    client: Client, ours: str, requests: list[str], blobs: Blobs
) -> None:
    first = pictures.index(blobs, seed=1)
    push(client, [at(ours, "app:1")], first, blobs)
    amd64 = models.decode(blobs.read(first.digest), Index).manifests[0]
    arm64 = replace_platform(pictures.image(blobs, pictures.ARM64, seed=2))
    index = Index(schema_version=2, media_type=media.OCI_INDEX, manifests=(amd64, arm64))
    second = blobs.add(models.encode(index), media.OCI_INDEX)
    requests.clear()
    push(client, [at(ours, "app:1")], second, blobs)
    uploads = [line for line in requests if line.startswith("POST")]
    assert len(uploads) == 3  # config and two layers of the new image
    assert sum("HEAD" in line and "/blobs/" in line for line in requests) == 3


def replace_platform(found: models.Descriptor) -> models.Descriptor:
    return models.Descriptor(
        media_type=found.media_type,
        digest=found.digest,
        size=found.size,
        platform=models.PlatformSpec.of(pictures.ARM64),
    )


def test_a_layer_that_platforms_share_is_sent_once(
    client: Client, ours: str, requests: list[str], blobs: Blobs
) -> None:
    push(client, [at(ours, "app:1")], pictures.index(blobs), blobs)
    assert len([line for line in requests if line.startswith("POST")]) == 5  # not 6


def test_a_second_repository_of_the_registry_mounts(
    client: Client, host: str, blobs: Blobs, requests: list[str]
) -> None:
    root = pictures.image(blobs, seed=77)
    push(client, [at(host, "mount/one:1"), at(host, "mount/two:1")], root, blobs)
    assert client.resolve(at(host, "mount/two:1")).descriptor.digest == root.digest
    begun = [line for line in requests if line.startswith("POST")]
    if begun:  # the embedded registry tells
        assert [line.split()[2] for line in begun] == ["202"] * 3 + ["201"] * 3


def test_content_that_is_elsewhere_is_mounted_or_streamed(
    client: Client, host: str, tmp_path: Path, blobs: Blobs
) -> None:
    root = pictures.image(blobs, seed=5, size=300_000)
    manifest = models.decode(blobs.read(root.digest), models.Manifest)
    push(client, [at(host, "source/base:1")], root, blobs)
    for layer in manifest.layers:
        blobs.drop(layer.digest)

    known: dict[str, tuple[str, ...]] = {
        layer.digest: (f"{host}/source/base:1",) for layer in manifest.layers
    }
    heard = Listener()

    def sources(digest: str) -> tuple[str, ...]:
        return ("oci-layout:///nowhere", *known.get(digest, ()))

    push(client, [at(host, "target/app:1")], root, blobs, sources=sources, job=heard)
    with running_registry(tmp_path / "other") as other:
        push(client, [at(other, "app:1")], root, blobs, sources=sources)
        copy = Blobs(tmp_path / "copy")
        assert len(pull(client, at(other, "app:1"), copy).images) == 1
        assert set(copy.all()) == {*blobs.all(), *(layer.digest[7:] for layer in manifest.layers)}


def test_content_that_is_nowhere_is_named(client: Client, ours: str, blobs: Blobs) -> None:
    root = pictures.image(blobs)
    layer = models.decode(blobs.read(root.digest), models.Manifest).layers[0]
    blobs.drop(layer.digest)
    with pytest.raises(ContentError, match=layer.digest):
        push(client, [at(ours, "app:1")], root, blobs)
    assert client.holds(at(ours, "app:1")) is None


def test_by_digest_moves_no_tag(client: Client, host: str, blobs: Blobs) -> None:
    root = pictures.index(blobs, seed=9)
    (pushed,) = push(client, [at(host, "digest/app")], root, blobs, by_digest=True)
    assert str(pushed) == f"{host}/digest/app@{root.digest}"
    assert client.manifest(pushed).digest == root.digest
    with pytest.raises(RegistryError) as caught:
        client.resolve(at(host, "digest/app:latest"))
    assert caught.value.status == 404
    with pytest.raises(UsageError, match=r"can't push tagged ref .*:1 by digest"):
        push(client, [at(host, "digest/app:1")], root, blobs, by_digest=True)


def test_no_tag_moves_while_any_target_lacks_content(
    client: Client, ours: str, tmp_path: Path, blobs: Blobs
) -> None:
    old, new = pictures.index(blobs, seed=1), pictures.index(blobs, seed=2)
    with running_registry(tmp_path / "b") as upstream, running_front(upstream) as front:
        targets = [at(ours, "app:1"), at(front.address, "app:1")]
        push(client, targets, old, blobs)
        front.rules.append(answering("POST", "/uploads/", 403, b'{"errors":[{"code":"DENIED"}]}'))
        with pytest.raises(RegistryError, match="denies access"):
            push(client, targets, new, blobs)
        assert [client.holds(target) for target in targets] == [old.digest] * 2


def test_a_half_moved_set_of_tags_is_told_exactly(client: Client, ours: str, blobs: Blobs) -> None:
    root = pictures.image(blobs)
    with running_front(ours, answering("PUT", "/manifests/b$", 400, b'{"errors":[]}')) as front:
        targets = [at(front.address, f"app:{tag}") for tag in "abc"]
        with pytest.raises(RegistryError) as caught:
            push(client, targets, root, blobs)
        assert f"already moved: {front.address}/app:a;" in caught.value.what
        assert caught.value.what.endswith(
            f"not moved: {front.address}/app:b, {front.address}/app:c"
        )
        assert caught.value.status == 400


def test_progress_has_the_peers_words_and_bytes(client: Client, ours: str, blobs: Blobs) -> None:
    root = pictures.image(blobs, size=500_000)
    heard = Listener()
    push(client, [at(ours, "app:1")], root, blobs, job=heard)
    total = sum(p.stat().st_size for p in blobs.root.iterdir()) - root.size
    assert ("pushing layers", total, total, True) in heard.parts
    assert heard.parts[-1] == (f"pushing manifest for {ours}/app:1@{root.digest}", 0, 0, True)


def test_a_retry_is_told(ours: str, blobs: Blobs) -> None:
    heard = Listener()
    with running_front(ours, times(1, answering("POST", "/uploads/", 503))) as front:
        push(make_client(), [at(front.address, "app:1")], pictures.image(blobs), blobs, job=heard)
    assert any("failed with status 503; again in" in text for text in heard.texts())


def test_a_stop_ends_the_push_and_leaves_the_tag(client: Client, ours: str, blobs: Blobs) -> None:
    old, new = pictures.image(blobs, seed=1), pictures.image(blobs, seed=2, size=3_000_000)
    target = at(ours, "app:1")
    push(client, [target], old, blobs)
    heard = Listener()

    def stopping(exchange: object) -> bool:
        heard.stop.set()
        return False

    with running_front(ours) as front:
        front.rules.append(lambda e: e.matches("PUT", "/uploads/") and stopping(e))
        with pytest.raises(Canceled):
            push(client, [at(front.address, "app:1")], new, blobs, job=heard)
    assert client.holds(target) == old.digest


def test_docker_types_are_pushed_as_they_are(client: Client, host: str, blobs: Blobs) -> None:
    root = pictures.index(blobs, oci=False, seed=4)
    push(client, [at(host, "docker/app:1")], root, blobs)
    found = client.manifest(at(host, "docker/app:1"))
    assert found.media_type == media.DOCKER_LIST
    assert found.data == blobs.read(root.digest)


def test_latest_is_the_tag_of_a_name_without_one(client: Client, ours: str, blobs: Blobs) -> None:
    root = pictures.image(blobs)
    bare = replace(at(ours, "app:1"), tag="")
    push(client, [bare, bare], root, blobs)
    assert client.tags(bare) == ["latest"]
