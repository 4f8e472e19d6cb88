"""`--check` prints what users of the peers and their tools expect."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

from viaduct.base.errors import DockerfileError
from viaduct.base.events import Warned
from viaduct.base.spans import Source, Span
from viaduct.dockerfile.lint import report as reports
from viaduct.dockerfile.lint.run import Report

Check = Callable[..., Report]


def test_nothing_found(checked: Check) -> None:
    report = checked("FROM scratch\n")
    assert reports.text(report) == "Check complete, no warnings found.\n"
    assert reports.status(report) == 0


def test_one_finding_with_its_lines(checked: Check) -> None:
    report = checked("FROM scratch\nCOPY a /\nMAINTAINER me\n")
    assert reports.text(report) == (
        "Check complete, 1 warning has been found!\n"
        "\n"
        "WARNING: MaintainerDeprecated - "
        "https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/\n"
        "Maintainer instruction is deprecated in favor of using label\n"
        "Dockerfile:3\n"
        "--------------------\n"
        "   1 |     FROM scratch\n"
        "   2 |     COPY a /\n"
        "   3 | >>> MAINTAINER me\n"
        "   4 |     \n"
        "--------------------\n"
    )
    assert reports.status(report) == 1


def test_several_findings_in_the_order_of_the_file(checked: Check) -> None:
    text = reports.text(checked("FROM scratch\nCMD \\\n  a\nENV b c\nEXPOSE 1/TCP"))
    assert text.startswith("Check complete, 3 warnings have been found!\n\nWARNING: JSONArgs")
    assert (
        "Dockerfile:2\n--------------------\n   1 |     FROM scratch\n   2 | >>> CMD \\\n" in text
    )
    assert "   3 | >>>   a\n   4 |     ENV b c\n--------------------\n" in text
    assert [line.split()[1] for line in text.splitlines() if line.startswith("WARNING")] == [
        "JSONArgsRecommended",
        "LegacyKeyValueFormat",
        "ExposeProtoCasing",
    ]


def test_a_known_column_gets_a_caret(checked: Check) -> None:
    text = reports.text(checked("FROM a\nRUN true && \\\n\tcurl https://e.com/amd64\n"))
    assert "   3 | >>> \tcurl https://e.com/amd64\n     |     \t                   ^\n" in text


def test_room_is_left_for_an_error_after_the_findings(checked: Check) -> None:
    source = Source("Dockerfile", "FROM scratch\nBAD\n")
    error = DockerfileError("unknown instruction: BAD", where=Span(source, 2, 2))
    assert reports.text(Report(()), error) == ""
    assert reports.status(Report(()), error) == 1
    both = reports.text(checked("FROM scratch\nMAINTAINER a\n"), error)
    assert both.startswith("Check complete, 1 warning has been found!\n")
    assert both.endswith("--------------------\n\n")


def test_json_has_the_peers_shape(checked: Check) -> None:
    text = "FROM scratch\nCMD \\\n  a\n"
    report = checked(text)
    document = json.loads(reports.json_text(report, Source("Dockerfile", text)))
    assert document == {
        "warnings": [
            {
                "ruleName": "JSONArgsRecommended",
                "description": "JSON arguments recommended for ENTRYPOINT/CMD to prevent "
                "unintended behavior related to OS signals",
                "url": "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/",
                "detail": "JSON arguments recommended for CMD to prevent unintended behavior "
                "related to OS signals",
                "location": {
                    "ranges": [
                        {"start": {"line": 2}, "end": {"line": 2}},
                        {"start": {"line": 3}, "end": {"line": 3}},
                    ]
                },
            }
        ],
        "sources": [
            {
                "filename": "Dockerfile",
                "data": base64.b64encode(text.encode()).decode(),
                "language": "Dockerfile",
            }
        ],
    }


def test_json_without_findings_and_with_an_error() -> None:
    source = Source("Dockerfile", "FROM\n")
    error = DockerfileError("no", where=Span(source, 1, 1))
    document = json.loads(reports.json_text(Report(()), source, error))
    assert document["warnings"] is None
    assert document["buildError"] == {
        "message": "no",
        "location": {"ranges": [{"start": {"line": 1}, "end": {"line": 1}}]},
    }


def test_a_build_tells_findings_as_events(checked: Check) -> None:
    report = checked("FROM scratch\nMAINTAINER me\n")
    (event,) = report.events(at=12.5)
    assert event == Warned(
        text="Maintainer instruction is deprecated in favor of using label",
        at=12.5,
        rule="MaintainerDeprecated",
        url="https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/",
        detail="The MAINTAINER instruction is deprecated, use a label instead to define an image "
        "author",
        where=report.findings[0].where,
    )
    assert report.findings[0].short == (
        "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label "
        "(line 2)"
    )
