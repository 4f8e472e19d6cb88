"""Every kind of `--output`, read back by other people's programs."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.parts import front, readers
from tests.parts.command import VIADUCT, viaduct
from tests.parts.contexts import BOTH
from tests.parts.docker_registry import running_docker_registry

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parts.contexts import Context

_OCI = "application/vnd.oci.image."
_SMALL = "FROM BASE\nARG TARGETARCH\nCOPY note /note-$TARGETARCH\n"
_FILES = "FROM scratch\nARG TARGETARCH\nCOPY note /bin/note-$TARGETARCH\nCOPY note /shared\n"


@pytest.fixture
def small(context: Context) -> Context:
    """A context whose images differ by platform, and need no step to run."""
    context.dockerfile(_SMALL)
    context.file("note", "hello")
    return context


@pytest.fixture
def files(context: Context) -> Context:
    """A context whose result is three small files."""
    context.dockerfile(_FILES)
    context.file("note", "hello", mode=0o640)
    return context


def digest_of(reference: str) -> str:
    return f"sha256:{hashlib.sha256(readers.raw(f'docker://{reference}')).hexdigest()}"


def layout_index(layout: Path) -> list[dict[str, Any]]:
    found = json.loads((layout / "index.json").read_bytes())["manifests"]
    assert isinstance(found, list)
    return found


def unpacked(archive: Path, dest: Path) -> Path:
    dest.mkdir()
    subprocess.run(["tar", "-xf", str(archive), "-C", str(dest)], check=True)
    return dest


def document_in(layout: Path, descriptor: dict[str, Any]) -> dict[str, Any]:
    path = layout / "blobs/sha256" / descriptor["digest"].removeprefix("sha256:")
    found = json.loads(path.read_bytes())
    assert isinstance(found, dict)
    return found


def layers_of(layout: Path) -> list[dict[str, Any]]:
    """The layers of the image in a layout that holds one platform."""
    found = document_in(layout, layout_index(layout)[0])["layers"]
    assert isinstance(found, list)
    return found


# Registries


def test_an_oci_archive_holds_the_very_index_that_a_push_sends(
    small: Context, registry: str, tmp_path: Path
) -> None:
    """S-61."""
    archive = tmp_path / "image.tar"
    small.build(*BOTH, "-t", f"{registry}/same:1", "--push", "-o", f"type=oci,dest={archive}")
    (entry,) = layout_index(unpacked(archive, tmp_path / "layout"))
    assert entry["digest"] == digest_of(f"{registry}/same:1")
    assert readers.check_layout(tmp_path / "layout") >= 7


def test_one_platform_is_a_plain_manifest_for_this_machine(small: Context, registry: str) -> None:
    """S-06."""
    small.build("-t", f"{registry}/plain:1", "--push")
    manifest = readers.document(f"docker://{registry}/plain:1")
    assert manifest["mediaType"] == f"{_OCI}manifest.v1+json"
    assert readers.config(f"docker://{registry}/plain:1")["architecture"] == "amd64"


def test_a_client_without_a_wish_gets_its_own_architecture(
    small: Context, registry: str, tmp_path: Path
) -> None:
    """S-07."""
    small.build(*BOTH, "-t", f"{registry}/pick:1", "--push")
    reference = f"docker://{registry}/pick:1"
    ids = {
        arch: readers.buildah_pull(reference, tmp_path, arch=arch) for arch in ("amd64", "arm64")
    }
    assert ids["amd64"] != ids["arm64"]
    for arch in ids:
        rootfs = readers.unpack(reference, tmp_path / arch, platform=f"linux/{arch}")
        assert (rootfs / f"note-{arch}").read_text() == "hello"


def test_one_push_reaches_registries_of_two_makes(
    small: Context, registry: str, tmp_path: Path
) -> None:
    with running_docker_registry(tmp_path) as other:
        names = [f"{registry}/makes/app:1", f"{other}/makes/app:1", f"{other}/makes/app:2"]
        small.build(*BOTH, *(word for name in names for word in ("-t", name)), "--push")
        assert len({digest_of(name) for name in names}) == 1
        assert readers.platforms(f"docker://{names[2]}") == ["linux/amd64", "linux/arm64"]
        out = readers.unpack(f"docker://{names[1]}", tmp_path / "out", platform="linux/arm64")
        assert (out / "note-arm64").read_text() == "hello"


def test_a_failing_leg_leaves_the_old_tag(small: Context, registry: str) -> None:
    """S-49."""
    small.build(*BOTH, "-t", f"{registry}/atomic:1", "--push")
    before = digest_of(f"{registry}/atomic:1")
    small.dockerfile('FROM BASE\nARG TARGETARCH\nRUN test "$TARGETARCH" != arm64\n')
    assert small.build(*BOTH, "-t", f"{registry}/atomic:1", "--push", check=False).status == 1
    assert digest_of(f"{registry}/atomic:1") == before


def test_a_failing_push_moves_none_of_several_tags(small: Context, registry: str) -> None:
    """S-49: the registry takes everything but the index."""
    small.build(*BOTH, "-t", f"{registry}/several:1", "-t", f"{registry}/several:2", "--push")
    before = digest_of(f"{registry}/several:1")
    small.file("note", "changed")
    refusing = front.answering("PUT", r"/several/manifests/(?!sha256)", 400)
    with front.running_front(registry, refusing) as door:
        tags = [f"{door.address}/several:{n}" for n in (1, 2)]
        built = small.build(*BOTH, "-t", tags[0], "-t", tags[1], "--push", check=False)
    assert built.status == 1
    assert f"push of {tags[0]}" in built.stderr
    assert [digest_of(f"{registry}/several:{n}") for n in (1, 2)] == [before, before]


def test_what_one_repository_has_is_mounted_into_the_next(small: Context, registry: str) -> None:
    with front.running_front(registry) as door:
        tags = [f"{door.address}/mount/{name}:1" for name in ("a", "b", "c")]
        small.build(*BOTH, *(word for tag in tags for word in ("-t", tag)), "--push")
    digests = {digest_of(f"{registry}/mount/{name}:1") for name in ("a", "b", "c")}
    assert len(digests) == 1
    assert door.asked("PUT PATCH", "/mount/[bc]/blobs/") == []
    assert len(door.asked("POST", r"/mount/[bc]/blobs/uploads/\?mount=.*from=mount")) >= 4


def test_a_registry_that_asks_for_patience_gets_it(small: Context, registry: str) -> None:
    busy = front.times(1, front.answering("PUT", "/manifests/1", 429, b"", {"Retry-After": "1"}))
    with front.running_front(registry, busy) as door:
        built = small.build("-t", f"{door.address}/busy:1", "--push")
    assert "allows no more requests for now; again in " in built.stderr
    assert digest_of(f"{registry}/busy:1")


def test_a_push_by_digest_names_no_tag(small: Context, registry: str, tmp_path: Path) -> None:
    told = tmp_path / "metadata.json"
    output = f"type=image,name={registry}/untagged,push-by-digest=true,push=true"
    small.build("-o", output, "--metadata-file", str(told))
    metadata = json.loads(told.read_bytes())
    assert metadata["image.name"] == f"{registry}/untagged"
    pinned = f"{registry}/untagged@{metadata['containerimage.digest']}"
    assert digest_of(pinned) == metadata["containerimage.digest"]
    refused = viaduct("imagetools", "inspect", f"{registry}/untagged", check=False)
    assert refused.returncode == 1


def test_what_was_loaded_is_pushed_later_as_the_same_index(small: Context, registry: str) -> None:
    name = f"{registry}/later:1"
    loaded = small.build(*BOTH, "-q", "--load", "-t", name, progress="").stdout.strip()
    viaduct("push", name)
    assert digest_of(name) == loaded


# Archives and layouts


def test_a_docker_archive_is_read_by_others(small: Context, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    small.build("-t", "some/app:1", "-t", "example.com/app:2", "-o", f"type=docker,dest={archive}")
    tags = ["some/app:1", "example.com/app:2"]
    shown = subprocess.run(
        ["skopeo", "inspect", "--config", f"docker-archive:{archive}:some/app:1"],
        check=True,
        capture_output=True,
    )
    assert json.loads(shown.stdout)["architecture"] == "amd64"
    (manifest,) = json.loads((unpacked(archive, tmp_path / "x") / "manifest.json").read_bytes())
    assert manifest["RepoTags"] == tags
    assert (tmp_path / "x" / manifest["Config"]).is_file()
    names = [
        entry["annotations"]["io.containerd.image.name"] for entry in layout_index(tmp_path / "x")
    ]
    assert names == ["docker.io/some/app:1", "example.com/app:2"]


def test_images_are_added_to_a_layout_that_holds_others(small: Context, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    output = f"type=oci,tar=false,dest={layout}"
    small.build(*BOTH, "-t", "app:1", "-o", output)
    first = layout_index(layout)
    small.file("note", "changed")
    small.build("-t", "app:2", "-o", output)
    small.build("-t", "app:1", "-o", output)
    entries = layout_index(layout)
    tags = [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries]
    assert tags == ["2", "1"]
    assert entries[0]["digest"] == entries[1]["digest"] != first[0]["digest"]
    assert readers.config(f"oci:{layout}:2")["os"] == "linux"
    assert (readers.unpack(f"oci:{layout}:2", tmp_path / "out") / "note-amd64").exists()
    assert not (layout / "index.json.lock").exists()


def test_a_layout_without_a_name_is_called_latest(small: Context, tmp_path: Path) -> None:
    small.build("-o", f"type=oci,tar=false,dest={tmp_path / 'layout'}")
    assert readers.config(f"oci:{tmp_path / 'layout'}:latest")["architecture"] == "amd64"


@pytest.mark.parametrize(
    ("options", "kind", "start"),
    [
        ("compression=gzip,compression-level=9", "tar+gzip", b"\x1f\x8b"),
        ("compression=zstd,compression-level=3", "tar+zstd", b"\x28\xb5\x2f\xfd"),
        ("compression=zstd,compression-level=0", "tar+zstd", b"\x28\xb5\x2f\xfd"),
        ("compression=uncompressed", "tar", b"note"),
    ],
    ids=["gzip 9", "zstd 3", "zstd 0", "uncompressed"],
)
def test_new_layers_are_compressed_as_asked(
    small: Context, tmp_path: Path, options: str, kind: str, start: bytes
) -> None:
    layout = tmp_path / "layout"
    small.build("-o", f"type=oci,tar=false,dest={layout},{options}")
    base, new = layers_of(layout)
    assert base["mediaType"] == f"{_OCI}layer.v1.tar+gzip"
    assert new["mediaType"] == f"{_OCI}layer.v1.{kind}"
    data = (layout / "blobs/sha256" / new["digest"].removeprefix("sha256:")).read_bytes()
    assert data.startswith(start)
    # Debian's umoci knows no zstd; buildah unpacks and compares diff ids.
    assert readers.buildah_pull(f"oci:{layout}:latest", tmp_path, arch="amd64")


def test_force_compression_changes_the_base_as_well(small: Context, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    small.build("-o", f"type=oci,tar=false,dest={layout},compression=zstd,force-compression=true")
    kinds = [layer["mediaType"] for layer in layers_of(layout)]
    assert kinds == [f"{_OCI}layer.v1.tar+zstd"] * 2
    assert readers.buildah_pull(f"oci:{layout}:latest", tmp_path, arch="amd64")


def test_a_base_is_decompressed_by_force(small: Context, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    options = "compression=uncompressed,force-compression=true"
    small.build("-o", f"type=oci,tar=false,dest={layout},{options}")
    assert {layer["mediaType"] for layer in layers_of(layout)} == {f"{_OCI}layer.v1.tar"}
    assert (readers.unpack(f"oci:{layout}:latest", tmp_path / "out") / "bin/busybox").exists()


def test_docker_media_types_on_request(small: Context, registry: str) -> None:
    small.build(*BOTH, "-t", f"{registry}/docker:1", "-o", "type=registry,oci-mediatypes=false")
    index = readers.document(f"docker://{registry}/docker:1")
    assert index["mediaType"] == "application/vnd.docker.distribution.manifest.list.v2+json"
    child = index["manifests"][0]
    assert child["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    manifest = readers.document(f"docker://{registry}/docker@{child['digest']}")
    assert manifest["config"]["mediaType"] == "application/vnd.docker.container.image.v1+json"
    assert {layer["mediaType"] for layer in manifest["layers"]} == {
        "application/vnd.docker.image.rootfs.diff.tar.gzip"
    }


def test_annotations_land_on_their_levels(small: Context, registry: str) -> None:
    name = f"{registry}/annotated:1"
    small.build(
        *BOTH,
        *("--annotation", "index,manifest:both=1", "--annotation", "manifest[linux/arm64]:arm=2"),
        *("-o", f"type=image,name={name},push=true,annotation-manifest-descriptor.entry=3"),
    )
    index = readers.document(f"docker://{name}")
    assert index["annotations"] == {"both": "1"}
    assert [entry["annotations"] for entry in index["manifests"]] == [{"entry": "3"}] * 2
    amd64, arm64 = (
        readers.document(f"docker://{registry}/annotated@{entry['digest']}")["annotations"]
        for entry in index["manifests"]
    )
    assert (amd64, arm64) == ({"both": "1"}, {"both": "1", "arm": "2"})


def test_an_index_descriptor_is_annotated_in_the_layout(small: Context, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    small.build(*BOTH, "-o", f"type=oci,tar=false,dest={layout},annotation-index-descriptor.top=1")
    assert layout_index(layout)[0]["annotations"]["top"] == "1"


def test_clean_builds_of_one_epoch_are_the_same_to_the_bit(
    context: Context, tmp_path: Path
) -> None:
    context.dockerfile("FROM BASE\nRUN mkdir /a && echo x > /a/b && touch /new\nCOPY note /\n")
    context.file("note", "hello")

    def build(number: int, compression: str) -> tuple[str, list[str]]:
        """The digests of the index and of the configurations, from an empty state."""
        layout = tmp_path / f"layout-{number}"
        env = {**os.environ, "VIADUCT_HOME": str(tmp_path / f"home-{number}")}
        env["SOURCE_DATE_EPOCH"] = "1700000000"
        output = f"type=oci,tar=false,dest={layout},rewrite-timestamp=true"
        context.build(*BOTH, "-o", f"{output},compression={compression}", env=env)
        (entry,) = layout_index(layout)
        assert entry["annotations"]["org.opencontainers.image.created"] == "2023-11-14T22:13:20Z"
        manifests = document_in(layout, entry)["manifests"]
        return entry["digest"], [document_in(layout, m)["config"]["digest"] for m in manifests]

    gzip, again = build(1, "gzip"), build(2, "gzip")
    zstd, once_more = build(3, "zstd"), build(4, "zstd")
    assert gzip == again
    assert zstd == once_more
    # Configurations name layers by what is in them, however they are compressed.
    assert gzip[1] == zstd[1]
    assert gzip[0] != zstd[0]


_EVERYTHING = """FROM scratch
ARG TARGETARCH
COPY f sub/ /d/
COPY s* /e-$TARGETARCH/
COPY --chown=3:4 --chmod=0750 sub /own/
COPY <<EOF /etc/motd
hello & <welcome>
EOF
ENV A=1 B="two words"
EXPOSE 80 53/udp
VOLUME /data
WORKDIR /srv/app
USER 1:2
LABEL b=2 a="<&>"
HEALTHCHECK --interval=5s CMD check
ENTRYPOINT ["/run"]
CMD go
"""


@pytest.mark.parametrize(
    ("dockerfile", "ids"),
    [
        (
            "FROM scratch\nCOPY f /f\n",
            {
                "sha256:d7b55a07866ca5f58608f097b1c3e6f7f0d3644f4bd2c3032ab9f8a47f82ec07",
                "sha256:48defebc6cc60c09d3e7d5653e61b489286814b0fe021c8cba754502d610e9c9",
            },
        ),
        (
            _EVERYTHING,
            {
                "sha256:8ed769a4b5ceb2f85b0d7afb35e26d32497b461b59cc4bc3d9e8ad1fea28b4d5",
                "sha256:6c96da28b9a19f8e766b1121cf41c1c9ea3ad17b49f3c12d8f4499351831696c",
            },
        ),
    ],
    ids=["one file", "every instruction"],
)
def test_image_ids_are_those_that_buildkit_gives(
    context: Context, tmp_path: Path, dockerfile: str, ids: set[str]
) -> None:
    """The ids were read off builds of the same directory by BuildKit 0.32. They hold the digests
    of the layers' archives, the history and the configuration."""
    context.dockerfile(dockerfile)
    context.file("f", "hi\n")
    context.file("sub/g", "sub\n")
    (context.root / "sub").chmod(0o755)
    layout = tmp_path / "layout"
    output = f"type=oci,tar=false,dest={layout},rewrite-timestamp=true"
    context.build(*BOTH, "-o", output, env={**os.environ, "SOURCE_DATE_EPOCH": "1000000000"})
    manifests = document_in(layout, layout_index(layout)[0])["manifests"]
    assert {document_in(layout, m)["config"]["digest"] for m in manifests} == ids


def test_rewriting_without_an_epoch_is_told(small: Context, tmp_path: Path) -> None:
    output = f"type=oci,dest={tmp_path / 'x.tar'},rewrite-timestamp=true"
    assert "no source-date-epoch was found" in small.build("-o", output).stderr


# Plain files


def test_a_directory_gets_the_files_of_one_platform(files: Context, tmp_path: Path) -> None:
    files.build("-o", str(tmp_path / "out"))
    assert (tmp_path / "out/bin/note-amd64").read_text() == "hello"
    assert (tmp_path / "out/shared").stat().st_mode & 0o777 == 0o640


def test_a_directory_gets_one_directory_per_platform(files: Context, tmp_path: Path) -> None:
    files.build("--platform", "linux/amd64,linux/arm/v7", "-o", f"type=local,dest={tmp_path}/out")
    found = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").glob("*/bin/*"))
    assert found == ["linux_amd64/bin/note-amd64", "linux_arm_v7/bin/note-arm"]


def test_platforms_share_a_directory_when_their_files_differ(
    files: Context, tmp_path: Path
) -> None:
    files.dockerfile("FROM scratch\nARG TARGETARCH\nCOPY note /bin/note-$TARGETARCH\n")
    files.build(*BOTH, "-o", f"type=local,dest={tmp_path}/out,platform-split=false")
    assert sorted(p.name for p in (tmp_path / "out/bin").iterdir()) == ["note-amd64", "note-arm64"]


@pytest.mark.parametrize("kind", ["local", "tar"])
def test_platforms_do_not_overwrite_each_other(files: Context, tmp_path: Path, kind: str) -> None:
    output = f"type={kind},dest={tmp_path}/out,platform-split=false"
    built = files.build(*BOTH, "-o", output, check=False)
    assert built.status == 1
    words = (
        "cannot overwrite shared from linux/amd64 with linux/arm64 when split option is disabled"
    )
    assert words in built.stderr
    assert not (tmp_path / "out").is_file()


def test_plain_files_carry_the_epoch(files: Context, tmp_path: Path) -> None:
    env = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    files.build(
        "-o", f"type=local,dest={tmp_path}/out", "-o", f"type=tar,dest={tmp_path}/t", env=env
    )
    times = {int(path.stat().st_mtime) for path in (tmp_path / "out").rglob("*")}
    with tarfile.open(tmp_path / "t") as archive:
        times |= {int(member.mtime) for member in archive}
    assert times == {1700000000}


def test_a_tar_of_one_platform_goes_to_standard_output(files: Context) -> None:
    done = viaduct("build", "-o", "-", str(files.root))
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert sorted(archive.getnames()) == ["bin", "bin/note-amd64", "shared"]


def test_an_image_goes_to_standard_output(small: Context, tmp_path: Path) -> None:
    done = viaduct("build", *BOTH, "-o", "type=oci,dest=-", str(small.root))
    (tmp_path / "image.tar").write_bytes(done.stdout)
    assert len(layout_index(unpacked(tmp_path / "image.tar", tmp_path / "x"))) == 1


def test_a_reader_that_leaves_early_is_told(files: Context) -> None:
    command = [*VIADUCT, "build", "-o", "-", "--progress=plain", str(files.root)]
    files.file("note", "x" * 2_000_000)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read().decode()
    assert process.returncode == 1
    assert "cannot write standard output: its reader is gone" in said


def test_a_pipe_is_written_to_and_stays_a_pipe(files: Context, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    files.build("-o", f"type=tar,dest={pipe}")
    reader.join()
    with tarfile.open(fileobj=io.BytesIO(got[0])) as archive:
        assert "shared" in archive.getnames()
    assert pipe.is_fifo()


def test_missing_directories_on_the_way_are_made(files: Context, tmp_path: Path) -> None:
    files.build("-o", f"type=tar,dest={tmp_path}/new/deep/out.tar")
    assert tarfile.is_tarfile(tmp_path / "new/deep/out.tar")


# Several at once


def test_one_build_fills_many_places(small: Context, registry: str, tmp_path: Path) -> None:
    told, identity = tmp_path / "metadata.json", tmp_path / "id"
    small.build(
        *("-t", f"{registry}/many:1", "--push", "--metadata-file", str(told)),
        *("-o", f"type=oci,dest={tmp_path}/oci.tar", "-o", f"type=docker,dest={tmp_path}/d.tar"),
        *("-o", f"type=oci,tar=false,dest={tmp_path}/layout", "-o", "type=cacheonly"),
    )
    digest = digest_of(f"{registry}/many:1")
    for archive in ("oci.tar", "d.tar"):
        entries = layout_index(unpacked(tmp_path / archive, tmp_path / f"x-{archive}"))
        assert [entry["digest"] for entry in entries] == [digest]
    assert layout_index(tmp_path / "layout")[0]["digest"] == digest
    metadata = json.loads(told.read_bytes())
    assert metadata["containerimage.digest"] == digest
    assert metadata["image.name"] == f"{registry}/many:1"
    small.build("-o", "type=image", "--iidfile", str(identity))
    assert identity.read_text() == metadata["containerimage.config.digest"]


def test_a_file_that_cannot_be_written_keeps_the_tag_from_moving(
    small: Context, registry: str, tmp_path: Path
) -> None:
    name = f"{registry}/full:1"
    built = small.build("-t", name, "--push", "-o", "type=tar,dest=/dev/full", check=False)
    assert built.status == 1
    assert "cannot write /dev/full: No space left on device" in built.stderr
    assert viaduct("imagetools", "inspect", name, check=False).returncode == 1


def test_a_name_is_kept_with_its_digest_too(small: Context) -> None:
    small.build("-o", "type=image,name=example.com/canonical:1,name-canonical=true")
    listed = viaduct("images", "--format", "{{.Repository}}:{{.Tag}}@{{.Digest}}").stdout.decode()
    assert "example.com/canonical" in listed


def test_deleting_leaves_just_the_result_below_the_current_directory(
    files: Context, tmp_path: Path
) -> None:
    (tmp_path / "out/old").mkdir(parents=True)
    (tmp_path / "out/old/file").write_text("old")
    viaduct("build", "-o", "type=local,dest=out,mode=delete", str(files.root), cwd=tmp_path)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["bin", "shared"]
    elsewhere = viaduct(
        *("build", "-o", "type=local,dest=../out,mode=delete", str(files.root)),
        cwd=files.root,
        check=False,
    )
    assert elsewhere.returncode == 1
    assert b"requires --allow=buildx.local.delete" in elsewhere.stderr
