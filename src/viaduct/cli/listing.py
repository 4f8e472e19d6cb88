"""Lists of things: aligned tables, and docker's `--format` (`table`, `json`, a Go template)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viaduct.base import values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from viaduct.cli.gotemplate.values import Value

# Docker's tables: columns at least ten wide, three spaces between them.
_LEAST = 10
_GAP = 3


def aligned(rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells as text; every column is as wide as its widest cell."""
    rows = [list(row) for row in rows]
    count = max((len(row) for row in rows), default=0)
    widths = [
        max(_LEAST, _GAP + max(len(row[at]) for row in rows if at < len(row)))
        for at in range(count)
    ]
    lines = (
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) for row in rows
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)


class Listing(values.Value):
    """How one kind of thing is listed.

    `headings` are the columns that a template may name, with their headings; `table` is the
    default table's template; `type_name` is what errors call a row.
    """

    type_name: str
    headings: Mapping[str, str]
    table: str

    def render(self, rows: Sequence[Mapping[str, Value]], form: str = "") -> str:
        """The list in the form of `--format`. Raises `UsageError` for a broken template."""
        if form == "json":
            from viaduct.cli.gotemplate.values import to_json

            return "".join(to_json(dict(row), indent=False) + "\n" for row in rows)
        if form in ("", "table"):
            form = self.table
        # The shell leaves \t and \n in a format as they are typed.
        form = form.replace("\\t", "\t").replace("\\n", "\n")
        columns = form.removeprefix("table ")
        if columns != form and (cells := self._plain(rows, columns)):
            return aligned(cells)
        texts = self._texts(rows, columns)
        if columns == form:
            return "".join(f"{text}\n" for text in texts)
        head = self._texts([self.headings], columns)
        return aligned(text.split("\t") for text in (*head, *texts))

    def _plain(self, rows: Sequence[Mapping[str, Value]], columns: str) -> list[list[str]]:
        """The cells of a table of plain columns, headings first, which needs no template language;
        empty when it is something else."""
        names = re.findall(r"\{\{\.(\w+)\}\}", columns)
        if columns != "\t".join(f"{{{{.{name}}}}}" for name in names):
            return []
        cells = [[table.get(name) for name in names] for table in (self.headings, *rows)]
        texts = [[cell for cell in row if isinstance(cell, str)] for row in cells]
        return texts if all(len(row) == len(names) for row in texts) else []

    def _texts(self, rows: Iterable[Mapping[str, Value]], template: str) -> list[str]:
        from viaduct.cli.gotemplate.template import Template
        from viaduct.cli.gotemplate.values import Record

        parsed = Template(template)
        return [parsed.render(Record(self.type_name, row)) for row in rows]
