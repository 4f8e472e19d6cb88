"""Running the checks over a Dockerfile."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from viaduct.base.errors import DockerfileError
from viaduct.base.events import Warned
from viaduct.dockerfile.lint.checked import Checked
from viaduct.dockerfile.lint.options import options_for
from viaduct.dockerfile.lint.rule import Finding
from viaduct.dockerfile.lint.table import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from viaduct.dockerfile.lint.context import LintContext
    from viaduct.dockerfile.lint.rule import Rule
    from viaduct.dockerfile.syntax import Document


class Report(NamedTuple):
    """What the checks found, in the order of the file. `fails` says that the author wants a build
    with findings to fail (`check=error=true`)."""

    findings: tuple[Finding, ...]
    fails: bool = False

    def events(self, at: float) -> tuple[Warned, ...]:
        """The findings as a build tells them, at a time in seconds since the epoch."""
        return tuple(
            Warned(
                text=finding.text,
                at=at,
                rule=finding.rule.name,
                url=finding.rule.url,
                detail=finding.rule.description,
                where=finding.where,
            )
            for finding in self.findings
        )

    def failure(self) -> DockerfileError | None:
        """The error that ends a build which must not have findings; None when it may go on."""
        if not (self.fails and self.findings):
            return None
        names = dict.fromkeys(finding.rule.name for finding in self.findings)
        return DockerfileError(
            f"lint violation found for rules: {', '.join(names)}",
            hint="mend them, or leave a rule out with # check=skip=RULE",
        )


def check(document: Document, context: LintContext, rules: Iterable[Rule] = RULES) -> Report:
    """Run the checks that the Dockerfile or the build argument asks for.

    The options are those of the build argument BUILDKIT_DOCKERFILE_CHECK, without it those of the
    `check` directive; a `# check=…` comment above an instruction counts for that one. Pure; safe
    to call for one document from several threads. Raises `DockerfileError` for options that make no
    sense.
    """
    options = options_for(document, context.build_args)
    checked = Checked(document, context)
    findings: list[Finding] = []
    for rule in rules:
        # A comment can switch an experimental rule on, so those always run when there is one.
        if not (options.runs(rule) or rule.experimental):
            continue
        findings += [
            Finding(rule, hit.text, hit.where or hit.on.span)
            for hit in rule.check(checked)
            if options.also(hit.on.comments).runs(rule)
        ]
    findings.sort(key=lambda finding: finding.where.start)
    return Report(tuple(findings), options.error)
