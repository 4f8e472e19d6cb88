"""A Dockerfile in, the lines that the checks have to say about it out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from viaduct.base.spans import Source
from viaduct.dockerfile.lint.context import LintContext
from viaduct.dockerfile.lint.run import Report, check
from viaduct.dockerfile.parse import parse

Check = Callable[..., Report]
Said = Callable[..., list[str]]


@pytest.fixture
def checked() -> Check:
    def run(text: str, context: LintContext | None = None, name: str = "Dockerfile") -> Report:
        return check(parse(Source(name, text.lstrip("\n"))), context or LintContext())

    return run


@pytest.fixture
def said(checked: Check) -> Said:
    """`Rule: text (line n)` for every finding, of one rule when `rule` is given."""

    def run(
        text: str, context: LintContext | None = None, *, rule: str = "", name: str = "Dockerfile"
    ) -> list[str]:
        report = checked(text, context, name)
        return [found.short for found in report.findings if rule in ("", found.rule.name)]

    return run
