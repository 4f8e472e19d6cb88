"""From what was found of an image to what is said about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from tests.parts.elffiles import file, library

from viaduct.engine.audit.facts import ElfFile, Facts, Fault, Image, Layer
from viaduct.engine.audit.judge import judge
from viaduct.oci import digest as digests
from viaduct.oci import media, platform
from viaduct.oci.models import (
    Descriptor,
    History,
    ImageConfig,
    Manifest,
    PlatformSpec,
    RootFS,
)

if TYPE_CHECKING:
    from viaduct.engine.audit.verdict import Verdict
    from viaduct.oci.digest import Digest


def digest(text: str) -> Digest:
    return digests.of(text.encode())


def blob(text: str, kind: str = media.OCI_LAYER_GZIP) -> Descriptor:
    return Descriptor(media_type=kind, digest=digest(text), size=1)


def image(
    name: str,
    *files: ElfFile,
    lines: tuple[str, ...] = ("base", "COPY app /app # buildkit"),
    shared: bool = False,
) -> Image:
    """A listed image for `name` in which line by line made a layer."""
    found = platform.parse(name)
    spec = PlatformSpec.of(found)
    config = ImageConfig(
        os=spec.os,
        architecture=spec.architecture,
        variant=spec.variant,
        history=(
            History(created_by="ENV a=b", empty_layer=True),
            *(History(created_by=line) for line in lines),
        ),
        rootfs=RootFS(diff_ids=tuple(digest(f"{name} {line}") for line in lines)),
    )
    of = "" if shared else name
    layers = [Layer(blob(f"layer {of} {line}"), digest(f"{name} {line}")) for line in lines]
    return Image(
        entry=replace(blob(f"manifest {name}", media.OCI_MANIFEST), platform=spec),
        listed=True,
        manifest=Manifest(
            schema_version=2,
            config=blob(f"config {name}", media.OCI_CONFIG),
            layers=tuple(layer.descriptor for layer in layers),
        ),
        config=config,
        layers=tuple(layers),
        files=files,
        audited=True,
    )


def facts(*images: Image) -> Facts:
    return Facts("app:1", blob("index", media.OCI_INDEX), images)


def judged(*images: Image, expected: str = "", allowed: tuple[str, ...] = ()) -> Verdict:
    return judge(facts(*images), platform.parse_list([expected]), allowed)


def rules(verdict: Verdict) -> list[str]:
    found = [*verdict.findings, *(each for image in verdict.images for each in image.findings)]
    return [f"{finding.level} {finding.rule}" for finding in found]


GOOD = (image("linux/amd64", file("/sh")), image("linux/arm64", file("/sh", "arm64")))


def test_a_good_image_is_what_it_claims_to_be() -> None:
    verdict = judged(*GOOD, expected="linux/arm64/v8,linux/amd64")
    assert verdict.ok
    assert rules(verdict) == []
    assert [(each.platform, each.layers, each.programs) for each in verdict.images] == [
        ("linux/amd64", 2, 1),
        ("linux/arm64", 2, 1),
    ]


def test_platforms_have_to_be_exactly_those_that_are_expected() -> None:
    verdict = judged(*GOOD, expected="linux/amd64,linux/s390x")
    assert rules(verdict) == ["problem missing-platform", "problem unexpected-platform"]
    missing, more = verdict.findings
    assert missing.text == "linux/s390x is missing; there are: linux/amd64, linux/arm64"
    assert more.text == "linux/arm64 was not expected"
    assert verdict.problems == 2
    assert not verdict.ok


def test_one_platform_is_told_with_its_cause_and_is_no_problem_unless_more_is_expected() -> None:
    alone = image("linux/amd64", file("/sh"))
    single = replace(alone, listed=False, entry=replace(alone.entry, platform=None))
    for each in (alone, single):
        assert rules(judged(each)) == ["note one-platform"]
        assert rules(judged(each, expected="linux/amd64")) == []
        verdict = judged(each, expected="linux/amd64,linux/arm64")
        assert rules(verdict) == ["problem missing-platform"]
        assert "--load" in verdict.findings[0].hint


def test_an_index_without_images_is_none() -> None:
    assert rules(judged()) == ["problem no-image"]


def test_an_entry_that_is_no_image_is_told() -> None:
    found = GOOD[1]
    assert found.manifest is not None
    config = blob("chart", "application/vnd.example.chart")
    chart = replace(found, config=None, manifest=replace(found.manifest, config=config))
    assert rules(judged(GOOD[0], chart)) == ["problem no-image"]
    verdict = judged(GOOD[0], Image(entry=replace(found.entry, media_type=""), listed=True))
    assert rules(verdict) == ["problem no-image"]


def test_layers_that_nobody_can_read_are_told() -> None:
    found = GOOD[1]
    sealed = replace(found.layers[0].descriptor, media_type="application/x-sealed")
    closed = (Layer(sealed), *found.layers[1:])
    verdict = judged(GOOD[0], replace(found, layers=closed, files=(), audited=False))
    assert rules(verdict) == ["note not-audited"]
    assert "application/x-sealed" in verdict.images[1].findings[0].text


def test_a_platform_is_listed_once() -> None:
    again = image("linux/arm64/v8", file("/sh", "arm64"), lines=("other",))
    other = replace(again, entry=replace(again.entry, digest=digest("other")))
    assert rules(judged(*GOOD, other)) == ["problem duplicate-platform"]


def test_one_image_under_two_platforms_is_a_mistake() -> None:
    amd64 = GOOD[0]
    spec = PlatformSpec(os="linux", architecture="arm64")
    verdict = judged(amd64, replace(amd64, entry=replace(amd64.entry, platform=spec)))
    assert rules(verdict)[0] == "problem same-image"
    assert "linux/amd64 and linux/arm64 are one and the same image" in verdict.findings[0].text
    assert "problem platform-mismatch" in rules(verdict)


@pytest.mark.parametrize(
    ("listed", "configured", "expected"),
    [
        ("linux/arm64", "linux/amd64", ["problem platform-mismatch"]),
        ("linux/arm/v6", "linux/arm/v7", ["problem platform-mismatch"]),
        ("linux/amd64", "windows/amd64", ["problem platform-mismatch"]),
        ("linux/arm64/v8", "linux/arm64", []),
    ],
)
def test_configuration_and_index_have_to_agree(
    listed: str, configured: str, expected: list[str]
) -> None:
    found = image(configured)
    entry = replace(found.entry, platform=PlatformSpec.of(platform.parse(listed)))
    verdict = judged(image("linux/s390x"), replace(found, entry=entry))
    assert [rule for rule in rules(verdict) if rule.startswith("problem")] == expected


def test_a_configuration_without_variant_is_worth_a_note() -> None:
    found = image("linux/arm/v6")
    assert found.config is not None
    bare = replace(found, config=replace(found.config, variant=""))
    assert rules(judged(*GOOD, bare)) == ["note no-variant"]


def test_an_entry_without_platform_serves_nobody() -> None:
    found = GOOD[1]
    assert rules(judged(GOOD[0], replace(found, entry=replace(found.entry, platform=None)))) == [
        "problem no-platform"
    ]


def test_layers_have_to_hold_what_the_configuration_says() -> None:
    found = GOOD[1]
    changed = (replace(found.layers[0], diff_id=digest("other")), *found.layers[1:])
    assert rules(judged(GOOD[0], replace(found, layers=changed))) == ["problem diff-id"]
    assert found.config is not None
    fewer = replace(found.config, rootfs=RootFS(diff_ids=found.config.rootfs.diff_ids[:1]))
    verdict = judged(GOOD[0], replace(found, config=fewer))
    assert rules(verdict) == ["problem diff-id"]
    assert "names 1 layers, the manifest 2" in verdict.images[1].findings[0].text


def test_what_is_missing_or_damaged_is_a_problem() -> None:
    faults = (Fault("missing", "blob is missing"), Fault("damaged", "x"), Fault("mismatch", "y"))
    verdict = judged(GOOD[0], replace(GOOD[1], faults=faults))
    assert rules(verdict) == [
        "problem missing-content",
        "problem damaged-content",
        "problem mismatch",
    ]
    assert verdict.images[0].ok
    assert not verdict.images[1].ok


def test_attestations_and_other_things_are_no_platforms() -> None:
    about = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": GOOD[0].entry.digest,
    }
    entry = Descriptor(
        media_type=media.OCI_MANIFEST,
        digest=digest("attestation"),
        size=1,
        annotations=about,
        platform=PlatformSpec(os="unknown", architecture="unknown"),
    )
    chart = Image(entry=blob("chart", media.OCI_MANIFEST), listed=True)
    verdict = judged(*GOOD, Image(entry=entry, listed=True), chart, expected="linux/amd64,arm64")
    assert rules(verdict) == []
    assert [(each.platform, each.attests) for each in verdict.images[2:]] == [
        ("", GOOD[0].entry.digest),
        ("", ""),
    ]
    assert rules(judged(GOOD[1], Image(entry=entry, listed=True), expected="linux/arm64")) == [
        "note stray-attestation"
    ]


# Machine code


def test_a_foreign_program_is_told_with_layer_and_line() -> None:
    files = (file("/sh", "arm64"), file("/app", layer=1), file("/app2", layer=1))
    verdict = judged(GOOD[0], image("linux/arm64", *files))
    (finding,) = verdict.images[1].findings
    assert (finding.level, finding.rule) == ("problem", "foreign-programs")
    assert finding.text == "2 programs for amd64 in an image for arm64"
    assert finding.created_by == "COPY app /app # buildkit"
    assert finding.layer == digest("layer linux/arm64 COPY app /app # buildkit")
    assert finding.files == ("/app", "/app2")
    assert "copied" in finding.hint
    assert (verdict.images[1].programs, verdict.images[1].foreign) == (3, 2)


@pytest.mark.parametrize(
    ("line", "path", "cause"),
    [
        ("COPY /out/app /app # buildkit", "/app", "$TARGETARCH, or copy"),
        ("/bin/sh -c #(nop) COPY file:1 in /app ", "/app", "$TARGETARCH, or copy"),
        ("RUN /bin/sh -c curl https://example.com # buildkit", "/app", "ARG TARGETARCH"),
        ("/bin/sh -c curl https://example.com", "/app", "ARG TARGETARCH"),
        ("RUN |1 TARGETARCH=amd64 /bin/sh -c wget x # buildkit", "/app", "ARG TARGETARCH"),
        ("# debian.sh --arch amd64", "/usr/bin/dash", "$BUILDPLATFORM"),
        ("ADD rootfs.tar / # buildkit", "/lib/libc.so.6", "$BUILDPLATFORM"),
        ("bazel build ...", "/app", "build --check"),
    ],
)
def test_the_cause_follows_from_the_line(line: str, path: str, cause: str) -> None:
    verdict = judged(GOOD[0], image("linux/arm64", file(path), lines=(line,)))
    (finding,) = verdict.images[1].findings
    assert finding.rule == "wrong-machine"
    assert finding.text == "its only program is for amd64, none for arm64"
    assert cause in finding.hint


def test_an_image_of_another_machine_altogether_is_told_in_one_sentence() -> None:
    files = (file("/bin/sh"), library("/lib/libc.so.6"), file("/app", layer=1))
    verdict = judged(
        image("linux/amd64", *files, shared=True), image("linux/arm64", *files, shared=True)
    )
    (finding,) = verdict.images[1].findings
    assert finding.text == (
        "all 3 programs are for amd64, none for arm64, in a layer that linux/amd64 has too"
    )
    assert "$BUILDPLATFORM" in finding.hint
    assert finding.created_by == "base"
    assert verdict.images[0].ok


def test_nothing_but_32_bit_programs_is_another_platform() -> None:
    verdict = judged(GOOD[0], image("linux/arm64", file("/bin/sh", "arm")))
    assert rules(verdict) == ["problem wrong-machine"]
    assert verdict.images[1].foreign == 1
    mixed = image("linux/arm64", file("/bin/sh", "arm"), file("/bin/a", "arm64"))
    assert rules(judged(GOOD[0], mixed)) == ["note compatible-programs"]


def test_a_base_of_libraries_for_another_machine_is_known_by_the_loader_it_lacks() -> None:
    """A program of the right machine on a base image that is pinned to the builder's."""
    place = "/lib/x86_64-linux-gnu"
    app = file("/app", "arm64", layer=1, loader="/lib/ld-linux-aarch64.so.1")
    found = image(
        "linux/arm64",
        library(f"{place}/ld-linux-x86-64.so.2"),
        library(f"{place}/libc.so.6"),
        replace(app, loadable=False),
    )
    problem, _note = judged(GOOD[0], found).images[1].findings
    assert (problem.level, problem.rule) == ("problem", "missing-loader")
    assert "/lib/ld-linux-aarch64.so.1 is not in the image" in problem.text
    assert "the one that is there is for amd64" in problem.text
    assert "$BUILDPLATFORM" in problem.hint


def test_a_missing_loader_alone_is_worth_a_note() -> None:
    """As of a program for another C library, which may never be started."""
    app = replace(file("/app", "arm64", loader="/lib64/ld.so"), loadable=False)
    verdict = judged(GOOD[0], image("linux/arm64", file("/sh", "arm64"), app))
    assert rules(verdict) == ["note missing-loader"]


def test_what_is_allowed_is_no_problem() -> None:
    files = (file("/sh", "arm64"), file("/opt/agent/x", layer=1))
    verdict = judged(GOOD[0], image("linux/arm64", *files), allowed=("/opt/agent",))
    assert rules(verdict) == ["note foreign-files"]
    assert verdict.images[1].findings[0].text == "1 file for amd64: allowed"


def test_programs_of_windows_are_not_looked_at() -> None:
    verdict = judged(GOOD[0], image("windows/amd64", file("/linux-tool", "arm64")))
    assert rules(verdict) == ["note not-audited"]


def test_a_history_that_does_not_fit_names_no_line() -> None:
    found = image("linux/arm64", file("/sh", "arm64"), file("/app", layer=1))
    assert found.config is not None
    short = replace(found.config, history=found.config.history[:1])
    (finding,) = judged(GOOD[0], replace(found, config=short)).images[1].findings
    assert finding.created_by == ""
    assert finding.files == ("/app",)
