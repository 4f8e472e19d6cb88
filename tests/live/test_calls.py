"""`--check` and `--call`: what a Dockerfile is asked, what is printed, and the exit status."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.parts.command import viaduct

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parts.contexts import Context

_PARAMETERS = """
# build compiles the program
FROM BASE AS build
# VERSION is what is built
ARG VERSION=1
RUN --mount=type=secret,id=token,required --mount=type=ssh echo $VERSION
# app is what runs
FROM build AS app
"""


def test_a_good_dockerfile_passes_without_a_network(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM nowhere.invalid/base:1\nCOPY . /src\n")
    done = viaduct("build", "--check", str(tmp_path))
    assert done.stdout == b"Check complete, no warnings found.\n"


def test_a_finding_is_shown_with_its_lines_and_fails(context: Context) -> None:
    context.dockerfile("FROM scratch AS Base\nCOPY . /\n")
    found = context.build("--check", check=False)
    assert found.status == 1
    assert found.stdout.startswith(
        "Check complete, 1 warning has been found!\n\nWARNING: StageNameCasing - https://"
    )
    assert "   1 | >>> FROM scratch AS Base\n   2 |     COPY . /\n" in found.stdout
    assert context.build("--call=check,ignorestatus=true").stdout == found.stdout


def test_checks_of_images_know_what_the_base_image_is(context: Context) -> None:
    context.dockerfile("FROM --platform=linux/arm64 BASE\nENV A=$PATH B=$NOPE\n")
    told = context.build("--check", check=False).stdout
    assert "Usage of undefined variable '$NOPE'" in told
    assert "$PATH'" not in told


def test_json_tells_findings_and_what_would_end_a_build(context: Context) -> None:
    context.dockerfile("FROM scratch AS Base\nRUNN x\n")
    done = context.build("--call=check,format=json", check=False)
    document = json.loads(done.stdout)
    assert [warning["ruleName"] for warning in document["warnings"]] == ["StageNameCasing"]
    assert "unknown instruction: RUNN (did you mean RUN?)" in document["buildError"]["message"]
    assert document["buildError"]["location"]["ranges"][0]["start"] == {"line": 2}
    assert document["sources"][0]["filename"] == "Dockerfile"
    assert done.status == 1
    assert "   2 | >>> RUNN x" in done.stderr


def test_findings_before_the_step_that_is_wrong_are_told(context: Context) -> None:
    context.dockerfile("FROM scratch\nENV a b\nSTOPSIGNAL never\nENV c d\n")
    done = context.build("--check", check=False)
    assert done.stdout.count("WARNING: LegacyKeyValueFormat") == 1
    assert "invalid signal: never" in done.stderr


def test_a_file_that_wants_no_findings_fails_to_build(context: Context) -> None:
    context.dockerfile("# check=error=true\nFROM scratch AS Base\nENV a=b\n")
    failed = context.build(check=False)
    assert failed.status == 1
    assert "lint violation found for rules: StageNameCasing" in failed.stderr
    context.build("--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=StageNameCasing")


def test_a_build_lists_its_findings_at_the_end(context: Context) -> None:
    context.dockerfile("FROM scratch AS Base\nENV a=b\n")
    told = context.build().stderr
    assert "\n 1 warning found (use" in told
    assert "\n - StageNameCasing: Stage name 'Base' should be lowercase (line 1)\n" in told


def test_outline_lists_arguments_secrets_and_agents(context: Context) -> None:
    context.dockerfile(_PARAMETERS)
    assert context.build("--call=outline").stdout == (
        "TARGET:      app\nDESCRIPTION: is what runs\n\n"
        "BUILD ARG   VALUE   DESCRIPTION\nVERSION     1       is what is built\n\n"
        "SECRET   REQUIRED\ntoken    true\n\nSSH       REQUIRED\ndefault   \n\n"
    )
    given = context.build("--call=outline,format=json", "--build-arg", "VERSION=2").stdout
    assert json.loads(given)["args"][0]["value"] == "2"


def test_targets_lists_stages(context: Context) -> None:
    context.dockerfile(_PARAMETERS)
    assert context.build("--call=targets").stdout == (
        "TARGET        DESCRIPTION\nbuild         compiles the program\n"
        "app (default) is what runs\n"
    )
    stages = json.loads(context.build("--call=targets,format=json").stdout)["targets"]
    assert [stage["name"] for stage in stages] == ["build", "app"]
    assert stages[1] == {
        "name": "app",
        "default": True,
        "description": "is what runs",
        "base": "build",
        "location": {"ranges": [{"start": {"line": 8}, "end": {"line": 8}}]},
    }


def test_the_questions_themselves_are_listed(context: Context) -> None:
    context.dockerfile("FROM scratch\n")
    assert "\noutline              1.0.0   " in context.build("--call=subrequests.describe").stdout


def test_a_file_for_another_front_end_is_refused(context: Context) -> None:
    context.dockerfile("# syntax=example.com/other/language:2\nanything at all\n")
    failed = context.build(check=False)
    assert "asks for the front end example.com/other/language:2" in failed.stderr
    assert "use `# syntax=docker/dockerfile:1`" in failed.stderr
    context.dockerfile("# syntax=docker/dockerfile:1.7-labs\nFROM scratch\nENV a=b\n")
    assert "channel of experiments" in context.build().stderr
