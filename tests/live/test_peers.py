"""Other people's tools read what Viaduct pushed, and Viaduct reads what they pushed; on our own
registry and on Debian's docker-registry."""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.parts import images, readers, registry_checks
from tests.parts.command import viaduct
from tests.parts.contexts import BOTH
from tests.parts.docker_registry import running_docker_registry
from tests.parts.front import running_front

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.parts.contexts import Context

_DOCKERFILE = (
    "FROM BASE\n"
    "RUN uname -m > /machine && rm /etc/issue 2>/dev/null; mkdir /gone && touch /gone/x\n"
    "RUN rm -r /gone && ln /machine /hard && ln -s machine /soft && mkfifo /pipe\n"
    "COPY --chown=12:34 --chmod=4750 tool /usr/local/bin/tool\n"
    "ENV GREETING=hello\n"
    'CMD ["cat", "/machine"]\n'
)
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@pytest.fixture(scope="module")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_docker_registry(tmp_path_factory.mktemp("docker-registry")) as address:
        yield address


@pytest.fixture(params=["ours", "docker-registry"])
def address(request: pytest.FixtureRequest, registry: str) -> str:
    """Both registries in turn."""
    if request.param == "ours":
        return registry
    found: str = request.getfixturevalue("docker_registry")
    return found


def _build(context: Context, name: str, *options: str) -> str:
    context.dockerfile(_DOCKERFILE)
    context.file("tool", "#!/bin/sh\necho tool\n")
    context.build(*BOTH, *options, "-t", name, "--push")
    return f"docker://{name}"


def _skopeo(*arguments: str) -> None:
    done = subprocess.run(
        ["skopeo", "--insecure-policy", *arguments], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def test_skopeo_reads_the_exact_index(context: Context, address: str) -> None:
    reference = _build(context, f"{address}/peers/raw:1")
    data = readers.raw(reference)
    assert readers.platforms(reference) == ["linux/amd64", "linux/arm64"]
    inspected = viaduct("imagetools", "inspect", f"{address}/peers/raw:1").stdout.decode()
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" in inspected
    for arch in _MACHINES:
        config = readers.config(reference, f"linux/{arch}")
        assert config["architecture"] == arch
        assert config["config"]["Cmd"] == ["cat", "/machine"]
        assert "GREETING=hello" in config["config"]["Env"]


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_skopeo_and_umoci_unpack_every_platform(
    context: Context, address: str, tmp_path: Path, compression: str
) -> None:
    name = f"{address}/peers/unpacked-{compression}:1"
    context.dockerfile(_DOCKERFILE)
    context.file("tool", "#!/bin/sh\necho tool\n")
    output = f"type=image,name={name},push=true,compression={compression},force-compression=true"
    context.build(*BOTH, "-o", output)
    for arch, machine in _MACHINES.items():
        if compression == "zstd":
            # umoci 0.4 knows no zstd: skopeo turns it into gzip on the way.
            layout = tmp_path / f"layout-{arch}"
            _skopeo(
                *["--override-arch", arch, "copy", "--quiet", "--src-tls-verify=false"],
                *["--dest-compress-format", "gzip", f"docker://{name}", f"oci:{layout}:it"],
            )
            rootfs = readers.unpack(f"oci:{layout}:it", tmp_path / arch, platform=f"linux/{arch}")
        else:
            rootfs = readers.unpack(f"docker://{name}", tmp_path / arch, platform=f"linux/{arch}")
        assert (rootfs / "machine").read_text() == f"{machine}\n"
        assert (rootfs / "hard").stat().st_ino == (rootfs / "machine").stat().st_ino
        assert (rootfs / "soft").readlink().name == "machine"
        assert (rootfs / "pipe").is_fifo()
        assert not (rootfs / "gone").exists()
        assert (rootfs / "usr/local/bin/tool").stat().st_mode & 0o7777 == 0o4750


def test_buildah_pulls_the_other_architecture(
    context: Context, address: str, tmp_path: Path
) -> None:
    reference = _build(context, f"{address}/peers/buildah:1")
    for arch in _MACHINES:
        image = readers.buildah_pull(reference, tmp_path / arch, arch=arch)
        inspected = readers.buildah(tmp_path / arch, "inspect", "--type", "image", image)
        assert json.loads(inspected)["OCIv1"]["architecture"] == arch


def test_skopeo_copies_all_platforms_between_the_registries(
    context: Context, registry: str, docker_registry: str
) -> None:
    source = _build(context, f"{registry}/peers/copied:1")
    there, back = f"{docker_registry}/peers/copied:1", f"{registry}/peers/returned:1"
    no_tls = ["--quiet", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"]
    _skopeo("copy", *no_tls, source, f"docker://{there}")
    _skopeo("copy", *no_tls, f"docker://{there}", f"docker://{back}")
    assert readers.raw(f"docker://{there}") == readers.raw(source)
    assert readers.raw(f"docker://{back}") == readers.raw(source)
    assert registry_checks.resolve_completely(registry, "peers/returned", "1")


def test_buildah_pushes_to_our_registry_and_we_build_on_it(
    context: Context, registry: str, tmp_path: Path
) -> None:
    pulled = readers.buildah_pull(f"docker://{context.base}", tmp_path, arch="arm64")
    for kind in ("oci", "v2s2"):
        name = f"{registry}/peers/by-buildah-{kind}:1"
        push = ("push", "--quiet", "--tls-verify=false", "--format", kind)
        readers.buildah(tmp_path, *push, pulled, f"docker://{name}")
        context.dockerfile(f"FROM {name}\nRUN uname -m\n")
        log = context.build("--platform", "linux/arm64", "--no-cache").log
        assert log.step("RUN uname -m").output == ["aarch64"]


def test_docker_schema_2_lists_are_built_on_and_pulled(
    context: Context, address: str, tmp_path: Path
) -> None:
    layout = images.busybox_layout()
    name = f"{address}/peers/schema2:1"
    _skopeo(
        *["copy", "--quiet", "--all", "--format", "v2s2", "--dest-tls-verify=false"],
        *[f"oci:{layout}:latest", f"docker://{name}"],
    )
    assert readers.document(f"docker://{name}")["mediaType"] == (
        "application/vnd.docker.distribution.manifest.list.v2+json"
    )
    context.dockerfile(f"FROM {name}\nRUN uname -m > /machine\n")
    built = f"{address}/peers/on-schema2:1"
    context.build(*BOTH, "-t", built, "--push")
    for arch, machine in _MACHINES.items():
        rootfs = readers.unpack(f"docker://{built}", tmp_path / arch, platform=f"linux/{arch}")
        assert (rootfs / "machine").read_text() == f"{machine}\n"
    viaduct("pull", name)
    viaduct("tag", name, f"{address}/peers/again:1")
    viaduct("push", f"{address}/peers/again:1")
    assert readers.raw(f"docker://{address}/peers/again:1") == readers.raw(f"docker://{name}")


def test_an_unchanged_second_push_sends_nothing(
    context: Context, registry: str, tmp_path: Path
) -> None:
    _build(context, f"{registry}/peers/twice:1")
    with running_front(registry) as proxy:
        context.build(*BOTH, "-t", f"{proxy.address}/peers/twice:1", "--push")
        assert proxy.asked("HEAD", "/manifests/1")
        assert proxy.asked("POST PATCH PUT", "") == []


def test_oci_archives_are_read_by_skopeo_and_hold_the_pushed_digest(
    context: Context, registry: str, tmp_path: Path
) -> None:
    """S-61."""
    name = f"{registry}/peers/archive:1"
    context.dockerfile(_DOCKERFILE)
    context.file("tool", "#!/bin/sh\necho tool\n")
    archive = tmp_path / "image.tar"
    context.build(*BOTH, "-t", name, "--push", "-o", f"type=oci,dest={archive}")
    copied = f"{registry}/peers/from-archive:1"
    _skopeo(
        *["copy", "--quiet", "--all", "--dest-tls-verify=false", f"oci-archive:{archive}"],
        f"docker://{copied}",
    )
    assert readers.raw(f"docker://{copied}") == readers.raw(f"docker://{name}")
