"""`imagetools` against real registries: what is copied, made and shown."""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.parts import front, pictures, readers
from tests.parts.command import VIADUCT, viaduct
from tests.parts.docker_registry import running_docker_registry
from tests.parts.pictures import AMD64, ARM64, Blobs

from viaduct.oci import digest as digests
from viaduct.oci import media, models, reference
from viaduct.oci.models import Descriptor, Manifest, PlatformSpec
from viaduct.oci.platform import Platform
from viaduct.registry import client as registry_client
from viaduct.registry.push import push

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json"
_ATTESTATION = "application/vnd.docker.attestation.manifest.v1+json"
_SLSA = "https://slsa.dev/provenance/v1"
_SPDX = "https://spdx.dev/Document"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's docker-registry, which knows nothing of referrers."""
    with running_docker_registry(tmp_path_factory.mktemp("docker-registry")) as address:
        yield address


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def put(name: str, root: Descriptor, blobs: Blobs, *, by_digest: bool = False) -> str:
    """Push a picture; returns the name."""
    with contextlib.closing(registry_client.connect({})) as client:
        push(client, [reference.parse(name)], root, blobs, by_digest=by_digest)
    return name


def create(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    return viaduct("imagetools", "create", *arguments, check=check)


def refused(*arguments: str) -> str:
    """What is said when it does not work."""
    done = create(*arguments, check=False)
    assert done.returncode == 1
    return done.stderr.decode()


def made(*arguments: str) -> dict[str, Any]:
    found = json.loads(create("--dry-run", *arguments).stdout)
    assert isinstance(found, dict)
    return found


def shown(name: str, form: str) -> str:
    return viaduct("imagetools", "inspect", "--format", form, name).stdout.decode()


def raw(name: str) -> bytes:
    return readers.raw(f"docker://{name}")


def digest_of(name: str) -> str:
    return f"sha256:{hashlib.sha256(raw(name)).hexdigest()}"


def architectures(index: dict[str, Any]) -> list[str]:
    return [entry["platform"]["architecture"] for entry in index["manifests"]]


def referrer(
    blobs: Blobs, subject: Descriptor, *, kind: str, predicates: dict[str, object] | None = None
) -> Descriptor:
    """A manifest about `subject`, with an in-toto statement for each predicate type."""
    layers = []
    for name, predicate in (predicates or {}).items():
        statement = {"predicateType": name, "predicate": predicate}
        found = blobs.add(json.dumps(statement).encode(), "application/vnd.in-toto+json")
        layers.append(annotated(found, {"in-toto.io/predicate-type": name}))
    manifest = Manifest(
        schema_version=2,
        media_type=media.OCI_MANIFEST,
        artifact_type=kind,
        config=blobs.add(b"{}", media.OCI_EMPTY),
        layers=tuple(layers),
        subject=Descriptor(media_type=subject.media_type, digest=subject.digest, size=subject.size),
    )
    return blobs.add(models.encode(manifest), media.OCI_MANIFEST)


def annotated(descriptor: Descriptor, annotations: dict[str, str]) -> Descriptor:
    return Descriptor(
        media_type=descriptor.media_type,
        digest=descriptor.digest,
        size=descriptor.size,
        annotations=annotations,
        platform=descriptor.platform,
    )


def entry_of(found: Descriptor, platform: Platform) -> Descriptor:
    return Descriptor(
        media_type=found.media_type,
        digest=found.digest,
        size=found.size,
        platform=PlatformSpec.of(platform),
    )


# Copies


def test_a_copy_is_the_same_to_the_byte_in_every_place(
    registry: str, other: str, blobs: Blobs, tmp_path: Path
) -> None:
    source = put(f"{registry}/copy/a:1", pictures.index(blobs, attested=True), blobs)
    layout = f"oci-layout://{tmp_path}/layout:v1"
    names = [f"{registry}/copy/b:1", f"{registry}/copy/b:2", f"{other}/copy/c:1"]
    create(*(word for name in (*names, layout) for word in ("-t", name)), source)
    assert {raw(name) for name in names} == {raw(source)}
    assert readers.raw(f"oci:{tmp_path}/layout:v1") == raw(source)
    assert readers.check_layout(tmp_path / "layout") == len(blobs.all())
    assert readers.unpack(f"docker://{names[2]}", tmp_path / "out", platform="linux/arm64")


def test_within_a_registry_layers_are_mounted_and_nothing_is_sent(
    registry: str, blobs: Blobs
) -> None:
    put(f"{registry}/mounted/a:1", pictures.index(blobs), blobs)
    with front.running_front(registry) as door:
        create("-t", f"{door.address}/mounted/b:1", f"{door.address}/mounted/a:1")
    assert door.asked("GET PUT PATCH", "/blobs/sha256|/uploads/.+") == []
    assert (
        len(door.asked("POST", "mount=sha256.*from=mounted%2Fa|mount=sha256.*from=mounted/a")) == 5
    )
    assert raw(f"{registry}/mounted/b:1") == raw(f"{registry}/mounted/a:1")


def test_another_tag_in_the_same_repository_costs_no_look_at_the_images(
    registry: str, blobs: Blobs
) -> None:
    put(f"{registry}/retagged:1", pictures.index(blobs), blobs)
    with front.running_front(registry) as door:
        create("-t", f"{door.address}/retagged:2", f"{door.address}/retagged:1")
        asked = [(seen.method, seen.path.rpartition("/")[2]) for seen in door.seen]
    assert [method for method, _ in asked] == ["GET", "HEAD", "HEAD", "PUT"]
    assert raw(f"{registry}/retagged:2") == raw(f"{registry}/retagged:1")


def test_a_layout_is_a_source_too(registry: str, blobs: Blobs, tmp_path: Path) -> None:
    source = put(f"{registry}/fromlayout/a:1", pictures.index(blobs), blobs)
    layout = f"oci-layout://{tmp_path}/layout"
    create("-t", f"{layout}:v1", source)
    create("-t", f"{registry}/fromlayout/b:1", f"{layout}:v1")
    create("-t", f"{registry}/fromlayout/b:2", f"{layout}@{digest_of(source)}")
    assert raw(f"{registry}/fromlayout/b:1") == raw(f"{registry}/fromlayout/b:2") == raw(source)
    assert f"{layout}:v1" in viaduct("imagetools", "inspect", f"{layout}:v1").stdout.decode()
    told = refused("-t", f"{registry}/fromlayout/b:3", f"{layout}:v2")
    assert "does not hold an image v2" in told
    assert "it has the tags: v1" in told


def test_a_single_image_becomes_an_index_or_a_carbon_copy(registry: str, blobs: Blobs) -> None:
    source = put(f"{registry}/single/a:1", pictures.image(blobs, ARM64), blobs)
    create("-t", f"{registry}/single/index:1", source)
    index = json.loads(raw(f"{registry}/single/index:1"))
    assert index["manifests"] == [
        {
            "mediaType": media.OCI_MANIFEST,
            "digest": digest_of(source),
            "size": len(raw(source)),
            "platform": {"architecture": "arm64", "os": "linux"},
        }
    ]
    create("-t", f"{registry}/single/copy:1", "--prefer-index=false", source)
    assert raw(f"{registry}/single/copy:1") == raw(source)


def test_signatures_go_along_and_are_found_at_the_target(
    registry: str, other: str, blobs: Blobs, tmp_path: Path
) -> None:
    root = pictures.index(blobs)
    source = put(f"{registry}/signed/a:1", root, blobs)
    child = models.decode(blobs.read(root.digest), models.Index).manifests[1]
    carried = [
        referrer(blobs, root, kind=_SIGNATURE),
        referrer(blobs, child, kind=_ATTESTATION, predicates={_SLSA: {}}),
    ]
    left = referrer(blobs, child, kind="application/vnd.example.note")
    for each in (*carried, left):
        put(f"{registry}/signed/a", each, blobs, by_digest=True)
    targets = [f"{registry}/signed/b:1", f"{other}/signed/c:1"]
    create("-t", targets[0], "-t", targets[1], source)
    create("-t", f"oci-layout://{tmp_path}/layout:v1", source)
    create("-t", f"{other}/signed/d:1", f"oci-layout://{tmp_path}/layout:v1")
    with contextlib.closing(registry_client.connect({})) as client:
        for name in (*targets, f"{other}/signed/d:1"):
            ref = reference.parse(name)
            assert digest_of(name) == root.digest
            assert [d.digest for d in client.referrers(ref, root.digest)] == [carried[0].digest]
            found = client.referrers(ref, child.digest)
            assert [(d.digest, d.artifact_type) for d in found] == [
                (carried[1].digest, _ATTESTATION)
            ]


def test_a_target_tag_stays_when_a_source_is_incomplete(registry: str, blobs: Blobs) -> None:
    old = put(f"{registry}/partial/b:1", pictures.index(blobs, seed=1), blobs)
    before = raw(old)
    put(f"{registry}/partial/a:1", pictures.index(blobs, seed=2), blobs)
    breaking = front.answering("GET", "/partial/a/blobs/", 404)
    with front.running_front(registry, breaking) as door:
        mountless = front.answering("POST", "mount=", 403)
        door.rules.append(mountless)
        told = refused("-t", f"{door.address}/partial/b:1", f"{door.address}/partial/a:1")
    assert "not found" in told
    assert raw(old) == before


def test_ctrl_c_ends_a_copy_at_once_and_moves_no_tag(registry: str, blobs: Blobs) -> None:
    source = put(f"{registry}/stopped/a:1", pictures.index(blobs), blobs)
    reached, go_on = threading.Event(), threading.Event()

    def hanging(exchange: front.Exchange) -> bool:
        if exchange.matches("POST", "/stopped/b/blobs/uploads/"):
            reached.set()
            go_on.wait(60)
        return False

    with front.running_front(registry, hanging) as door:
        process = subprocess.Popen(
            [
                *(*VIADUCT, "imagetools", "create"),
                *("-t", f"{door.address}/stopped/b:1", source),
            ],
            stderr=subprocess.PIPE,
        )
        assert reached.wait(60)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        go_on.set()
    assert process.returncode == 130
    assert said.endswith(b"ERROR: canceled\n")
    assert viaduct("imagetools", "inspect", f"{registry}/stopped/b:1", check=False).returncode == 1


# Combinations


def test_images_of_several_registries_make_one_index(
    registry: str, other: str, blobs: Blobs, tmp_path: Path
) -> None:
    amd64 = put(f"{registry}/joined/amd64:1", pictures.image(blobs, AMD64), blobs)
    arm64 = put(f"{other}/joined/arm64:1", pictures.image(blobs, ARM64), blobs)
    told = tmp_path / "metadata.json"
    name = f"{registry}/joined/app:1"
    create("-t", name, "--metadata-file", str(told), arm64, amd64)
    index = json.loads(raw(name))
    assert index["mediaType"] == media.OCI_INDEX
    assert architectures(index) == ["arm64", "amd64"]
    for arch in ("amd64", "arm64"):
        unpacked = readers.unpack(f"docker://{name}", tmp_path / arch, platform=f"linux/{arch}")
        assert (unpacked / "bin/own").read_text() == f"linux/{arch} 0"
    metadata = json.loads(told.read_bytes())
    assert metadata["image.name"] == f"{registry}/joined/app"
    assert metadata["containerimage.descriptor"]["digest"] == digest_of(name)


def test_what_two_machines_pushed_by_digest_gets_one_tag(registry: str, blobs: Blobs) -> None:
    """The distributed build: each runner pushes by digest, one job makes the list."""
    repository = f"{registry}/runners"
    found = [pictures.image(blobs, platform) for platform in (AMD64, ARM64)]
    for image in found:
        put(repository, image, blobs, by_digest=True)
    create("-t", f"{repository}:1", *(image.digest for image in found))
    assert readers.platforms(f"docker://{repository}:1") == ["linux/amd64", "linux/arm64"]


def test_appending_keeps_what_the_tag_had(registry: str, blobs: Blobs) -> None:
    name = put(f"{registry}/appended:1", pictures.index(blobs), blobs)
    more = put(
        f"{registry}/appended:more", pictures.image(blobs, Platform("linux", "s390x")), blobs
    )
    create("--append", "-t", name, more)
    assert architectures(json.loads(raw(name))) == ["amd64", "arm64", "s390x"]


def test_descriptors_from_files_bring_platform_and_annotations(
    registry: str, blobs: Blobs, tmp_path: Path
) -> None:
    source = put(f"{registry}/described:1", pictures.image(blobs, AMD64), blobs)
    given = {
        "digest": digest_of(source),
        "platform": {"os": "linux", "architecture": "amd64", "variant": "v3"},
        "annotations": {"level": "v3"},
    }
    (tmp_path / "descriptor.json").write_text(json.dumps(given, indent=2))
    (entry,) = made("-t", source, "-f", str(tmp_path / "descriptor.json"))["manifests"]
    assert entry["platform"] == {"architecture": "amd64", "os": "linux", "variant": "v3"}
    assert entry["annotations"] == {"level": "v3"}
    assert entry["size"] == len(raw(source))


def test_docker_types_among_themselves_make_a_docker_list(registry: str, blobs: Blobs) -> None:
    docker = put(f"{registry}/types:docker", pictures.image(blobs, AMD64, oci=False), blobs)
    oci = put(f"{registry}/types:oci", pictures.image(blobs, ARM64), blobs)
    assert made(docker)["mediaType"] == media.DOCKER_LIST
    assert made(docker, oci)["mediaType"] == media.OCI_INDEX
    assert "a Docker manifest list cannot carry annotations" in refused(
        "--dry-run", "--annotation", "index:a=b", docker
    )


def test_kept_platforms_keep_their_attestations(
    registry: str, blobs: Blobs, tmp_path: Path
) -> None:
    source = put(f"{registry}/kept:1", pictures.index(blobs, attested=True), blobs)
    create("-t", f"{registry}/kept:arm", "-p", "linux/arm64", source)
    index = json.loads(raw(f"{registry}/kept:arm"))
    assert architectures(index) == ["unknown", "arm64"]
    about = index["manifests"][0]["annotations"]["vnd.docker.reference.digest"]
    assert about == index["manifests"][1]["digest"]
    assert readers.unpack(f"docker://{registry}/kept:arm", tmp_path, platform="linux/arm64")
    assert made("-p", "linux/arm64,linux/amd64", source) == json.loads(raw(source))
    told = refused("--dry-run", "-p", "linux/s390x", source)
    assert "none of the manifests match the provided platforms" in told
    assert "there are: linux/amd64, linux/arm64" in told


def test_annotations_go_to_the_index_and_its_entries(registry: str, blobs: Blobs) -> None:
    source = put(f"{registry}/annotated-index:1", pictures.index(blobs), blobs)
    index = made(
        *("--annotation", "index:z=<1>", "--annotation", "index:a=2"),
        *("--annotation", "manifest-descriptor[linux/arm64]:only=arm", source),
    )
    assert index["annotations"] == {"a": "2", "z": "<1>"}
    assert [entry.get("annotations") for entry in index["manifests"]] == [None, {"only": "arm"}]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-t", "REPO:1"), "no sources specified"),
        (("REPO:1",), "can't push with no tags specified, please set --tag or --dry-run"),
        (("--dry-run", f"sha256:{'0' * 64}"), "no repositories specified"),
        (("--dry-run", "sha256:12", "REPO:1"), 'failed to parse source "sha256:12"'),
        (("--dry-run", "{}", "REPO:1"), "invalid descriptor: digest is required"),
        (
            ("--dry-run", '{"schemaVersion":2,"manifests":[]}', "REPO:1"),
            "expected an OCI content descriptor, got a manifest or index (schemaVersion 2)",
        ),
        (
            ("-t", "REPO/b:1", "REPO/a:1", f"sha256:{'0' * 64}"),
            "multiple repositories specified, cannot infer repository for",
        ),
        (("--dry-run", "REPO/none:1"), "REPO/none:1"),
        (("--dry-run", "--annotation", "manifest:a=b", "REPO:1"), "annotations are not supported"),
        (
            ("--dry-run", "--annotation", "index-descriptor:a=b", "REPO:1"),
            '"index-descriptor" annotations are invalid while creating an image',
        ),
        (("-t", f"REPO@sha256:{'1' * 64}", "REPO:1"), "requested digest"),
        (("--dry-run", "-f", "/nonexistent", "REPO:1"), "cannot read --file /nonexistent"),
    ],
)
def test_what_makes_no_sense_is_told(
    registry: str, blobs: Blobs, arguments: tuple[str, ...], words: str
) -> None:
    name = f"{registry}/nonsense"
    put(f"{name}:1", pictures.image(blobs), blobs)
    told = refused(*(word.replace("REPO", name) for word in arguments))
    assert words.replace("REPO", name) in told
    assert "Traceback" not in told


def test_a_schema_1_image_is_refused(registry: str, blobs: Blobs) -> None:
    name = put(f"{registry}/old:1", pictures.image(blobs), blobs)
    ancient = json.dumps({"schemaVersion": 1, "fsLayers": []}).encode()
    headers = {"Content-Type": media.DOCKER_SCHEMA1}
    answer = front.answering("GET HEAD", "/old/manifests/1", 200, ancient, headers)
    with front.running_front(registry, answer) as door:
        told = refused("--dry-run", name.replace(registry, door.address))
    assert "schema 1 manifest" in told


# Looking


def test_attestations_are_shown_by_platform(registry: str, blobs: Blobs) -> None:
    images = [pictures.image(blobs, platform) for platform in (AMD64, ARM64)]
    entries = []
    for image, platform in zip(images, (AMD64, ARM64), strict=True):
        predicates: dict[str, object] = {_SLSA: {"z": 1, "a": "<x>"}}
        if platform == ARM64:
            predicates[_SPDX] = {"name": "packages"}
        proof = referrer(blobs, image, kind=_ATTESTATION, predicates=predicates)
        about = {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": str(image.digest),
        }
        entries += [
            entry_of(image, platform),
            annotated(entry_of(proof, Platform("unknown", "unknown")), about),
        ]
    index = models.Index(schema_version=2, media_type=media.OCI_INDEX, manifests=tuple(entries))
    root = blobs.add(models.encode(index, indent=2), media.OCI_INDEX)
    name = put(f"{registry}/attested:1", root, blobs)
    assert json.loads(shown(name, "{{json .SBOM}}")) == {
        "linux/arm64": {"SPDX": {"name": "packages"}}
    }
    provenance = shown(name, '{{json (index .Provenance "linux/amd64").SLSA}}')
    assert provenance == '{\n  "a": "\\u003cx\\u003e",\n  "z": 1\n}'
    assert shown(name, '{{(index .SBOM "linux/amd64").SPDX}}') == "<no value>"
    assert set(json.loads(shown(name, "{{json .}}"))) == {"name", "manifest", "image"}
    assert digest_of(name) == root.digest


def test_a_nested_index_is_looked_into(registry: str, blobs: Blobs) -> None:
    inner = pictures.index(blobs)
    outer = models.Index(schema_version=2, media_type=media.OCI_INDEX, manifests=(inner,))
    root = blobs.add(models.encode(outer), media.OCI_INDEX)
    name = put(f"{registry}/nested:1", root, blobs)
    assert set(json.loads(shown(name, "{{json .Image}}"))) == {"linux/amd64", "linux/arm64"}
    create("-t", f"{registry}/nested/copy:1", name)
    assert raw(f"{registry}/nested/copy:1") == raw(name)


def test_the_digest_shown_is_that_of_the_bytes(registry: str, blobs: Blobs) -> None:
    """S-04, S-53, S-54, S-56."""
    name = put(f"{registry}/shown:1", pictures.index(blobs), blobs)
    text = viaduct("imagetools", "inspect", name).stdout.decode()
    assert text.startswith(
        f"Name:      {name}\nMediaType: {media.OCI_INDEX}\nDigest:    {digest_of(name)}\n"
    )
    for platform, entry in zip(
        ("linux/amd64", "linux/arm64"), json.loads(raw(name))["manifests"], strict=True
    ):
        assert (
            f"  Name:      {name}@{entry['digest']}\n"
            f"  MediaType: {media.OCI_MANIFEST}\n"
            f"  Platform:  {platform}\n"
        ) in text
    assert viaduct("imagetools", "inspect", "--raw", name).stdout == raw(name)
    assert digests.of(raw(name)) == digest_of(name)


def test_one_platform_where_several_were_expected_is_explained(registry: str, blobs: Blobs) -> None:
    """S-57."""
    name = put(f"{registry}/lonely:1", pictures.image(blobs), blobs)
    done = viaduct("imagetools", "inspect", name)
    assert "one platform only" in done.stderr.decode()
    assert "Manifests:" not in done.stdout.decode()


#: Each of these costs milliseconds that looking at an image without TLS gets nothing for.
_NOT_NEEDED = (
    *("click", "dataclasses", "email", "gettext", "http", "random", "shutil", "sqlite3", "ssl"),
    *("subprocess", "tempfile", "viaduct.registry.upload"),
)


def test_an_inspection_imports_only_what_it_needs(registry: str, blobs: Blobs) -> None:
    name = put(f"{registry}/light:1", pictures.index(blobs), blobs)
    script = (
        "import sys\n"
        "from viaduct.cli.main import run\n"
        "run('viaduct', ['imagetools', 'inspect', sys.argv[1]])\n"
        f"print(*sorted(set({_NOT_NEEDED!r}) & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, name], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"Name:      {name}\n")
    assert done.stderr == "\n"
