"""What `--check` prints: text or JSON, as users of the peers and their tools read it."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from viaduct.base.errors import ViaductError
    from viaduct.base.spans import Source, Span
    from viaduct.dockerfile.lint.rule import Finding
    from viaduct.dockerfile.lint.run import Report


def status(report: Report, error: ViaductError | None = None) -> int:
    """The exit status of `--check`: 1 when anything was found or the Dockerfile is wrong."""
    return 1 if report.findings or error is not None else 0


def text(report: Report, error: ViaductError | None = None) -> str:
    """The report for people; `error` is what stopped the build from being planned, if anything.

    The error itself is for the caller to tell, after a blank line that parts it from the findings.
    """
    count = len(report.findings)
    out = []
    if count:
        found = "1 warning has" if count == 1 else f"{count} warnings have"
        out.append(f"Check complete, {found} been found!\n")
    out += [_warning(finding) for finding in report.findings]
    if error is not None:
        out.append("\n" if count else "")
    elif not count:
        out.append("Check complete, no warnings found.\n")
    return "".join(out)


def json_text(report: Report, source: Source, error: ViaductError | None = None) -> str:
    """The report as JSON of one object: `warnings`, `sources`, and `buildError` when there is one.

    A location's ranges are lines, one range each; `sourceIndex` is left out for the only source.
    """
    document: dict[str, object] = {
        "warnings": [
            {
                "ruleName": finding.rule.name,
                "description": finding.rule.description,
                **({"url": finding.rule.url} if finding.rule.url else {}),
                "detail": finding.text,
                "location": _location(finding.where),
            }
            for finding in report.findings
        ]
        or None,
        "sources": [
            {
                "filename": os.path.basename(source.name),
                "data": base64.b64encode(source.text.encode()).decode(),
                "language": "Dockerfile",
            }
        ],
    }
    if error is not None:
        where = {} if error.where is None else _location(error.where)
        document["buildError"] = {"message": error.what, "location": where}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _warning(finding: Finding) -> str:
    url = f" - {finding.rule.url}" if finding.rule.url else ""
    return f"\nWARNING: {finding.rule.name}{url}\n{finding.text}\n{finding.where.excerpt()}"


def _location(where: Span) -> dict[str, object]:
    lines = range(where.start, max(where.start, where.end) + 1)
    if where.column and len(lines) == 1:
        place = {"line": where.start, "character": where.column - 1}
        return {"ranges": [{"start": place, "end": place}]}
    return {"ranges": [{"start": {"line": line}, "end": {"line": line}} for line in lines]}
