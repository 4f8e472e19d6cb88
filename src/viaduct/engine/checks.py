"""Build checks with the facts that only a build knows."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from viaduct.base.errors import DockerfileError, ViaductError
from viaduct.base.spans import Source
from viaduct.dockerfile.ignore import Matcher, hides_source
from viaduct.dockerfile.lint.context import BaseFacts, Binary, LintContext, SourceFacts
from viaduct.dockerfile.lint.run import Report, check
from viaduct.dockerfile.lint.table import RULES
from viaduct.dockerfile.parse import parse
from viaduct.engine.inputs import CONTEXT
from viaduct.graph.ops import Copy
from viaduct.oci import elf, models, platform, reference
from viaduct.ops.select import Tree, matches, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from viaduct.dockerfile.options import Lowered, StageBase
    from viaduct.dockerfile.syntax import Document
    from viaduct.engine.inputs import Inputs
    from viaduct.engine.request import BuildRequest
    from viaduct.engine.shop import Shop

#: How what goes wrong in the second reading of a file begins.
_SECOND_READING = "dockerfile parse error"
#: Checks that are made while a file is read, and those that are made step by step in a build.
_WHILE_READING = frozenset(
    "StageNameCasing FromAsCasing MaintainerDeprecated InvalidDefinitionDescription".split()
)
_STEP_BY_STEP = frozenset(
    "JSONArgsRecommended WorkdirRelativePath UndefinedVar MultipleInstructionsDisallowed "
    "LegacyKeyValueFormat SecretsUsedInArgOrEnv CopyIgnoredFile ExposeProtoCasing "
    "ExposeInvalidFormat".split()
)
# Looking into files is for advice only; a context of a hundred thousand files must not pay for it.
_MOST_FILES = 2000


def findings(
    shop: Shop,
    request: BuildRequest,
    inputs: Inputs,
    document: Document,
    leg: Lowered | None,
    *,
    failure: ViaductError | None = None,
) -> Report:
    """All checks over the Dockerfile, once, with the facts of one platform's `leg`.

    A build looks at the stages that it needs, `--check` at every stage unless a target is named.
    With the `failure` of lowering, checks of single steps end where it happened. Raises
    `DockerfileError` for check options that make no sense.
    """
    root = inputs.locals.get(CONTEXT)
    matcher = Matcher(inputs.excludes)
    bases = leg.bases if leg is not None else ()
    report = check(
        document,
        LintContext(
            target=request.target,
            all_stages=request.call == "check" and not request.target,
            build_args=request.build_args,
            platform=request.platforms[0] if request.platforms else platform.native(),
            build_platform=platform.native(),
            bases=_bases(shop, bases),
            sources=_sources(bases),
            ignored=(lambda source: hides_source(matcher, source)) if inputs.excludes else None,
            binaries=(lambda sources: _binaries(root, matcher, sources)) if root else None,
        ),
    )
    return report if failure is None else _until(report, failure)


def before(source: Source, error: ViaductError) -> Report:
    """What can be said of the part of a Dockerfile in front of what cannot be read.

    The peers read a file twice; what fails the first time leaves nothing to be said.
    """
    if error.where is None or not error.what.startswith(_SECOND_READING):
        return Report(())
    lines = source.text.split("\n")[: error.where.start - 1]
    try:
        document = parse(Source(source.name, "".join(f"{line}\n" for line in lines)))
    except DockerfileError:
        return Report(())
    rules = [rule for rule in RULES if rule.name in _WHILE_READING]
    report = check(document, LintContext(), rules)
    found = (
        msgspec.structs.replace(one, where=replace(one.where, source=source))
        for one in report.findings
    )
    return Report(tuple(found), report.fails)


def _until(report: Report, failure: ViaductError) -> Report:
    last = 0
    if isinstance(failure, DockerfileError) and failure.where is not None:
        last = failure.where.start
    return Report(
        tuple(
            finding
            for finding in report.findings
            if finding.where.start < last or finding.rule.name not in _STEP_BY_STEP
        ),
        report.fails,
    )


def _bases(shop: Shop, bases: Sequence[StageBase]) -> Mapping[int, BaseFacts]:
    return {
        base.index: BaseFacts(
            environment=dict(_pair(text) for text in base.config.config.env),
            has_shell=base.config.config.shell is not None,
            platform=base.config.platform(),
            wanted=base.wanted,
            is_single_manifest=_is_single(shop, base),
            triggers=base.triggers,
        )
        for base in bases
        if base.config is not None and base.index >= 0
    }


def _sources(bases: Sequence[StageBase]) -> tuple[SourceFacts, ...]:
    return tuple(
        SourceFacts(base.line, base.reference, base.config.platform(), base.wanted)
        for base in bases
        if base.config is not None and base.index < 0
    )


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _is_single(shop: Shop, base: StageBase) -> bool:
    """Whether the digest that the Dockerfile names is one platform's manifest."""
    if "@" not in base.reference or "://" in base.reference:
        return False
    name = str(reference.parse(base.reference).with_default_tag())
    return not models.is_index(shop.bases.resolve(name, base.wanted).root)


def _binaries(root: Path, matcher: Matcher, sources: tuple[str, ...]) -> tuple[Binary, ...]:
    """The ELF programs and libraries that these sources select from the context."""
    tree = Tree(os.fsencode(root), matcher, local=True)
    out: list[Binary] = []
    for path in itertools.islice(_selected(tree, sources), _MOST_FILES):
        if path is None:
            continue
        with contextlib.suppress(OSError), open(path, "rb", buffering=0) as file:
            if machine := elf.architecture(file.read(elf.HEADER_SIZE)):
                name = os.fsdecode(path[len(tree.root) :].lstrip(b"/"))
                out.append(Binary(name, machine))
    return tuple(out)


def _selected(tree: Tree, sources: tuple[str, ...]) -> Iterator[bytes | None]:
    """The files of the sources: the path of one that may be a program, None for any other.

    What is not there or cannot be read is for the step that copies it to tell.
    """
    for source in sources:
        copy = Copy(input=0, source=f"/{source.lstrip('/')}", dest="/")
        with contextlib.suppress(ViaductError, OSError):
            for match in matches(tree, copy):
                for entry in walk(tree, match):
                    yield entry.path if _may_be_program(entry.path, entry.info) else None


def _may_be_program(path: bytes, info: os.stat_result) -> bool:
    if not stat.S_ISREG(info.st_mode) or info.st_size < elf.HEADER_SIZE:
        return False
    return bool(info.st_mode & 0o111) or b".so" in os.path.basename(path)
