"""What `viaduct verify` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from viaduct.cli.out import colored
from viaduct.cli.terminal import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viaduct.engine.audit.verdict import Checked, Finding, Verdict

_COLORS = {"ok": "green", "note": "yellow", "problem": "red"}
#: So many files are listed, and so much of a line of the history; `--json` has all.
_FILES = {"problem": 5, "note": 2}
_LINE = 160


def text(verdict: Verdict, *, colors: bool = False) -> str:
    """A line for each image, what was found below it, and a line for all of it."""
    return "".join(f"{line}\n" for line in _lines(verdict, colors=colors))


def document(verdict: Verdict) -> str:
    """The same as JSON, with everything in it."""
    import json

    found = {
        "name": verdict.name,
        "mediaType": verdict.root.media_type,
        "digest": verdict.root.digest,
        "ok": verdict.ok,
        "problems": verdict.problems,
        "images": [_image(image) for image in verdict.images],
        "findings": [_finding(finding) for finding in verdict.findings],
    }
    return json.dumps(found, indent=2)


def _lines(verdict: Verdict, *, colors: bool) -> Iterator[str]:
    names = {image.digest: image.platform for image in verdict.images}
    titles = [_title(image, names) for image in verdict.images]
    width = max(map(len, titles), default=0)
    for title, image in zip(titles, verdict.images, strict=True):
        word = _word("ok" if image.ok else "problem", colors=colors)
        yield f"{visible(title):<{width}}  {word}  {_counts(image)}"
        for finding in image.findings:
            yield from (f"  {line}" for line in _told(finding, colors=colors))
    for finding in verdict.findings:
        yield from _told(finding, colors=colors)
    name = visible(f"{verdict.name} ({verdict.root.digest})")
    if verdict.ok:
        yield f"{name} is what it claims to be"
    else:
        count = verdict.problems
        yield f"{name} is not what it claims to be: {count} problem{'s'[: count != 1]}"


def _title(image: Checked, names: dict[str, str]) -> str:
    if image.platform:
        return image.platform
    about = names.get(image.attests, "") or image.attests[:19]
    return f"attestation of {about}" if about else f"other {image.digest[:19]}"


def _counts(image: Checked) -> str:
    told = f"{image.layers} layer{'s'[: image.layers != 1]}"
    if image.platform:
        told += f", {image.programs} program{'s'[: image.programs != 1]}"
    return told + (f", {image.foreign} of another machine" if image.foreign else "")


def _told(finding: Finding, *, colors: bool) -> Iterator[str]:
    yield f"{_word(finding.level, colors=colors, wide=False)}: {visible(finding.text)}"
    if finding.created_by:
        from viaduct.engine.audit.cause import shown_line

        line = visible(shown_line(finding.created_by))
        yield f"  made by: {line if len(line) <= _LINE else line[: _LINE - 1] + '…'}"
    if finding.layer:
        yield f"  layer:   {finding.layer}"
    for path in finding.files[: _FILES[finding.level]]:
        yield f"  {visible(path)}"
    if (more := len(finding.files) - _FILES[finding.level]) > 0:
        yield f"  … and {more} more, which --json lists"
    if finding.hint:
        yield f"  hint: {visible(finding.hint)}"


def _word(level: str, *, colors: bool, wide: bool = True) -> str:
    word = f"{level:<7}" if wide else level
    return colored(word, _COLORS[level]) if colors else word


def _image(image: Checked) -> dict[str, Any]:
    return {
        "platform": image.platform,
        "digest": image.digest,
        **({"attests": image.attests} if image.attests else {}),
        "ok": image.ok,
        "layers": image.layers,
        "programs": image.programs,
        "foreign": image.foreign,
        "findings": [_finding(finding) for finding in image.findings],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    rows = {
        "level": finding.level,
        "rule": finding.rule,
        "text": finding.text,
        "hint": finding.hint,
        "machine": finding.machine,
        "layer": finding.layer,
        "createdBy": finding.created_by,
        "files": list(finding.files),
    }
    return {key: value for key, value in rows.items() if value}
