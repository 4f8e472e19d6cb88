"""Every rule has a page and examples, and they are true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from viaduct.base.spans import Source
from viaduct.dockerfile.lint.context import BaseFacts, Binary, LintContext
from viaduct.dockerfile.lint.run import check
from viaduct.dockerfile.lint.table import DOCKER_RULES, MULTI_ARCH_RULES, RULES
from viaduct.dockerfile.parse import parse
from viaduct.oci.platform import Platform

if TYPE_CHECKING:
    from viaduct.dockerfile.lint.rule import Rule

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "rules"
FIXTURES = ROOT / "tests" / "fixtures" / "rules"
SECTIONS = ["What", "Why", "Before", "After"]


def _binaries(sources: tuple[str, ...]) -> tuple[Binary, ...]:
    found = {
        "bin/app": (Binary("bin/app", "amd64"),),
        "all-programs/": (Binary("all/a", "amd64"), Binary("all/b", "arm64")),
    }
    return tuple(binary for source in sources for binary in found.get(source, ()))


def _single_manifest(text: str) -> LintContext:
    return LintContext(bases={0: BaseFacts(is_single_manifest="@sha256:1111" in text)})


def _pulled(text: str) -> LintContext:
    arm64 = Platform("linux", "arm64")
    platform = Platform("linux", "amd64") if "example.com" in text else arm64
    return LintContext(platform=arm64, bases={0: BaseFacts(platform=platform)})


def context_for(rule: Rule, text: str) -> LintContext:
    """The facts that some rules need besides the file."""
    if rule.name == "InvalidBaseImagePlatform":
        return _pulled(text)
    if rule.name == "BasePinnedToPlatform":
        return _single_manifest(text)
    if rule.name == "CopyIgnoredFile":
        return LintContext(ignored=lambda path: path == "secret.env")
    if rule.name == "SingleArchBinaryCopied":
        return LintContext(binaries=_binaries)
    return LintContext()


def found_in(text: str, rule: Rule) -> set[str]:
    report = check(parse(Source("Dockerfile", text)), context_for(rule, text))
    return {finding.rule.name for finding in report.findings}


def examples(rule: Rule) -> dict[str, str]:
    page = (PAGES / f"{rule.slug}.md").read_text()
    return dict(re.findall(r"## (Before|After)\n+```dockerfile\n(.*?)```", page, re.DOTALL))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rule_finds_its_bad_example_and_leaves_the_good_one_alone(rule: Rule) -> None:
    folder = FIXTURES / rule.name
    assert rule.name in found_in((folder / "bad.Dockerfile").read_text(), rule)
    assert found_in((folder / "good.Dockerfile").read_text(), rule) == set()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_page_shows_what_the_rule_finds_and_how_to_mend_it(rule: Rule) -> None:
    page = (PAGES / f"{rule.slug}.md").read_text()
    assert page.startswith(f"# {rule.name}\n")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE)[:4] == SECTIONS
    shown = examples(rule)
    assert rule.name in found_in(shown["Before"], rule)
    assert found_in(shown["After"], rule) == set()


def test_there_is_a_page_and_a_folder_of_examples_for_each_rule_and_for_nothing_else() -> None:
    pages = {path.name for path in PAGES.glob("*.md")} - {"README.md"}
    assert pages == {f"{rule.slug}.md" for rule in RULES}
    assert {path.name for path in FIXTURES.iterdir()} == {rule.name for rule in RULES}


def test_index_lists_every_rule() -> None:
    index = (PAGES / "README.md").read_text()
    for rule in RULES:
        assert f"[{rule.name}]({rule.slug}.md)" in index


def test_names_are_unique_and_the_peers_rules_are_all_there() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert len(DOCKER_RULES) == 22
    assert all(rule.multi_arch for rule in MULTI_ARCH_RULES)


def test_url_leads_to_the_rules_page() -> None:
    urls = {rule.name: rule.url for rule in RULES}
    docker = "https://docs.docker.com/go/dockerfile/rule/"
    assert urls["JSONArgsRecommended"] == f"{docker}json-args-recommended/"
    assert urls["UndefinedArgInFrom"] == f"{docker}undefined-arg-in-from/"
    assert urls["InvalidBaseImagePlatform"] == ""
    assert urls["HardcodedArchitecture"] == "docs/rules/hardcoded-architecture.md"
