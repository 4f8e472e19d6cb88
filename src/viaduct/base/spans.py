"""Places in source files, and how they are shown to a person."""

from __future__ import annotations

from viaduct.base.values import Value


class Source(Value):
    """A text file as it was read; `name` is what messages call it."""

    name: str
    text: str


class Span(Value):
    """Lines `start` to `end` of a source, one-based and inclusive; `column` (one-based) marks a
    single character of the first line when it is known, 0 otherwise."""

    source: Source
    start: int
    end: int
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source.name}:{self.start}"

    def excerpt(self) -> str:
        """The marked lines and those around them, as BuildKit shows them: two lines on either side
        of a single one, one on either side of several. Ends in a line end; empty when the source
        has no such line.

        Lines of the span carry `>>>`; when the column is known a caret stands under it.
        """
        lines = self.source.text.split("\n")
        start, end = self.start, min(max(self.start, self.end), len(lines))
        if not 1 <= start <= len(lines):
            return ""
        around = 2 if start == end else 1
        rule = "-" * 20
        out = [str(self), rule]
        for number in range(max(1, start - around), min(len(lines), end + around) + 1):
            line = lines[number - 1].removesuffix("\r")
            marked = start <= number <= end
            out.append(f" {number:3d} | {'>>>' if marked else '   '} {line}")
            if marked and number == start and self.column:
                # A tab stays a tab, so that the caret lands below its character on any terminal.
                before = "".join("\t" if char == "\t" else " " for char in line[: self.column - 1])
                out.append(f"     |     {before}^")
        return "\n".join((*out, rule, ""))
