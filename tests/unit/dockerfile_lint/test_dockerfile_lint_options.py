"""Authors choose which checks run, in the file, above an instruction or by build argument."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile.lint.context import LintContext
from viaduct.dockerfile.lint.options import CheckOptions, parse_options
from viaduct.dockerfile.lint.run import Report

Check = Callable[..., Report]

TEXT = "FROM scratch as base\ncopy Dockerfile .\n"


def names(report: Report) -> list[str]:
    return [finding.rule.name for finding in report.findings]


@pytest.mark.parametrize(
    ("directive", "expected", "fails"),
    [
        ("", ["FromAsCasing", "ConsistentInstructionCasing"], False),
        ("#check=skip=all", [], False),
        ("#check=skip=all;error=true", [], False),
        ("#check=skip=ConsistentInstructionCasing,FromAsCasing", [], False),
        ("# check=skip=ConsistentInstructionCasing;error=true", ["FromAsCasing"], True),
        ("# check = error=1", ["FromAsCasing", "ConsistentInstructionCasing"], True),
        ("# check=skip=Unknown", ["FromAsCasing", "ConsistentInstructionCasing"], False),
    ],
)
def test_directive(directive: str, expected: list[str], fails: bool, checked: Check) -> None:
    report = checked(f"{directive}\n{TEXT}")
    assert names(report) == expected
    assert (report.failure() is not None) is fails


def test_build_argument_replaces_the_directive(checked: Check) -> None:
    argument = {"BUILDKIT_DOCKERFILE_CHECK": "skip=ConsistentInstructionCasing;error=true"}
    report = checked(f"#check=skip=all\n{TEXT}", LintContext(build_args=argument))
    failure = report.failure()
    assert failure is not None
    assert failure.what == "lint violation found for rules: FromAsCasing"
    silent = LintContext(build_args={"BUILDKIT_DOCKERFILE_CHECK": "skip=all"})
    assert checked(f"#check=error=true\n{TEXT}", silent).failure() is None


def test_a_failure_names_each_rule_once(checked: Check) -> None:
    failure = checked("# check=error=true\nFROM a\nMAINTAINER b\nMAINTAINER c\nCMD d").failure()
    assert failure is not None
    assert failure.what.endswith("rules: MaintainerDeprecated, JSONArgsRecommended")


def test_comment_above_an_instruction_counts_for_that_one(checked: Check) -> None:
    text = """
FROM scratch
# why this one may
# check=skip=MaintainerDeprecated // it is old
MAINTAINER a
MAINTAINER b
# check=skip=all
CMD c
"""
    assert [finding.where.start for finding in checked(text).findings] == [5]


def test_comment_above_from_counts_for_all_rules_about_it(checked: Check) -> None:
    text = "FROM a AS b\n# check=skip=DuplicateStageName,StageNameCasing\nFROM c AS B\n"
    assert names(checked(text)) == []


def test_unreadable_comment_changes_nothing(checked: Check) -> None:
    assert names(checked("FROM a\n# check=whatever\nMAINTAINER b")) == ["MaintainerDeprecated"]


@pytest.mark.parametrize(
    ("head", "found"),
    [
        ("", False),
        ("# check=experimental=all\n", True),
        ("# check=experimental=InvalidDefinitionDescription\n", True),
        ("# check=skip=all;experimental=InvalidDefinitionDescription\n", True),
        ("# check=experimental=Other\n", False),
    ],
)
def test_experimental_rules_run_when_asked_for(head: str, found: bool, checked: Check) -> None:
    report = checked(f"{head}FROM scratch\n# what it is\nARG a=1\n")
    assert names(report) == (["InvalidDefinitionDescription"] if found else [])


def test_multi_architecture_rules_are_on_by_default_and_can_be_skipped(checked: Check) -> None:
    text = "FROM a\nARG TARGETARCH=amd64\n"
    assert names(checked(text)) == ["PlatformArgDefault"]
    assert names(checked(f"# check=skip=PlatformArgDefault\n{text}")) == []


def test_options_are_read_in_full() -> None:
    assert parse_options(" skip=A, B ;error=False;experimental=C") == CheckOptions(
        skip=frozenset({"A", "B"}), experimental=frozenset({"C"})
    )
    assert parse_options("") == CheckOptions()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("skip", 'invalid check option "skip"'),
        ("skip=A;color=red", 'invalid check option "color"'),
        ("error=maybe", 'failed to parse check option "error=maybe"'),
        ("skip=A;", 'invalid check option ""'),
    ],
)
def test_nonsense_is_refused(text: str, message: str, checked: Check) -> None:
    with pytest.raises(DockerfileError) as caught:
        checked(f"# check={text}\n{TEXT}")
    assert caught.value.what.startswith(f"failed to parse check options: {message}")
    assert caught.value.where is not None
