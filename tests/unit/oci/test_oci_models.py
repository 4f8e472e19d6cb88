"""Documents are checked as they are read, and written as the specification has them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from viaduct.base import decoding
from viaduct.base.errors import ContentError
from viaduct.oci import digest as digests
from viaduct.oci import media, models
from viaduct.oci.models import Descriptor, ImageConfig, Index, Manifest

DIGEST = digests.of(b"x")


def entry(**more: Any) -> dict[str, Any]:
    return {"mediaType": media.OCI_LAYER_GZIP, "digest": DIGEST, "size": 1, **more}


def manifest(**more: Any) -> bytes:
    return json.dumps(
        {"schemaVersion": 2, "config": entry(mediaType=media.OCI_CONFIG), "layers": [], **more}
    ).encode()


@pytest.mark.parametrize(
    "digest",
    [
        "",
        "sha256:abc",
        "sha256:../../../../etc/passwd",
        DIGEST.upper(),
        DIGEST + "\n",
        DIGEST + "/x",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
    ],
)
def test_a_digest_that_could_be_a_path_never_gets_in(digest: str) -> None:
    with pytest.raises(ContentError, match="malformed"):
        models.decode(manifest(layers=[entry(digest=digest)]), Manifest)
    with pytest.raises(ContentError):
        digests.parse(digest)


@pytest.mark.parametrize("size", [-1, 2**63, 1.5, "1", None])
def test_a_size_is_a_number_of_bytes(size: object) -> None:
    with pytest.raises(ContentError):
        models.decode(manifest(layers=[entry(size=size)]), Manifest)


def test_the_message_says_where_a_document_is_wrong() -> None:
    with pytest.raises(ContentError, match=r"manifest of app is malformed.*layers\[0\]\.size"):
        models.decode(manifest(layers=[entry(size=-1)]), Manifest, what="manifest of app")


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000])
def test_what_is_not_a_document_is_refused(data: bytes) -> None:
    with pytest.raises(ContentError):
        models.decode(data, Manifest)


def test_nulls_that_go_writes_are_empty() -> None:
    read = models.decode(
        manifest(layers=None, annotations={"a": None}, subject=None, unknown=None), Manifest
    )
    assert read.layers == ()
    assert read.annotations == {"a": ""}
    assert models.decode(b'{"schemaVersion":2,"manifests":null}', Index).manifests == ()
    config = models.decode(
        b'{"architecture":"amd64","os":"linux","history":null,"config":{"ExposedPorts":'
        b'{"80/tcp":null},"Volumes":{"/v":{}},"Cmd":null,"Labels":{"l":null}}}',
        ImageConfig,
    )
    assert config.config.exposed_ports == {"80/tcp": {}}
    assert config.config.volumes == {"/v": {}}
    assert config.config.cmd is None
    assert config.config.labels == {"l": ""}


def test_an_image_without_layers_still_says_so() -> None:
    read = models.decode(manifest(), Manifest)
    assert json.loads(models.encode(read))["layers"] == []


def test_documents_survive_reading_and_writing() -> None:
    data = manifest(
        mediaType=media.OCI_MANIFEST,
        layers=[entry(annotations={"k": "v"}, urls=["https://example.com/l"])],
        subject=entry(mediaType=media.OCI_MANIFEST),
        artifactType="application/x",
    )
    read = models.decode(data, Manifest)
    assert json.loads(models.encode(read)) == json.loads(data)
    assert models.encode(read, indent=2).startswith(b'{\n  "schemaVersion": 2')


def test_an_index_entry_tells_its_platform() -> None:
    data = json.dumps(
        {
            "schemaVersion": 2,
            "manifests": [
                entry(
                    platform={
                        "architecture": "arm64",
                        "os": "linux",
                        "variant": "v8",
                        "os.features": ["f"],
                    }
                ),
                entry(platform={"architecture": "unknown", "os": "unknown"}),
                entry(platform={}),
                entry(),
            ],
        }
    ).encode()
    first, second, third, fourth = models.decode(data, Index).manifests
    assert first.platform is not None
    assert str(first.platform.value()) == "linux/arm64"
    assert first.platform.value().os_features == ("f",)
    assert second.platform is not None
    assert str(second.platform.value()) == "unknown/unknown"
    assert third.platform is not None
    assert str(third.platform.value()) == ""
    assert fourth.platform is None


def test_the_kind_of_an_unlabelled_manifest_is_recognised() -> None:
    assert models.sniff_media_type(manifest()) == media.OCI_MANIFEST
    assert models.sniff_media_type(b'{"manifests":[]}') == media.OCI_INDEX
    assert models.sniff_media_type(b'{"mediaType":"x/y"}') == "x/y"
    for data in (b"<html>", b"[]", b"{}"):
        with pytest.raises(ContentError):
            models.sniff_media_type(data)


def test_index_types_are_told_apart() -> None:
    assert models.is_index(media.DOCKER_LIST)
    assert not models.is_index(
        Descriptor(media_type=media.OCI_MANIFEST, digest=DIGEST, size=1, platform=None)
    )


def test_chain_ids_follow_the_specification() -> None:
    first = digests.of(b"one")
    assert digests.chain(None, first) == first
    assert digests.chain(first, DIGEST) == digests.of(f"{first} {DIGEST}".encode())
    assert digests.algorithm(DIGEST) == "sha256"
    assert len(digests.encoded(DIGEST)) == 64


def test_a_document_of_any_depth_ends_in_words() -> None:
    data = b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"}"
    with pytest.raises(ContentError):
        models.sniff_media_type(data)
    with pytest.raises(msgspec.DecodeError, match="nested too deeply"):
        decoding.from_json(data, models.PlatformSpec)
