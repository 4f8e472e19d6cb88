"""Two-platform builds from Dockerfile to pushed image, and what the solver does and leaves out."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from typing import TYPE_CHECKING

from tests.parts import front, readers
from tests.parts.contexts import BOTH
from tests.parts.site import meeting, serving

from viaduct import api

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parts.contexts import Context

_PRINT_PLATFORM = """
FROM BASE
ARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT BUILDPLATFORM BUILDOS BUILDARCH BUILDVARIANT
RUN echo "target=$TARGETPLATFORM/$TARGETOS/$TARGETARCH/$TARGETVARIANT." && \
    echo "build=$BUILDPLATFORM/$BUILDOS/$BUILDARCH/$BUILDVARIANT." && uname -m > /machine
"""


def test_both_platforms_arrive_as_one_index_of_different_images(
    context: Context, registry: str, tmp_path: Path
) -> None:
    """S-03, S-05, S-26."""
    context.dockerfile("FROM BASE\nRUN uname -m > /machine\nCOPY note /note\nCMD cat /machine\n")
    context.file("note", "same for everybody")
    reference = f"docker://{registry}/both:1"
    context.build(*BOTH, "-t", f"{registry}/both:1", "--push")
    index = readers.document(reference)
    assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert readers.platforms(reference) == ["linux/amd64", "linux/arm64"]
    assert len({entry["digest"] for entry in index["manifests"]}) == 2
    for platform, machine in (("linux/amd64", "x86_64"), ("linux/arm64", "aarch64")):
        config = readers.config(reference, platform)
        assert f"{config['os']}/{config['architecture']}" == platform
        rootfs = readers.unpack(reference, tmp_path / machine, platform=platform)
        assert (rootfs / "machine").read_text() == f"{machine}\n"
        assert (rootfs / "note").read_text() == "same for everybody"


def test_platform_arguments_have_their_values_in_each_leg(context: Context) -> None:
    """S-16, S-17, S-18, S-19."""
    context.dockerfile(_PRINT_PLATFORM)
    log = context.build(*BOTH).log
    here = "build=linux/amd64/linux/amd64/."
    assert log.step("[linux/amd64 2/2] RUN").output == ["target=linux/amd64/linux/amd64/.", here]
    assert log.step("[linux/arm64 2/2] RUN").output == ["target=linux/arm64/linux/arm64/.", here]


def test_undeclared_platform_arguments_are_empty_in_run_and_usable_in_from(
    context: Context,
) -> None:
    """S-20."""
    context.dockerfile(
        "FROM BASE AS for-amd64\nRUN echo chose amd64\n"
        "FROM BASE AS for-arm64\nRUN echo chose arm64\n"
        'FROM for-$TARGETARCH\nRUN echo "arch=[$TARGETARCH]"\n'
    )
    log = context.build(*BOTH).log
    for arch in ("amd64", "arm64"):
        assert log.step(f"[linux/{arch} for-{arch} 2/2]").output == [f"chose {arch}"]
        assert log.step(f"[linux/{arch} stage-2 1/1]").output == ["arch=[]"]


def test_download_by_target_architecture_gives_each_image_its_own_file(
    context: Context, registry: str, tmp_path: Path
) -> None:
    """S-21: the classic pattern, with continuation lines, `;;` and `&&`."""
    for machine in ("x86_64", "aarch64"):
        (tmp_path / "site").mkdir(exist_ok=True)
        (tmp_path / "site" / f"tool-linux-{machine}").write_text(f"tool for {machine}")
    with serving(tmp_path / "site") as address:
        context.dockerfile(
            "FROM BASE\n"
            "ARG TARGETARCH\n"
            'RUN case "$TARGETARCH" in \\\n'
            '      amd64) machine="x86_64" ;; \\\n'
            '      arm64) machine="aarch64" ;; \\\n'
            '      *) echo "unsupported: $TARGETARCH" >&2; exit 1 ;; \\\n'
            "    esac && \\\n"
            f"    wget -q -O /usr/local/bin/tool http://{address}/tool-linux-$machine && \\\n"
            "    chmod +x /usr/local/bin/tool\n"
        )
        context.file("unused")
        context.build(*BOTH, "-t", f"{registry}/download:1", "--push")
    for arch, machine in (("amd64", "x86_64"), ("arm64", "aarch64")):
        rootfs = readers.unpack(
            f"docker://{registry}/download:1", tmp_path / arch, platform=f"linux/{arch}"
        )
        tool = rootfs / "usr/local/bin/tool"
        assert tool.read_text() == f"tool for {machine}"
        assert tool.stat().st_mode & 0o111 == 0o111


def test_default_of_targetarch_pins_every_leg_and_is_warned_of(context: Context) -> None:
    """S-22."""
    context.dockerfile("FROM BASE\nARG TARGETARCH=amd64\nRUN echo arch=$TARGETARCH\n")
    built = context.build(*BOTH)
    # The leg for arm64 believes that it builds for amd64, and its name says so.
    for leg in ("linux/amd64", "linux/arm64->amd64"):
        assert built.log.step(f"[{leg} 2/2] RUN").output == ["arch=amd64"]
    (line,) = [line for line in built.stderr.splitlines() if "TARGETARCH" in line and " - " in line]
    assert "(line 2)" in line


def test_build_arg_overrides_targetarch_but_not_the_image(context: Context, registry: str) -> None:
    """S-23."""
    context.dockerfile("FROM BASE\nARG TARGETARCH\nRUN echo arch=$TARGETARCH\n")
    name = f"{registry}/override:1"
    log = context.build(*BOTH, "--build-arg", "TARGETARCH=sparc", "-t", name, "--push").log
    for arch in ("amd64", "arm64"):
        assert log.step(f"[linux/{arch}->sparc 2/2] RUN").output == ["arch=sparc"]
    assert readers.platforms(f"docker://{name}") == ["linux/amd64", "linux/arm64"]
    assert readers.config(f"docker://{name}", "linux/arm64")["architecture"] == "arm64"


def test_without_platform_the_image_is_a_plain_manifest_of_this_machine(
    context: Context, registry: str
) -> None:
    """S-06."""
    context.dockerfile("FROM BASE\nRUN echo hello > /greeting\n")
    log = context.build("-t", f"{registry}/single:1", "--push").log
    assert "[2/2] RUN echo hello > /greeting" in log.names
    manifest = readers.document(f"docker://{registry}/single:1")
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert readers.config(f"docker://{registry}/single:1")["architecture"] == "amd64"


def test_without_platform_the_image_is_for_the_platform_of_its_last_stage(
    context: Context, registry: str
) -> None:
    context.dockerfile("FROM --platform=linux/arm64 BASE\nCOPY Dockerfile /\n")
    for options, architecture in (((), "arm64"), (("--platform", "linux/amd64"), "amd64")):
        context.build(*options, "-t", f"{registry}/fixed:1", "--push")
        assert readers.config(f"docker://{registry}/fixed:1")["architecture"] == architecture


def test_platforms_may_be_listed_repeated_and_spelled_like_machines(
    context: Context, registry: str
) -> None:
    """S-09."""
    context.dockerfile("FROM BASE\nRUN true\n")
    digests = set()
    for number, options in enumerate(
        (
            ["--platform", "linux/amd64,linux/arm64"],
            ["--platform", "linux/x86_64", "--platform", "linux/aarch64"],
            ["--platform", "linux/amd64/v1,linux/arm64/v8"],
        )
    ):
        name = f"{registry}/spelled:{number}"
        context.build(*options, "-t", name, "--push", env=None)
        assert readers.platforms(f"docker://{name}") == ["linux/amd64", "linux/arm64"]
        digests.add(readers.raw(f"docker://{name}"))
    assert len(digests) == 1, "an unchanged rebuild is the same image"


def test_step_names_say_platform_stage_and_position(context: Context) -> None:
    context.dockerfile(
        "FROM --platform=$BUILDPLATFORM BASE AS tools\nARG TARGETARCH\n"
        "RUN echo for $TARGETARCH > /made\n"
        "FROM BASE\nWORKDIR /srv\nENV X=y\nCOPY --from=tools /made .\nRUN cat made\n"
    )
    names = context.build(*BOTH).log.names
    assert "[internal] load build definition from Dockerfile" in names
    assert "[internal] load .dockerignore" in names
    assert any(name.startswith("[internal] load metadata for ") for name in names)
    assert "[linux/amd64->arm64 tools 2/2] RUN echo for arm64 > /made" in names
    assert "[linux/amd64 tools 2/2] RUN echo for amd64 > /made" in names
    for arch in ("amd64", "arm64"):
        assert f"[linux/{arch} stage-1 2/4] WORKDIR /srv" in names
        assert f"[linux/{arch} stage-1 3/4] COPY --from=tools /made ." in names
        assert f"[linux/{arch} stage-1 4/4] RUN cat made" in names


def test_digest_of_a_from_line_can_be_pinned_for_every_platform(context: Context) -> None:
    context.dockerfile("FROM BASE\nRUN true\n")
    names = [name for name in context.build(*BOTH).log.names if " FROM " in name]
    (shown,) = {name.partition(" FROM ")[2] for name in names}
    assert shown.startswith(f"{context.base}@sha256:")
    context.dockerfile(f"FROM {shown}\nRUN uname -m\n")
    log = context.build(*BOTH).log
    assert log.step("[linux/arm64 2/2]").output == ["aarch64"]


def test_emulated_steps_are_marked_and_native_ones_are_not(context: Context) -> None:
    """S-48, S-52."""
    context.dockerfile("FROM BASE\nRUN tr '\\0' ' ' < /proc/self/cmdline\n")
    log = context.build(*BOTH).log
    assert "emulated (linux/arm64)" in log.step("[linux/arm64 2/2]").lines
    assert not [line for line in log.step("[linux/amd64 2/2]").lines if "emulated" in line]


def test_platforms_run_side_by_side(context: Context) -> None:
    """S-11, S-46, S-48: no step is answered before both have asked."""
    with meeting(2) as url:
        context.dockerfile(f"FROM BASE\nRUN wget -q -O /dev/null {url}\n")
        assert context.build(*BOTH).log.outcomes("RUN wget") == {"DONE"}


def test_independent_stages_run_side_by_side(context: Context) -> None:
    """S-11."""
    with meeting(2) as url:
        context.dockerfile(
            f"FROM BASE AS one\nRUN wget -q -O /one {url}\n"
            f"FROM BASE AS two\nRUN wget -q -O /two {url}\n"
            "FROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n"
        )
        assert context.build().log.outcomes("RUN wget") == {"DONE"}


def test_layers_of_a_base_come_in_side_by_side(context: Context, registry: str) -> None:
    """A registry that answers no layer before it was asked for two."""
    base = f"{registry}/two-layers:1"
    context.dockerfile("FROM BASE\nRUN echo one > /one\n")
    context.build("-t", base, "--push")
    both = threading.Barrier(2, timeout=30)
    config = readers.document(f"docker://{base}")["config"]["digest"]

    def wait_for_two(exchange: front.Exchange) -> bool:
        if exchange.matches("GET", "/blobs/") and not exchange.matches("GET", config):
            both.wait()
        return False

    with front.running_front(registry, wait_for_two) as proxy:
        context.dockerfile(f"FROM {proxy.address}/two-layers:1\nRUN cat /one\n")
        fresh = {**os.environ, "VIADUCT_HOME": str(context.root.parent / "fresh")}
        assert context.build(env=fresh).log.step("RUN cat").output == ["one"]


def test_bases_are_asked_for_side_by_side(context: Context, registry: str) -> None:
    """A registry that tells of no image before it was asked for both."""
    both = threading.Barrier(2, timeout=30)
    text = "FROM BASE\nRUN echo {0} > /{0}\n"
    for name in ("one", "two"):
        context.dockerfile(text.format(name))
        context.build("-t", f"{registry}/base-{name}:1", "--push")

    def wait_for_two(exchange: front.Exchange) -> bool:
        if exchange.matches("HEAD", "/manifests/1"):
            both.wait()
        return False

    with front.running_front(registry, wait_for_two) as proxy:
        context.dockerfile(
            f"FROM {proxy.address}/base-one:1 AS one\n"
            f"FROM {proxy.address}/base-two:1\nCOPY --from=one /one /\nRUN cat /one /two\n"
        )
        assert context.build().log.step("RUN cat").output == ["one", "two"]


def test_a_base_that_is_missing_is_asked_for_once(context: Context, registry: str) -> None:
    """However many platforms and stages want it; the place that is shown is the first."""
    with front.running_front(registry) as proxy:
        missing = f"{proxy.address}/no-such-base:1"
        context.dockerfile(f"FROM {missing} AS one\nFROM {missing}\nCOPY --from=one / /\n")
        built = context.build(*BOTH, check=False)
        assert len(proxy.asked("HEAD", "/no-such-base/manifests/1")) == 1
    assert built.status == 1
    assert len([step for step in built.log.steps if "load metadata" in step.name]) == 1
    assert f">>> FROM {missing} AS one" in built.stderr


def test_equal_work_of_two_platforms_is_done_once(context: Context) -> None:
    context.dockerfile(
        "FROM --platform=$BUILDPLATFORM BASE AS shared\n"
        "RUN echo ran && cat /proc/sys/kernel/random/uuid > /id\n"
        "FROM BASE\nCOPY --from=shared /id /id\nRUN cat /id\n"
    )
    log = context.build(*BOTH).log
    said = [log.step(f"[linux/{arch} stage-1 3/3]").output for arch in ("amd64", "arm64")]
    assert said[0] == said[1]
    assert [step.output for step in log.steps if "shared 2/2" in step.name] == [["ran"]]


def test_unchanged_rebuild_is_cached_for_every_platform(context: Context, registry: str) -> None:
    """S-11."""
    context.dockerfile("FROM BASE\nWORKDIR /w\nCOPY a b ./\nRUN cat a b > c\n")
    context.file("a", "1")
    context.file("b", "2")
    name = f"{registry}/cached:1"
    first = context.build(*BOTH, "-t", name, "--push").log
    assert first.outcomes("RUN") == {"DONE"}
    before = readers.raw(f"docker://{name}")
    # Neither times nor the order in which files were made count.
    for path in (context.root / "a", context.root / "b"):
        path.touch()
    second = context.build(*BOTH, "-t", name, "--push").log
    assert second.outcomes("linux/") == {"CACHED"}
    assert readers.raw(f"docker://{name}") == before
    context.file("b", "3")
    third = context.build(*BOTH).log
    assert third.outcomes("WORKDIR") == {"CACHED"}
    assert third.outcomes("COPY") == {"DONE"}
    assert third.outcomes("RUN") == {"DONE"}


def test_only_what_the_target_needs_is_built(context: Context) -> None:
    """S-20 of the language: unreachable stages are not even resolved."""
    context.dockerfile(
        "FROM BASE AS base\nRUN echo base\n"
        "FROM localhost:1/nobody/there AS unused\nRUN false\n"
        "FROM base AS wanted\nRUN echo wanted\n"
        "FROM base AS later\nRUN false\n"
    )
    names = context.build("--target", "wanted").log.names
    assert [name for name in names if "RUN" in name] == [
        "[base 2/2] RUN echo base",
        "[wanted 1/1] RUN echo wanted",
    ]


def test_no_cache_runs_everything_again(context: Context) -> None:
    context.dockerfile("FROM BASE AS one\nRUN echo one\nFROM one AS two\nRUN echo two\n")
    context.build()
    again = context.build("--no-cache").log
    assert again.outcomes("RUN") == {"DONE"}
    assert again.step("RUN echo one").output == ["one"]
    filtered = context.build("--no-cache-filter", "TWO").log
    assert filtered.step("RUN echo one").outcome == "CACHED"
    assert filtered.step("RUN echo two").outcome == "DONE"
    assert context.build().log.outcomes("RUN") == {"CACHED"}


def test_a_moved_base_tag_is_noticed_and_pull_asks_the_registry(
    context: Context, registry: str
) -> None:
    base = f"{registry}/moving:1"
    maker = context.dockerfile("FROM BASE\nARG V\nRUN echo $V > /version\n", name="base.Dockerfile")
    user = context.dockerfile(f"FROM {base}\nRUN cat /version\n", name="user.Dockerfile")
    for version in ("first", "second"):
        # `--load` gives our own store an image of that name too.
        context.build("-f", str(maker), "--build-arg", f"V={version}", "-t", base, "--push")
        log = context.build("-f", str(user), "--pull").log
        assert log.step("RUN cat").output == [version]


def test_labels_of_the_command_line_come_last(context: Context, registry: str) -> None:
    context.dockerfile("FROM BASE\nLABEL a=file b=file\n")
    name = f"{registry}/labels:1"
    context.build(*BOTH, "--label", "a=option", "--label", "c=", "-t", name, "--push")
    for platform in ("linux/amd64", "linux/arm64"):
        config = readers.config(f"docker://{name}", platform)
        assert config["config"]["Labels"] == {"a": "option", "b": "file", "c": ""}


def test_several_tags_and_repositories_get_the_same_index(context: Context, registry: str) -> None:
    context.dockerfile("FROM BASE\nRUN true\n")
    names = [f"{registry}/many/one:1", f"{registry}/many/one:latest", f"{registry}/many/two:x"]
    log = context.build(*BOTH, *[word for name in names for word in ("-t", name)], "--push").log
    assert len({readers.raw(f"docker://{name}") for name in names}) == 1
    for name in names:
        assert f"pushing manifest for {name}" in log.text


def test_tag_stays_when_one_leg_fails(context: Context, registry: str) -> None:
    """S-49."""
    name = f"{registry}/atomic:1"
    context.dockerfile("FROM BASE\nRUN echo good\n")
    context.build(*BOTH, "-t", name, "--push")
    before = readers.raw(f"docker://{name}")
    context.dockerfile("FROM BASE\nARG TARGETARCH\nRUN [ $TARGETARCH = amd64 ]\n")
    failed = context.build(*BOTH, "-t", name, "--push", check=False)
    assert failed.status == 1
    assert readers.raw(f"docker://{name}") == before


def test_push_leaves_no_image_in_the_local_store(context: Context, registry: str) -> None:
    """S-12, S-50."""
    context.dockerfile("FROM BASE\nRUN echo pushed\n")
    context.build(*BOTH, "-t", f"{registry}/pushed:1", "--push")
    assert api.stored_images() == ()
    context.build("--platform", "linux/arm64", "--load", "-t", "myimage:test")
    (stored,) = api.stored_images()
    assert stored.name.endswith("myimage:test")


def test_push_without_a_tag_and_docker_lists_are_refused_before_any_step(context: Context) -> None:
    """S-25, S-29."""
    context.dockerfile("FROM BASE\nRUN echo never\n")
    nameless = context.build(*BOTH, "--push", check=False)
    assert nameless.status == 1
    assert "tag is needed when pushing to registry" in nameless.stderr
    listed = context.build(*BOTH, "-o", "type=docker", "-t", "x", check=False)
    assert listed.status == 1
    assert "docker exporter does not currently support exporting manifest lists" in listed.stderr
    assert "--push" in listed.stderr
    assert "RUN" not in nameless.stderr + listed.stderr


def test_metadata_and_image_id_files_agree_with_the_registry(
    context: Context, registry: str, tmp_path: Path
) -> None:
    context.dockerfile("FROM BASE\nRUN true\n")
    name = f"{registry}/metadata:1"
    files = ["--metadata-file", str(tmp_path / "meta.json"), "--iidfile", str(tmp_path / "iid")]
    context.build(*BOTH, *files, "-t", name, "--push")
    meta = json.loads((tmp_path / "meta.json").read_text())
    digest = "sha256:" + hashlib.sha256(readers.raw(f"docker://{name}")).hexdigest()
    assert meta["containerimage.digest"] == digest == (tmp_path / "iid").read_text()
    assert meta["image.name"] == name
