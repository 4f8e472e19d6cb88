"""From what was found of an image to what there is to say about it. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from viaduct.engine.audit import cause, foreign
from viaduct.engine.audit.verdict import Checked, Finding, Verdict
from viaduct.oci import models

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from viaduct.engine.audit.facts import Facts, Fault, Image
    from viaduct.engine.audit.foreign import Sorted
    from viaduct.oci.digest import Digest
    from viaduct.oci.platform import Platform

#: What to tell someone who expected several platforms and finds one.
ONE_PLATFORM = (
    "one platform only: several make an index when they are built together, "
    "as with --platform linux/amd64,linux/arm64 --push; a --load build of one does not"
)

_ABOUT = "vnd.docker.reference.digest"
_RULES = {"missing": "missing-content", "damaged": "damaged-content", "mismatch": "mismatch"}
_AGAIN = {
    "missing": "push it again: a registry may have lost it, or an upload was interrupted",
    "damaged": "push it again from where it was built",
}


def judge(facts: Facts, expected: Sequence[Platform] = (), allowed: Sequence[str] = ()) -> Verdict:
    """Everything there is to say. Where platforms are `expected`, exactly these have to be there;
    files that a pattern in `allowed` matches may be of any machine."""
    owners: dict[Digest, set[str]] = {}
    for image in facts.images:
        if (platform := _platform(image)) is not None:
            for layer in image.layers:
                owners.setdefault(layer.descriptor.digest, set()).add(str(platform))
    checked = tuple(_checked(image, owners, allowed) for image in facts.images)
    return Verdict(facts.name, facts.root, checked, tuple(_whole(facts, expected)))


def _platform(image: Image) -> Platform | None:
    """What the index says, else the configuration; None for what is no image."""
    if models.is_attestation(image.entry):
        return None
    spec = image.entry.platform
    if spec is not None and spec.os and spec.architecture:
        return spec.value()
    return image.config.platform() if image.config is not None else None


# --- about all of it -----------------------------------------------------------------------------


def _whole(facts: Facts, expected: Sequence[Platform]) -> Iterator[Finding]:
    yield from (_faulty(fault) for fault in facts.faults)
    found = [each for image in facts.images if (each := _platform(image)) is not None]
    names = {_name(platform) for platform in found}
    wanted = {_name(platform) for platform in expected}
    there = ", ".join(dict.fromkeys(str(platform) for platform in found)) or "none"
    for platform in expected:
        if _name(platform) not in names:
            hint = ONE_PLATFORM if len(names) == 1 else f"build it with --platform {platform} too"
            text = f"{platform} is missing; there are: {there}"
            yield Finding("problem", "missing-platform", text, hint)
    for platform in dict.fromkeys(found):
        if wanted and _name(platform) not in wanted:
            text = f"{platform} was not expected"
            hint = "leave --platform out to take whatever there is"
            yield Finding("problem", "unexpected-platform", text, hint)
    for name, count in Counter(platform.full for platform in found).items():
        if count > 1:
            text = f"{name} is listed {count} times; clients take one of them"
            hint = "make the index again, with one image for each platform"
            yield Finding("problem", "duplicate-platform", text, hint)
    yield from _same(facts)
    yield from _stray(facts)
    if not found:
        yield Finding("problem", "no-image", "there is no image in it")
    elif len(names) == 1 and not expected:
        yield Finding("note", "one-platform", ONE_PLATFORM)


def _same(facts: Facts) -> Iterator[Finding]:
    """Platforms whose entries are one and the same image."""
    places: dict[Digest, list[str]] = {}
    for image in facts.images:
        if (platform := _platform(image)) is not None:
            places.setdefault(image.entry.digest, []).append(str(platform))
    for digest, names in places.items():
        if len(set(names)) > 1:
            text = f"{' and '.join(names)} are one and the same image, {digest}"
            hint = "an image is made for one platform: build it for each of them"
            yield Finding("problem", "same-image", text, hint)


def _stray(facts: Facts) -> Iterator[Finding]:
    """Attestations of images that the index does not have."""
    listed = {image.entry.digest for image in facts.images}
    for image in facts.images:
        about = image.entry.annotations.get(_ABOUT)
        if about and about not in listed:
            text = f"the attestation {image.entry.digest} is about {about}, which is not listed"
            yield Finding("note", "stray-attestation", text)


def _name(platform: Platform) -> tuple[str, str, str]:
    return platform.os, platform.architecture, platform.variant


# --- about one image -----------------------------------------------------------------------------


def _checked(image: Image, owners: dict[Digest, set[str]], allowed: Sequence[str]) -> Checked:
    platform = _platform(image)
    findings = [_faulty(fault) for fault in image.faults]
    about = image.entry.annotations.get(_ABOUT, "")
    if platform is None:
        layers = len(image.layers)
        return Checked("", image.entry.digest, layers, 0, 0, tuple(findings), about)
    findings += _nature(image)
    findings += _agreement(image)
    findings += _diff_ids(image)
    programs = strangers = 0
    if image.audited and platform.os == "windows":
        text = "programs of Windows are not looked at"
        findings.append(Finding("note", "not-audited", text))
    elif image.audited:
        found = foreign.sort(image.files, platform.architecture, allowed)
        programs = len(found.own) + len(found.companions) + len(found.foreign)
        strangers = len(cause.out_of_place(found))
        findings += cause.machine_code(image, platform, found, owners)
        findings += _notes(found)
    return Checked(
        str(platform),
        image.entry.digest,
        len(image.layers),
        programs,
        strangers,
        tuple(sorted(findings, key=lambda finding: finding.level == "note")),
    )


def _nature(image: Image) -> Iterator[Finding]:
    """Whether there is an image behind an entry that has a platform, and one to look into."""
    if image.faults:
        return
    if image.config is None:
        kind = image.manifest.config.media_type if image.manifest else image.entry.media_type
        text = f"it is listed for a platform and is no image, but {kind or 'of no type'}"
        yield Finding("problem", "no-image", text, "list images only under a platform")
    elif not image.audited:
        kinds = sorted({each.descriptor.media_type for each in image.layers if not each.diff_id})
        text = f"programs are not looked at, for layers of {', '.join(kinds)}"
        yield Finding("note", "not-audited", text)


def _faulty(fault: Fault) -> Finding:
    return Finding("problem", _RULES[fault.kind], fault.text, _AGAIN.get(fault.kind, ""))


def _agreement(image: Image) -> Iterator[Finding]:
    """Whether the configuration says the same as the index."""
    config, spec = image.config, image.entry.platform
    if config is None or not image.listed:
        return
    if spec is None or not spec.os or not spec.architecture:
        text = "the index does not say for which platform it is, so that no client takes it"
        hint = f"make the index again; the configuration says {config.platform()}"
        yield Finding("problem", "no-platform", text, hint)
        return
    told, entry = config.platform(), spec.value()
    if (told.os, told.architecture) != (entry.os, entry.architecture) or (
        config.variant and told.variant != entry.variant
    ):
        text = f"the index says {entry}, the configuration says {told}"
        hint = "the image was built for another platform than it is listed under: build it again"
        yield Finding("problem", "platform-mismatch", text, hint)
    elif told.variant != entry.variant:
        text = f"the index says {entry}, the configuration names no variant"
        yield Finding("note", "no-variant", text)


def _diff_ids(image: Image) -> Iterator[Finding]:
    """Whether the layers hold what the configuration says."""
    if image.config is None:
        return
    hint = "the image is damaged where it was made: build it again"
    told = image.config.rootfs.diff_ids
    if len(told) != len(image.layers):
        text = f"the configuration names {len(told)} layers, the manifest {len(image.layers)}"
        yield Finding("problem", "diff-id", text, hint)
        return
    for layer, diff_id in zip(image.layers, told, strict=True):
        if layer.diff_id not in (None, diff_id):
            text = f"layer {layer.descriptor.digest} holds {layer.diff_id} instead of {diff_id}"
            yield Finding("problem", "diff-id", text, hint)


def _notes(found: Sorted) -> Iterator[Finding]:
    if found.companions and found.own:
        machines = sorted({file.program.machine for file in found.companions})
        count = len(found.companions)
        text = f"{cause.programs(count)} for {', '.join(machines)}, which {found.arch} runs as well"
        yield Finding(
            "note",
            "compatible-programs",
            text,
            machine=machines[0],
            files=tuple(file.path for file in found.companions),
        )
    for why, files in found.excused.items():
        kinds = sorted({file.program.machine for file in files} - {""})
        of = f" for {', '.join(kinds)}" if kinds else ""
        text = f"{len(files)} file{'s'[: len(files) != 1]}{of}: {why}"
        paths = tuple(file.path for file in files)
        yield Finding("note", "foreign-files", text, machine="".join(kinds[:1]), files=paths)
