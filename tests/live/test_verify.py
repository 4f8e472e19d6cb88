"""`viaduct verify`: every way in which an image is not what it claims to be, and that none is seen
where there is none."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import tarfile
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.parts import front, images, pictures, readers
from tests.parts.command import VIADUCT, viaduct
from tests.parts.contexts import BOTH, Context
from tests.parts.pictures import AMD64, ARM64, Blobs
from tests.parts.registry import running_registry

from viaduct import api
from viaduct.engine.verify import VerifyRequest
from viaduct.oci import media, models, platform, reference
from viaduct.oci.models import Descriptor, PlatformSpec
from viaduct.registry import client as registry_client
from viaduct.registry.push import push
from viaduct.sandbox import probe
from viaduct.sandbox.machines import MACHINES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parts.published import Published

    from viaduct.oci.platform import Platform

HERE = platform.native().architecture
#: The machine that this one is not.
THERE = "arm64" if HERE == "amd64" else "amd64"


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def put(name: str, root: Descriptor, blobs: Blobs) -> str:
    """Push a picture; returns the name."""
    with contextlib.closing(registry_client.connect({})) as client:
        push(client, [reference.parse(name)], root, blobs)
    return name


def program(context: Context, name: str, arch: str) -> None:
    """A file of the context that is a program for `arch`."""
    context.file(name, probe.program(MACHINES[arch]), mode=0o755)


def pushed(context: Context, name: str, dockerfile: str, *options: str) -> str:
    """Build for both platforms and push; returns the name."""
    context.dockerfile(dockerfile)
    context.build(*BOTH, *options, "-t", name, "--push")
    return name


def good(*arguments: str) -> str:
    """What is printed of an image that is what it claims to be."""
    done = viaduct("verify", *arguments)
    assert done.stderr == b""
    return done.stdout.decode()


def bad(*arguments: str) -> str:
    """What is printed of one that is not."""
    done = viaduct("verify", *arguments, check=False)
    assert done.stderr == b""
    assert done.returncode == 1
    return done.stdout.decode()


def told(*arguments: str) -> list[dict[str, Any]]:
    """The problems of an image, from JSON, each with the `platform` that has it."""
    found = json.loads(bad("--json", *arguments))
    assert not found["ok"]
    out = [finding | {"platform": ""} for finding in found["findings"]]
    for image in found["images"]:
        out += [finding | {"platform": image["platform"]} for finding in image["findings"]]
    problems = [finding for finding in out if finding["level"] == "problem"]
    assert len(problems) == found["problems"]
    return problems


# What is well


def test_what_was_built_and_pushed_is_what_it_claims_to_be(published: Published) -> None:
    page = good("--platform", "linux/arm64,linux/amd64", published.name)
    *rows, last = page.splitlines()
    assert [row.split()[:2] for row in rows] == [["linux/amd64", "ok"], ["linux/arm64", "ok"]]
    assert last.startswith(f"{published.name} (sha256:")
    assert last.endswith(" is what it claims to be")
    found = json.loads(good("--json", published.name))
    assert found["ok"]
    assert found["mediaType"] == media.OCI_INDEX
    assert [image["platform"] for image in found["images"]] == ["linux/amd64", "linux/arm64"]
    assert all(image["programs"] >= 1 and image["layers"] > 1 for image in found["images"])


@pytest.mark.parametrize("layout", [images.debian_layout, images.busybox_layout])
def test_distributions_are_clean(layout: Any) -> None:
    found = json.loads(good("--json", f"oci-layout://{layout()}"))
    assert [image["findings"] for image in found["images"]] == [[], []]


def test_docker_lists_attestations_and_nested_indexes_are_understood(
    registry: str, blobs: Blobs
) -> None:
    docker = put(f"{registry}/verify-docker:1", pictures.index(blobs, oci=False), blobs)
    assert good(*BOTH, docker).count("  ok  ") == 2
    root = pictures.index(blobs, attested=True)
    page = good(*BOTH, put(f"{registry}/verify-attested:1", root, blobs))
    assert [line.partition("  ")[0] for line in page.splitlines()[:4]] == [
        "attestation of linux/amd64",
        "attestation of linux/arm64",
        "linux/amd64",
        "linux/arm64",
    ]
    outer = models.Index(schema_version=2, media_type=media.OCI_INDEX, manifests=(root,))
    nested = blobs.add(models.encode(outer), media.OCI_INDEX)
    assert good(*BOTH, put(f"{registry}/verify-nested:1", nested, blobs)).count("  ok  ") == 4


def test_what_a_later_step_put_right_is_right(context: Context, registry: str) -> None:
    """A foreign program is removed, another one is replaced, and a third lies behind a link."""
    program(context, "wrong", THERE)
    for arch in (HERE, THERE):
        program(context, f"right-{arch}", arch)
    name = pushed(
        context,
        f"{registry}/verify-right:1",
        "FROM BASE\nARG TARGETARCH\nCOPY wrong /a\nCOPY wrong /b\nCOPY wrong /usr/c/d\n"
        "RUN rm /a && rm -r /usr/c && mkdir /usr/c\nCOPY right-$TARGETARCH /b\n",
    )
    found = json.loads(good("--json", name))
    assert [image["foreign"] for image in found["images"]] == [0, 0]


def test_what_is_seen_is_what_another_tool_unpacks(tmp_path: Path) -> None:
    """Layers that replace, hide, link and follow links, seen by umoci as well."""
    amd64, arm64 = (probe.program(MACHINES[arch]) for arch in ("amd64", "arm64"))
    layers: list[dict[str, bytes | str]] = [
        {
            "usr/": b"",
            "usr/lib/": b"",
            "usr/lib/a": amd64,
            "usr/lib/b": amd64,
            "lib": "usr/lib",
            "opt/": b"",
            "opt/x/": b"",
            "opt/x/y": amd64,
            "opt/z": amd64,
            "srv/": b"",
            "srv/s": amd64,
        },
        {
            "lib/a": arm64,
            "lib/.wh.b": b"",
            "opt/x/": b"",
            "opt/x/.wh..wh..opq": b"",
            "opt/x/new": arm64,
            "opt/.wh.z": b"",
            ".wh.srv": b"",
            "usr/lib/c": arm64,
        },
        {"usr/lib/d": arm64, "opt/x": "../usr/lib", "srv/": b"", "srv/t": amd64, "lib/c": b"text"},
    ]
    archives = []
    for number, files in enumerate(layers):
        archives.append(tmp_path / f"{number}.tar")
        with tarfile.open(archives[-1], "w") as tar:
            for name, data in files.items():
                tar.addfile(*_member(name, data))
    layout = tmp_path / "layout"
    images.write_layout(layout, [images.Variant("linux/arm64", archives, {})])
    root = readers.unpack(f"oci:{layout}:latest", tmp_path / "other", platform="linux/arm64")
    seen: dict[int, list[str]] = {0x3E: [], 0xB7: []}
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.name != "c":
            seen[path.read_bytes()[18]].append(f"/{path.relative_to(root)}")
    found = json.loads(bad("--json", f"oci-layout://{layout}"))["images"][0]
    assert seen == {0x3E: ["/srv/t"], 0xB7: ["/usr/lib/a", "/usr/lib/d"]}
    assert found["findings"][0]["files"] == seen[0x3E]
    assert found["programs"] == 3


def _member(name: str, data: bytes | str) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(name)
    info.mode = 0o755
    if isinstance(data, str):
        info.type, info.linkname, data = tarfile.SYMTYPE, data, b""
    elif name.endswith("/"):
        info.type = tarfile.DIRTYPE
    info.size = len(data)
    return info, io.BytesIO(data)


def test_layers_that_platforms_share_are_read_once(blobs: Blobs, tmp_path: Path) -> None:
    asked: list[str] = []
    root = pictures.index(blobs)
    with running_registry(tmp_path, log=asked.append) as address:
        name = put(f"{address}/shared:1", root, blobs)
        asked.clear()
        good(name)
    reads = [line.split()[1] for line in asked if line.startswith("GET") and "/blobs/" in line]
    # Two configurations; two layers that differ, and one that does not.
    assert len(reads) == len(set(reads)) == 5


def test_an_image_of_the_local_store_is_verified_there(context: Context, registry: str) -> None:
    name = f"{registry}/verify-local:1"
    context.dockerfile("FROM BASE\nCOPY a /a\n")
    context.file("a")
    context.build(*BOTH, "--load", "-t", name)
    done = viaduct("verify", name, check=False)
    assert done.returncode == 1
    assert b"hint: it is in the local store: push it, or verify it there with --local" in (
        done.stderr
    )
    # Nothing ran, so that the layers of the base image are still where it came from.
    assert good("--local", *BOTH, name).count("  ok  ") == 2


def test_programs_call_it_too(published: Published, busybox: str) -> None:
    verdict = api.verify(VerifyRequest(published.name, platforms=(AMD64, ARM64)))
    assert verdict.ok
    assert [image.platform for image in verdict.images] == ["linux/amd64", "linux/arm64"]
    assert not api.verify(VerifyRequest(busybox, platforms=(AMD64,))).ok


# Programs of another machine


def test_a_final_stage_on_the_build_platform_is_told(context: Context, registry: str) -> None:
    name = pushed(
        context, f"{registry}/verify-pinned:1", "FROM --platform=$BUILDPLATFORM BASE\nRUN true\n"
    )
    page = bad(name)
    assert f"linux/{HERE}  ok" in page
    assert f"linux/{THERE}  problem" in page
    assert f"for {HERE}, none for {THERE}, in a layer that linux/{HERE} has too" in page
    assert "take --platform=$BUILDPLATFORM (or a fixed one) out of its FROM" in page
    (problem,) = told(name)
    assert (problem["rule"], problem["platform"]) == ("wrong-machine", f"linux/{THERE}")
    assert problem["files"] == ["/bin/busybox"]


def test_a_copied_binary_is_told_with_its_line(context: Context, registry: str) -> None:
    program(context, "tool", HERE)
    name = pushed(
        context, f"{registry}/verify-copied:1", "FROM BASE\nCOPY tool /usr/local/bin/tool\n"
    )
    page = bad(name)
    assert f"  problem: 1 program for {HERE} in an image for {THERE}" in page
    assert "    made by: COPY tool /usr/local/bin/tool\n" in page
    assert "    /usr/local/bin/tool\n" in page
    (problem,) = told(name)
    assert problem["platform"] == f"linux/{THERE}"
    assert problem["machine"] == HERE
    assert problem["createdBy"].startswith("COPY tool /usr/local/bin/tool")
    assert good("--allow-foreign", "/usr/local", name).count("1 file ") == 1


def test_an_argument_with_a_default_is_told_with_its_step(context: Context, registry: str) -> None:
    for arch in (HERE, THERE):
        program(context, f"bin/{arch}", arch)
    name = pushed(
        context,
        f"{registry}/verify-default:1",
        f"FROM BASE\nARG TARGETARCH={HERE}\n"
        "RUN --mount=target=/from cp /from/bin/$TARGETARCH /usr/tool\n",
    )
    (problem,) = told(name)
    assert problem["platform"] == f"linux/{THERE}"
    assert "cp /from/bin/$TARGETARCH /usr/tool" in problem["createdBy"]
    assert "ARG TARGETARCH" in problem["hint"]
    assert problem["files"] == ["/usr/tool"]


def test_a_single_binary_from_scratch_is_told(context: Context, registry: str) -> None:
    program(context, "tool", HERE)
    name = pushed(context, f"{registry}/verify-scratch:1", "FROM scratch\nCOPY tool /tool\n")
    (problem,) = told(name)
    assert problem["text"].startswith(f"its only program is for {HERE}, none for {THERE}")
    assert "$TARGETARCH" in problem["hint"]


# Documents and blobs


def entry(blobs: Blobs, made_for: Platform, listed_as: Platform) -> Descriptor:
    found = pictures.image(blobs, made_for)
    return Descriptor(
        media_type=found.media_type,
        digest=found.digest,
        size=found.size,
        platform=PlatformSpec.of(listed_as),
    )


def index(blobs: Blobs, *entries: Descriptor) -> Descriptor:
    document = models.Index(schema_version=2, media_type=media.OCI_INDEX, manifests=entries)
    return blobs.add(models.encode(document), media.OCI_INDEX)


def test_a_configuration_for_another_platform_is_told(registry: str, blobs: Blobs) -> None:
    root = index(blobs, entry(blobs, AMD64, AMD64), entry(blobs, AMD64, ARM64))
    problems = told(put(f"{registry}/verify-config:1", root, blobs))
    assert [problem["rule"] for problem in problems] == ["same-image", "platform-mismatch"]
    assert problems[1]["text"] == "the index says linux/arm64, the configuration says linux/amd64"


def test_platforms_that_lack_or_were_not_expected_are_told(registry: str, blobs: Blobs) -> None:
    name = put(f"{registry}/verify-platforms:1", pictures.index(blobs), blobs)
    page = bad("--platform", "linux/amd64,linux/s390x", name)
    assert "problem: linux/s390x is missing; there are: linux/amd64, linux/arm64" in page
    assert "problem: linux/arm64 was not expected" in page
    assert "is not what it claims to be: 2 problems" in page


def test_a_single_manifest_where_an_index_was_expected_is_told(registry: str, blobs: Blobs) -> None:
    name = put(f"{registry}/verify-single:1", pictures.image(blobs), blobs)
    assert "note: one platform only" in good(name)
    page = bad(*BOTH, name)
    assert "problem: linux/arm64 is missing; there are: linux/amd64" in page
    assert "a --load build of one does not" in page


@pytest.mark.parametrize("part", ["manifest", "config", "layer"])
@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_what_a_registry_lost_or_damaged_is_told(
    registry: str, blobs: Blobs, part: str, how: str
) -> None:
    root = pictures.index(blobs)
    name = put(f"{registry}/verify-parts:1", root, blobs)
    arm64 = models.decode(blobs.read(root.digest), models.Index).manifests[1]
    manifest = models.decode(blobs.read(arm64.digest), models.Manifest)
    found = {"manifest": arm64, "config": manifest.config, "layer": manifest.layers[1]}[part]
    kind = "manifests" if part == "manifest" else "blobs"
    rule = (
        front.answering("GET HEAD", f"/{kind}/{found.digest}", 404)
        if how == "missing"
        else front.changing("GET", f"/{kind}/{found.digest}", lambda data: data[:-1] + b"?")
    )
    with front.running_front(registry, rule) as door:
        (problem,) = told(name.replace(registry, door.address))
    assert problem["rule"] == f"{how}-content"
    assert problem["platform"] == "linux/arm64"
    assert found.digest in problem["text"]


def test_what_a_layout_lost_or_damaged_is_told(blobs: Blobs, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    archive = tmp_path / "layer.tar"
    archive.write_bytes(bytes(10240))
    images.write_layout(layout, [images.Variant("linux/amd64", [archive], {"Cmd": ["a"]})])
    name = f"oci-layout://{layout}"
    assert "  ok  " in good(name)
    (layer,) = (path for path in (layout / "blobs/sha256").iterdir() if _is_gzip(path))
    whole = layer.read_bytes()
    layer.write_bytes(whole[:-1] + b"?")
    assert f"blob sha256:{layer.name}" in told(name)[0]["text"]
    layer.unlink()
    (problem,) = told(name)
    assert problem["text"] == f"blob sha256:{layer.name} is missing"


def _is_gzip(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x1f\x8b")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda config: config["rootfs"]["diff_ids"].reverse(), "diff-id"),
        (lambda config: config["rootfs"]["diff_ids"].pop(), "diff-id"),
        (lambda config: config.pop("os"), "damaged-content"),
    ],
)
def test_a_configuration_that_does_not_fit_is_told(
    registry: str, blobs: Blobs, change: Any, rule: str
) -> None:
    manifest = models.decode(blobs.read(pictures.image(blobs).digest), models.Manifest)
    config = json.loads(blobs.read(manifest.config.digest))
    change(config)
    document = json.loads(models.encode(manifest))
    found = blobs.add(json.dumps(config).encode(), media.OCI_CONFIG)
    document["config"] = json.loads(models.encode(found))
    root = blobs.add(json.dumps(document).encode(), media.OCI_MANIFEST)
    problems = told(put(f"{registry}/verify-fit:1", root, blobs))
    assert rule in [problem["rule"] for problem in problems]


def test_a_layer_that_is_no_archive_is_told(registry: str, blobs: Blobs) -> None:
    manifest = models.decode(blobs.read(pictures.image(blobs).digest), models.Manifest)
    junk = blobs.add(b"no archive at all" * 100, media.OCI_LAYER)
    document = json.loads(models.encode(manifest))
    document["layers"][1] = json.loads(models.encode(junk))
    root = blobs.add(json.dumps(document).encode(), media.OCI_MANIFEST)
    (problem,) = told(put(f"{registry}/verify-junk:1", root, blobs))
    assert problem["rule"] == "damaged-content"
    assert junk.digest in problem["text"]


# What cannot be verified


def test_a_name_that_leads_nowhere_is_an_error(
    registry: str, tmp_path: Path, clean_env: Path
) -> None:
    for name in (f"{registry}/verify-none:1", f"oci-layout://{tmp_path}", "127.0.0.1:1/a:1"):
        done = viaduct("verify", name, check=False)
        assert done.returncode == 1
        assert done.stdout == b""
        assert done.stderr.startswith(b"ERROR: ")
        assert b"Traceback" not in done.stderr
    # Nothing was made to look into, either.
    assert not clean_env.exists()
    done = viaduct("verify", "--local", "verify-none", check=False)
    assert done.stderr.startswith(b"ERROR: no such image: verify-none")


def test_a_registry_that_refuses_on_the_way_is_an_error(registry: str, blobs: Blobs) -> None:
    """It says nothing about the image."""
    name = put(f"{registry}/verify-refused:1", pictures.index(blobs), blobs)
    with front.running_front(registry, front.answering("GET", "/blobs/", 403)) as door:
        done = viaduct("verify", name.replace(registry, door.address), check=False)
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.startswith(b"ERROR: ")


def test_ctrl_c_ends_it(registry: str, blobs: Blobs) -> None:
    name = put(f"{registry}/verify-stopped:1", pictures.index(blobs, size=1 << 20), blobs)
    reached, go_on = threading.Event(), threading.Event()

    def hanging(exchange: front.Exchange) -> bool:
        # Several blobs are asked for side by side.
        if exchange.matches("GET", "/blobs/"):
            reached.set()
            go_on.wait(60)
        return False

    with front.running_front(registry, hanging) as door:
        argv = [*VIADUCT, "verify", name.replace(registry, door.address)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert reached.wait(60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        go_on.set()
    assert (process.returncode, out, err) == (130, b"", b"ERROR: canceled\n")
