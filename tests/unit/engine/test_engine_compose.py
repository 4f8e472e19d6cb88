"""The plan of `imagetools create`, without any registry."""

from __future__ import annotations

import json
from typing import Any

import pytest

from viaduct.base.errors import PlatformError, UsageError
from viaduct.engine import compose
from viaduct.engine.compose import Annotation, Piece
from viaduct.oci import digest, media, models
from viaduct.oci.models import Descriptor, PlatformSpec
from viaduct.oci.platform import Platform

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


def entry(name: str, platform: Platform | None = None, **more: Any) -> Descriptor:
    return Descriptor(
        media_type=more.pop("media_type", media.OCI_MANIFEST),
        digest=digest.of(name.encode()),
        size=len(name),
        platform=PlatformSpec.of(platform) if platform else None,
        **more,
    )


def index(*entries: Descriptor, media_type: str = media.OCI_INDEX, source: int = 0) -> Piece:
    document = models.Index(schema_version=2, media_type=media_type, manifests=entries)
    # Compact: bytes that no encoding of ours would give.
    data = models.encode(document)
    root = Descriptor(media_type=media_type, digest=digest.of(data), size=len(data))
    return Piece(root, data, source)


def image(name: str, platform: Platform | None, *, source: int = 0, **more: Any) -> Piece:
    return Piece(entry(name, platform, **more), name.encode(), source)


def proof(name: str, about: Descriptor) -> Descriptor:
    annotations = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": str(about.digest),
    }
    return entry(name, Platform("unknown", "unknown"), annotations=annotations)


A, B = entry("a", AMD64), entry("b", ARM64)
TWO = index(A, B)


def entries(made: compose.Composition) -> tuple[Descriptor, ...]:
    return models.decode(made.data, models.Index).manifests


def test_one_index_alone_stays_what_it_was() -> None:
    for prefer_index in (True, False):
        made = compose.combine([TWO], prefer_index=prefer_index)
        assert (made.data, made.root) == (TWO.data, TWO.descriptor)
        assert made.sources == {TWO.descriptor.digest: 0}


def test_a_single_image_is_wrapped_or_copied() -> None:
    piece = image("a", AMD64)
    made = compose.combine([piece])
    assert made.root.media_type == media.OCI_INDEX
    assert entries(made) == (piece.descriptor,)
    copied = compose.combine([piece], prefer_index=False)
    assert (copied.data, copied.root) == (b"a", piece.descriptor)


def test_the_bytes_are_indented_and_in_the_specifications_order() -> None:
    made = compose.combine([image("a", ARM64)], annotations=[Annotation("index", "k", "<v>")])
    digest_line = f'      "digest": "{digest.of(b"a")}",\n'
    assert made.data.decode() == (
        '{\n  "schemaVersion": 2,\n'
        '  "mediaType": "application/vnd.oci.image.index.v1+json",\n'
        '  "manifests": [\n    {\n'
        '      "mediaType": "application/vnd.oci.image.manifest.v1+json",\n'
        f"{digest_line}"
        '      "size": 1,\n      "platform": {\n'
        '        "architecture": "arm64",\n        "os": "linux"\n      }\n    }\n  ],\n'
        '  "annotations": {\n    "k": "\\u003cv\\u003e"\n  }\n}'
    )
    assert made.root.digest == digest.of(made.data)


def test_what_is_named_twice_is_one_entry_that_knows_what_both_know() -> None:
    bare = entry("a", annotations={"x": "1", "y": "1"})
    told = image("a", AMD64, annotations={"y": "2"}, source=1)
    made = compose.combine([index(bare, B), told])
    first, second = entries(made)
    assert first.annotations == {"x": "1", "y": "2"}
    assert first.platform == PlatformSpec.of(AMD64)
    assert second == B
    assert made.sources == {first.digest: 1, B.digest: 0}


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ((media.DOCKER_MANIFEST, media.DOCKER_MANIFEST), media.DOCKER_LIST),
        ((media.DOCKER_MANIFEST, media.OCI_MANIFEST), media.OCI_INDEX),
        ((media.OCI_MANIFEST, media.OCI_MANIFEST), media.OCI_INDEX),
    ],
)
def test_docker_types_keep_to_themselves(kinds: tuple[str, str], expected: str) -> None:
    pieces = [
        image("a", AMD64, media_type=kinds[0]),
        image("b", ARM64, media_type=kinds[1], source=1),
    ]
    made = compose.combine(pieces)
    assert made.root.media_type == expected
    assert json.loads(made.data)["mediaType"] == expected


def test_annotations_find_their_entries() -> None:
    made = compose.combine(
        [TWO],
        annotations=[
            Annotation("manifest-descriptor", "all", "1"),
            Annotation("manifest-descriptor", "arm", "2", ARM64),
            Annotation("index", "top", "3"),
        ],
    )
    assert [e.annotations for e in entries(made)] == [{"all": "1"}, {"all": "1", "arm": "2"}]
    assert json.loads(made.data)["annotations"] == {"top": "3"}


@pytest.mark.parametrize("level", ["manifest", "index-descriptor"])
def test_annotations_of_what_is_not_written_are_refused(level: str) -> None:
    with pytest.raises(UsageError, match=f'"{level}" annotations'):
        compose.combine([TWO], annotations=[Annotation(level, "k", "v")])


def test_a_docker_list_takes_no_annotations() -> None:
    piece = image("a", AMD64, media_type=media.DOCKER_MANIFEST)
    with pytest.raises(UsageError, match="Docker manifest list"):
        compose.combine([piece], annotations=[Annotation("index", "k", "v")])


def test_platforms_keep_their_entries_and_what_is_about_them() -> None:
    nameless = entry("nameless")
    whole = index(proof("pa", A), A, B, proof("pb", B), nameless)
    made = compose.combine([whole], platforms=[ARM64])
    assert [e.digest for e in entries(made)] == [B.digest, digest.of(b"pb"), nameless.digest]
    assert made.sources == dict.fromkeys([B.digest, digest.of(b"pb"), nameless.digest], 0)
    assert compose.combine([whole], platforms=[ARM64, AMD64]).data == whole.data


def test_variants_are_told_apart() -> None:
    v6, v7 = (entry(v, Platform("linux", "arm", v)) for v in ("v6", "v7"))
    made = compose.combine([index(v6, v7)], platforms=[Platform("linux", "arm", "v7")])
    assert entries(made) == (v7,)


def test_no_platform_left_is_an_error_that_lists_what_there_is() -> None:
    with pytest.raises(PlatformError, match="none of the manifests match") as error:
        compose.combine([index(A, proof("p", A))], platforms=[ARM64])
    assert error.value.hint == "asked for: linux/arm64; there are: linux/amd64"
    with pytest.raises(PlatformError, match="input platform linux/amd64 does not match any"):
        compose.combine([image("a", AMD64)], prefer_index=False, platforms=[ARM64])


def test_a_filtered_index_that_does_not_say_what_it_is_keeps_its_type() -> None:
    document = models.Index(schema_version=2, manifests=(A, B))
    data = models.encode(document)
    root = Descriptor(media_type=media.OCI_INDEX, digest=digest.of(data), size=len(data))
    made = compose.combine([Piece(root, data)], platforms=[AMD64])
    assert made.root.media_type == media.OCI_INDEX
    assert "mediaType" not in json.loads(made.data)


def test_a_person_s_descriptor_goes_over_the_registrys() -> None:
    resolved = entry("a", annotations={"old": "1"})
    given = Descriptor(
        media_type="", digest=resolved.digest, size=0, platform=PlatformSpec.of(ARM64)
    )
    assert compose.merged(resolved, given).platform == PlatformSpec.of(ARM64)
    assert compose.merged(resolved, given).annotations == {"old": "1"}
    wrong = Descriptor(media_type="", digest=resolved.digest, size=7)
    with pytest.raises(UsageError, match="invalid size mismatch"):
        compose.merged(resolved, wrong)
