"""`viaduct doctor`: can this machine build, and if not, what mends it.

Nothing is changed, here or in the registry. Ends with status 1 when there is a problem.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from viaduct.cli.command import implements
from viaduct.cli.failure import Leave
from viaduct.cli.options import arguments, switch
from viaduct.cli.out import colored, echo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viaduct.cli.session import Session
    from viaduct.engine.health.findings import Finding

_COLORS = {"ok": "green", "warning": "yellow", "problem": "red"}


@implements("doctor")
@switch("--json", help="Print the findings as JSON")
@arguments("[REFERENCE]", most=1)
def command(session: Session, /, args: tuple[str, ...], *, json: bool) -> None:
    """Check that this machine can build, and push to REFERENCE where one is given."""
    from viaduct.engine.health import findings, gather
    from viaduct.oci import reference

    ref = reference.parse(args[0]) if args else None
    found = findings.diagnose(gather.gather(session.env, ref))
    level = findings.worst(found)
    if json:
        echo(_document(found, level))
    else:
        colors = sys.stdout.isatty() and not session.env.get("NO_COLOR")
        for finding in found:
            echo(_line(finding, colors=colors))
    if level == "problem":
        raise Leave(1)


def _line(finding: Finding, *, colors: bool) -> str:
    from viaduct.cli.terminal import visible

    word = f"{finding.level:<7}"
    if colors:
        word = colored(word, _COLORS[finding.level])
    fix = f"; hint: {finding.fix}" if finding.fix else ""
    # A registry's words are among these.
    return f"{word}  {visible(f'{finding.name}: {finding.text}{fix}')}"


def _document(found: Sequence[Finding], level: str) -> str:
    import json

    rows = [
        {"name": f.name, "level": f.level, "text": f.text, **({"fix": f.fix} if f.fix else {})}
        for f in found
    ]
    return json.dumps({"level": level, "findings": rows}, indent=2, ensure_ascii=False)
