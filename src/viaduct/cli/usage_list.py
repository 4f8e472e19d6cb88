"""The list of `viaduct du`: what the cache holds and how much of it could be freed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from viaduct.cli.listing import Listing
from viaduct.cli.terminal import visible
from viaduct.cli.units import ago, human_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from viaduct.store.keep import Record

_LISTING = Listing(
    "record",
    {
        "ID": "ID",
        "Parents": "PARENTS",
        "CreatedAt": "CREATED AT",
        "Mutable": "MUTABLE",
        "Reclaimable": "RECLAIMABLE",
        "Shared": "SHARED",
        "Size": "SIZE",
        "Description": "DESCRIPTION",
        "UsageCount": "USAGE COUNT",
        "LastUsedAt": "LAST ACCESSED",
        "Type": "TYPE",
    },
    "table {{.ID}}\t{{.Reclaimable}}\t{{.Size}}\t{{.LastUsedAt}}",
)

#: The width that ids are padded to where rows come one by one.
_ID_WIDTH = 40


def render(records: Sequence[Record], now: float, *, form: str = "", filtered: bool = False) -> str:
    """The records in the form of `--format` (`table`, `pretty`, `json`, a template), and after a
    whole table or pretty list the sums."""
    if form == "pretty":
        text = "".join(pretty(record, now) for record in records)
    else:
        table = form in ("", "table") or form.startswith("table ")
        text = _LISTING.render([_row(record, now, marks=table) for record in records], form)
    known = form in ("", "table", "pretty")
    return text + (_sums(records) if known and not filtered else "")


def pretty(record: Record, now: float) -> str:
    """One record with all its properties, a line each, and an empty line."""
    row = _row(record, now, marks=False)
    return "\n".join([*_properties(row), "", ""])


def _properties(row: dict[str, Any]) -> Iterator[str]:
    """The lines of a record; properties that it does not have are left out."""
    yield _property("ID", row["ID"])
    if row["Parents"]:
        yield "Parents:"
        yield from (f" - {parent}" for parent in row["Parents"])
    for label, key in (
        ("Created at", "CreatedAt"),
        ("Mutable", "Mutable"),
        ("Reclaimable", "Reclaimable"),
        ("Shared", "Shared"),
        ("Size", "Size"),
        ("Description", "Description"),
        ("Usage count", "UsageCount"),
        ("Last used", "LastUsedAt"),
        ("Type", "Type"),
    ):
        if row[key] != "":
            yield _property(label, row[key])


def _property(label: str, value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"{label + ':':<14}{text}"


def _row(record: Record, now: float, *, marks: bool) -> dict[str, Any]:
    """In a table, a star marks mutable records and shared sizes."""
    created = datetime.fromtimestamp(record.created, UTC)
    return {
        "ID": record.id + ("*" if marks and record.mutable else ""),
        "Parents": list(record.parents),
        "CreatedAt": created.strftime("%Y-%m-%d %H:%M:%S.%f %z UTC"),
        "Mutable": record.mutable,
        "Reclaimable": not record.in_use,
        "Shared": record.shared,
        "Size": human_size(record.size) + ("*" if marks and record.shared else ""),
        # What a Dockerfile called its step must not drive the terminal.
        "Description": " ".join(visible(record.description).split()),
        "UsageCount": record.uses,
        "LastUsedAt": ago(record.last_used, now) if record.last_used else "",
        "Type": record.type,
    }


HEADING = f"{'ID':<{_ID_WIDTH}}\tRECLAIMABLE\tSIZE\t\tLAST ACCESSED\n"


def line(record: Record, now: float) -> str:
    """A row of a table that is printed while it grows; `HEADING` goes before the first."""
    row = _row(record, now, marks=True)
    reclaimable = str(row["Reclaimable"]).lower()
    return f"{row['ID']:<{_ID_WIDTH}}\t{reclaimable:<11}\t{row['Size']:<10}\t{row['LastUsedAt']}\n"


def total(size: int) -> str:
    """The last line of `viaduct prune`."""
    return f"Total:\t{human_size(size)}\n"


def _sums(records: Iterable[Record]) -> str:
    every = list(records)
    whole = sum(record.size for record in every)
    shared = sum(record.size for record in every if record.shared)
    free = sum(record.size for record in every if not record.in_use)
    lines = [("Reclaimable:", free), ("Total:", whole)]
    if shared:
        lines = [("Shared:", shared), ("Private:", whole - shared), *lines]
    # The peers align these two columns with tabs of eight.
    return "".join(
        f"{name}{chr(9) * (1 if len(name) >= 8 else 2)}{human_size(size)}\n" for name, size in lines
    )
