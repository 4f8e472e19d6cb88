"""Names in the store, the layout that other tools read, and finding images by their ids."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.parts.readers import check_layout
from tests.parts.stores import digest_of, other_process, put_image, put_index

from viaduct.base.errors import NotFound, UsageError
from viaduct.oci import media
from viaduct.oci.models import Descriptor
from viaduct.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path


def _listed(root: Path) -> list[tuple[str, str]]:
    """(ref name, digest) of the layout's index.json."""
    index = json.loads((root / "content/index.json").read_text())
    return [
        (entry["annotations"]["org.opencontainers.image.ref.name"], entry["digest"])
        for entry in index["manifests"]
    ]


def test_a_name_points_to_an_image(store: Store) -> None:
    image = put_image(store.content, b"layer")
    store.images.tag("example.com/app:1", image.descriptor)
    found = store.images.get("example.com/app:1")
    assert found is not None
    assert found.descriptor == image.descriptor
    assert store.images.get("example.com/app:2") is None
    other = put_image(store.content, b"other")
    store.images.tag("example.com/app:1", other.descriptor)
    moved = store.images.get("example.com/app:1")
    assert moved is not None
    assert moved.descriptor == other.descriptor
    assert moved.created == found.created
    assert moved.updated > found.updated
    assert store.images.remove("example.com/app:1")
    assert not store.images.remove("example.com/app:1")
    assert store.images.list() == ()


def test_names_are_given_all_or_none(store: Store) -> None:
    image = put_image(store.content, b"layer")
    missing = Descriptor(media_type=media.OCI_MANIFEST, digest=digest_of("x"), size=1)
    with pytest.raises(NotFound, match="cannot name"):
        store.images.tag_all([("a.example/a:1", image.descriptor), ("a.example/b:1", missing)])
    with pytest.raises(UsageError):
        store.images.tag_all([("a.example/a:1", image.descriptor), ("NOT A NAME", missing)])
    assert store.images.list() == ()


def test_other_tools_read_the_layout(store: Store, root: Path) -> None:
    amd64 = put_image(store.content, b"amd64")
    arm64 = put_image(store.content, b"arm64", platform="linux/arm64")
    index = put_index(store.content, amd64, arm64)
    store.images.tag("example.com/app:1", index)
    store.images.tag("example.com/other:1", amd64.descriptor)
    assert _listed(root) == [
        ("1", amd64.descriptor.digest),
        ("example.com/other:1", amd64.descriptor.digest),
        ("example.com/app:1", index.digest),
    ]
    assert check_layout(root / "content") == 7
    source = f"oci:{root / 'content'}:example.com/app:1"
    done = subprocess.run(
        ["skopeo", "--insecure-policy", "inspect", "--raw", source],
        capture_output=True,
        check=True,
    )
    assert done.stdout == store.content.read(index.digest)


def test_names_by_digest_are_listed_as_they_are(store: Store, root: Path) -> None:
    image = put_image(store.content, b"layer")
    name = f"example.com/app@{image.descriptor.digest}"
    store.images.tag(name, image.descriptor)
    assert _listed(root) == [(name, image.descriptor.digest)]


def test_a_layout_that_a_killed_process_left_behind_is_brought_up_to_date(root: Path) -> None:
    other_process(
        root,
        """
from tests.parts.stores import put_image
image = put_image(store.content, b"layer")
store.images.publish = lambda: die()
store.images.tag("example.com/app:1", image.descriptor)
""",
    )
    assert not (root / "content/index.json").exists() or _listed(root) == []
    store = Store.open(root)
    assert [name for name, _ in _listed(root)] == ["1", "example.com/app:1"]
    store.close()


def test_images_are_read_back_when_the_database_is_lost(root: Path) -> None:
    store = Store.open(root)
    image = put_image(store.content, b"layer")
    store.images.tag("example.com/app:1", image.descriptor)
    store.images.tag("docker.io/library/app:2", image.descriptor)
    store.close()
    for path in root.glob("viaduct.db*"):
        path.unlink()
    store = Store.open(root)
    assert sorted(found.name for found in store.images.list()) == [
        "docker.io/library/app:2",
        "example.com/app:1",
    ]
    store.close()


def test_what_a_layout_says_about_missing_images_is_not_believed(root: Path) -> None:
    store = Store.open(root)
    image = put_image(store.content, b"layer")
    store.images.tag("example.com/app:1", image.descriptor)
    store.content.delete(image.descriptor.digest)
    store.close()
    for path in root.glob("viaduct.db*"):
        path.unlink()
    store = Store.open(root)
    assert store.images.list() == ()
    (root / "content/index.json").write_text("nonsense")
    store.close()
    (root / "viaduct.db").unlink()
    store = Store.open(root)
    assert store.images.list() == ()
    store.close()


# --- looking -------------------------------------------------------------------------------------


def test_variants_tell_what_is_here(store: Store) -> None:
    amd64 = put_image(store.content, b"amd64", b"second")
    arm64 = put_image(store.content, b"arm64", platform="linux/arm64")
    riscv = put_image(store.content, b"riscv", platform="linux/riscv64")
    index = put_index(store.content, amd64, arm64, riscv)
    store.content.delete(arm64.descriptor.digest)
    store.content.delete(riscv.layers[0].digest)
    first, second, third = store.images.variants(index)
    assert (str(first.platform), first.complete) == ("linux/amd64", True)
    assert (str(second.platform), second.manifest, second.complete) == ("linux/arm64", None, False)
    assert (third.missing, third.complete) == ((riscv.layers[0],), False)
    (alone,) = store.images.variants(
        Descriptor(media_type=media.OCI_MANIFEST, digest=amd64.descriptor.digest, size=1)
    )
    assert str(alone.platform) == "linux/amd64", "told by the configuration"
    store.content.delete(index.digest)
    with pytest.raises(NotFound):
        store.images.variants(index)


def test_indexes_may_be_nested(store: Store) -> None:
    amd64 = put_image(store.content, b"amd64")
    arm64 = put_image(store.content, b"arm64", platform="linux/arm64")
    inner = put_index(store.content, arm64)
    outer = put_index(store.content, amd64, type(arm64)(inner, arm64.config, (), ()))
    assert [str(variant.platform) for variant in store.images.variants(outer)] == [
        "linux/amd64",
        "linux/arm64",
    ]
    assert store.images.reachable([outer]) == {outer.digest, inner.digest} | (
        amd64.blobs | arm64.blobs
    )


def test_to_look_is_no_use(store: Store) -> None:
    image = put_image(store.content, b"layer")
    before = {blob.digest: blob.last_used for blob in store.content.walk()}
    with store.leases.hold():
        store.images.variants(image.descriptor)
        store.images.reachable([image.descriptor])
        assert {blob.digest: blob.last_used for blob in store.content.walk()} == before


def test_what_makes_no_sense_is_an_end(store: Store) -> None:
    digest, size = store.content.put(b"not json")
    broken = Descriptor(media_type=media.OCI_INDEX, digest=digest, size=size)
    assert store.images.reachable([broken]) == {digest}


def test_an_image_is_found_by_the_beginning_of_an_id(store: Store) -> None:
    amd64 = put_image(store.content, b"amd64")
    arm64 = put_image(store.content, b"arm64", platform="linux/arm64")
    index = put_index(store.content, amd64, arm64)
    store.images.tag("example.com/app:1", index)
    store.images.tag("example.com/app:2", index)
    for wanted in (index, arm64.descriptor, arm64.config):
        expected = index if wanted is index else arm64.descriptor
        for text in (wanted.digest, wanted.digest[7:], wanted.digest[7:19]):
            found = store.images.find(text)
            assert found is not None
            assert found.descriptor.digest == expected.digest
            assert sorted(found.names) == ["example.com/app:1", "example.com/app:2"]
    assert store.images.find("fffffffffff") is None
    assert store.images.find("app") is None
    assert store.images.find("") is None


def test_an_id_that_fits_several_images_is_refused(store: Store) -> None:
    wanted: dict[str, str] = {}
    for number in range(40):
        image = put_image(store.content, str(number).encode())
        store.images.tag(f"example.com/app:{number}", image.descriptor)
        first = image.descriptor.digest[7]
        if first in wanted:
            with pytest.raises(UsageError, match=f"{first} begins the id of"):
                store.images.find(first)
            return
        wanted[first] = image.descriptor.digest
    raise AssertionError("sixteen different digits in forty digests")


def test_an_image_without_a_name_is_found_by_its_whole_id(store: Store) -> None:
    image = put_image(store.content, b"layer")
    for digest in (image.descriptor.digest, image.config.digest):
        found = store.images.unnamed(digest)
        assert found is not None
        assert found.digest == image.descriptor.digest
        assert found.media_type == media.OCI_MANIFEST
    assert store.images.unnamed(image.layers[0].digest) is None
    assert store.images.unnamed(digest_of("nothing")) is None
