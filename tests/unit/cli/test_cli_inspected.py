from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from viaduct.base.errors import ContentError, UsageError
from viaduct.cli import inspected
from viaduct.cli.inspected import Inspected
from viaduct.oci import digest, media, models, reference
from viaduct.oci.models import Descriptor

AMD64, ARM64, PROOF = digest.of(b"amd64"), digest.of(b"arm64"), digest.of(b"proof")


def entry(architecture: str, at: str, **more: Any) -> dict[str, Any]:
    platform = {"architecture": architecture, "os": "linux", **more.pop("platform", {})}
    return {
        "mediaType": media.OCI_MANIFEST,
        "digest": at,
        "size": 1231,
        "platform": platform,
        **more,
    }


def index(*entries: dict[str, Any], configs: dict[str, Any] | None = None) -> Inspected:
    raw = json.dumps(
        {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": list(entries)}
    ).encode()
    return Inspected(
        "localhost:5055/a/b:1",
        reference.parse("localhost:5055/a/b:1"),
        Descriptor(media_type=media.OCI_INDEX, digest=digest.of(raw), size=len(raw)),
        raw,
        configs={name: json.dumps(config).encode() for name, config in (configs or {}).items()},
    )


def single(config: dict[str, Any] | None = None) -> Inspected:
    configs = {"linux/amd64": json.dumps(config).encode()} if config else {}
    return Inspected(
        "app",
        reference.parse("app:latest"),
        Descriptor(media_type=media.OCI_MANIFEST, digest=AMD64, size=5),
        b"{}",
        configs=configs,
    )


IMAGE: dict[str, Any] = {
    "architecture": "amd64",
    "config": {"Env": ["PATH=/bin"], "WorkingDir": "/data", "Labels": {"a": "<b>"}},
    "created": "2026-11-24T17:21:02Z",
    "history": [{"created_by": "RUN x", "empty_layer": True}],
    "os": "linux",
    "rootfs": {"type": "layers", "diff_ids": [AMD64]},
    "unknown": "is left out",
}
TWO = index(
    entry("amd64", AMD64),
    entry("arm64", ARM64),
    configs={"linux/arm64": {**IMAGE, "architecture": "arm64"}, "linux/amd64": IMAGE},
)


def test_times_are_shown_as_go_shows_them() -> None:
    assert inspected.formatted(single(IMAGE), "{{.Image.Created}}") == (
        "2026-11-24 17:21:02 +0000 UTC"
    )
    assert inspected.formatted(single(IMAGE), "{{json .Image.Created}}") == (
        '"2026-11-24T17:21:02Z"'
    )
    offset = {**IMAGE, "created": "2026-11-24T19:21:02.5+02:00"}
    assert inspected.formatted(single(offset), "{{.Image.Created}}") == (
        "2026-11-24 19:21:02.5 +0200 +0200"
    )
    odd = {**IMAGE, "created": "yesterday"}
    assert inspected.formatted(single(odd), "{{.Image.Created}}") == "yesterday"


def test_attestations_that_are_not_there_are_empty() -> None:
    assert inspected.formatted(single(IMAGE), "{{.SBOM}} {{json .Provenance}}") == "{<nil> []} {}"
    assert inspected.formatted(single(IMAGE), "{{.SBOM.SPDX}}") == "<no value>"
    one = '{{json (index .SBOM "linux/arm64")}} {{(index .Provenance "linux/amd64").SLSA}}'
    assert inspected.formatted(TWO, one) == "{} <no value>"
    assert inspected.formatted(TWO, "{{json .SBOM}}") == "{}"


def test_attestations_are_shown_by_platform_or_of_the_only_one() -> None:
    several = msgspec.structs.replace(TWO, sbom={"linux/arm64": {"SPDX": {"name": "x"}}})
    assert json.loads(inspected.formatted(several, "{{json .SBOM}}")) == {
        "linux/arm64": {"SPDX": {"name": "x"}}
    }
    alone = msgspec.structs.replace(single(IMAGE), provenance={"linux/amd64": {"SLSA": {"a": 1}}})
    assert inspected.formatted(alone, "{{.Provenance.SLSA.a}}") == "1"


def test_the_default_text_is_the_peers_to_the_byte() -> None:
    assert inspected.text(TWO) == (
        "Name:      localhost:5055/a/b:1\n"
        "MediaType: application/vnd.oci.image.index.v1+json\n"
        f"Digest:    {TWO.descriptor.digest}\n"
        "           \n"
        "Manifests: \n"
        f"  Name:      localhost:5055/a/b:1@{AMD64}\n"
        "  MediaType: application/vnd.oci.image.manifest.v1+json\n"
        "  Platform:  linux/amd64\n"
        "             \n"
        f"  Name:      localhost:5055/a/b:1@{ARM64}\n"
        "  MediaType: application/vnd.oci.image.manifest.v1+json\n"
        "  Platform:  linux/arm64\n"
    )


def test_a_single_image_has_three_lines() -> None:
    assert inspected.text(single()) == (
        "Name:      docker.io/library/app:latest\n"
        "MediaType: application/vnd.oci.image.manifest.v1+json\n"
        f"Digest:    {AMD64}\n"
    )


def test_further_properties_of_an_entry_are_listed() -> None:
    proof = entry(
        "unknown",
        PROOF,
        platform={"os": "unknown"},
        annotations={"vnd.docker.reference.type": "attestation-manifest", "a": "b"},
    )
    windows = entry(
        "amd64",
        AMD64,
        platform={"os": "windows", "os.version": "10.0.1", "os.features": ["x", "y"]},
        urls=["https://u"],
    )
    text = inspected.text(index(proof, windows, entry("arm", ARM64, platform={"variant": "v7"})))
    assert text.split("Manifests: \n")[1] == (
        f"  Name:        localhost:5055/a/b:1@{PROOF}\n"
        "  MediaType:   application/vnd.oci.image.manifest.v1+json\n"
        "  Platform:    unknown/unknown\n"
        "  Annotations: \n"
        "    a:                         b\n"
        "    vnd.docker.reference.type: attestation-manifest\n"
        "              \n"
        f"  Name:       localhost:5055/a/b:1@{AMD64}\n"
        "  MediaType:  application/vnd.oci.image.manifest.v1+json\n"
        "  Platform:   windows/amd64\n"
        "  OSVersion:  10.0.1\n"
        "  OSFeatures: x, y\n"
        "  URLs:       https://u\n"
        "              \n"
        f"  Name:       localhost:5055/a/b:1@{ARM64}\n"
        "  MediaType:  application/vnd.oci.image.manifest.v1+json\n"
        "  Platform:   linux/arm/v7\n"
    )


def test_the_manifest_as_json_has_digest_and_size_in_the_peers_order() -> None:
    text = inspected.formatted(TWO, "{{json .Manifest}}")
    document = json.loads(text)
    assert list(document) == ["schemaVersion", "mediaType", "digest", "size", "manifests"]
    assert document["digest"] == TWO.descriptor.digest
    assert text.startswith('{\n  "schemaVersion": 2,\n')
    assert list(document["manifests"][0]) == ["mediaType", "digest", "size", "platform"]


def test_images_of_several_platforms_are_a_map() -> None:
    document = json.loads(inspected.formatted(TWO, "{{json .Image}}"))
    assert list(document) == ["linux/amd64", "linux/arm64"]
    assert document["linux/amd64"] == {key: IMAGE[key] for key in IMAGE if key != "unknown"}
    form = '{{(index .Image "linux/arm64").Config.Env}}'
    assert inspected.formatted(TWO, form) == "[PATH=/bin]"


def test_the_image_of_one_platform_is_itself() -> None:
    form = "{{.Image.Architecture}} {{.Image.RootFS.DiffIDs}} {{.Manifest.Digest}} {{.Name}}"
    assert inspected.formatted(single(IMAGE), form) == f"amd64 [{AMD64}] {AMD64} app"


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("{{.Manifest.Digest}}", str(TWO.descriptor.digest)),
        ("{{range .Manifest.Manifests}}{{.Platform.OS}}/{{.Platform.Architecture}} {{end}}",
         "linux/amd64 linux/arm64 "),
        ("{{json .SBOM}} {{json .Provenance}}", "{} {}"),
        (" {{ .Manifest }} ", inspected.text(TWO)),
        ("{{len .Manifest.Manifests}}", "2"),
    ],
)  # fmt: skip
def test_formats_that_people_use(form: str, text: str) -> None:
    assert inspected.formatted(TWO, form) == text


def test_everything_as_json() -> None:
    assert list(json.loads(inspected.formatted(TWO, "{{json .}}"))) == ["name", "manifest", "image"]


def test_an_unknown_field_is_told_as_the_peers_tell_it() -> None:
    with pytest.raises(UsageError, match=r"field Nope in type imagetools\.tplInputs"):
        inspected.formatted(TWO, "{{.Nope}}")


def test_bytes_that_are_no_document_are_told() -> None:
    broken = Inspected("a", TWO.reference, TWO.descriptor, b"[]")
    with pytest.raises(ContentError, match="image index is not a JSON object"):
        inspected.formatted(broken, "{{json .Manifest}}")


def test_one_platform_comes_with_its_probable_cause() -> None:
    proof = entry("unknown", PROOF, platform={"os": "unknown"})
    assert inspected.probable_cause(TWO) == ""
    assert "--push" in inspected.probable_cause(single())
    assert "--push" in inspected.probable_cause(index(entry("amd64", AMD64), proof))
    assert models.is_index(TWO.descriptor)


def test_an_annotation_does_not_drive_the_terminal() -> None:
    hostile = {"a\x1b[2J": "\x1b]0;title\x07\x9b31mred"}
    shown = inspected.text(index(entry("amd64", AMD64, annotations=hostile)))
    assert "    a: " in shown
    assert not any(char in shown for char in "\x1b\x07\x9b")


@pytest.mark.parametrize("depth", [800, 5000])
def test_a_document_of_any_depth_ends_in_words(depth: int) -> None:
    config = b'{"config":{"ExposedPorts":{"1":' + b"[" * depth + b"]" * depth + b"}}}"
    found = msgspec.structs.replace(single(), configs={"linux/amd64": config})
    with pytest.raises(ContentError, match="nested too deeply"):
        inspected.formatted(found, "{{json .}}")
