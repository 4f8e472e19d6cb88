"""A document as text again: one line for each instruction, here-documents as they were.

Parsing the result gives the same tree but for places. Comments inside of instructions and blank
lines are not kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.dockerfile.gotext import SPACE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from viaduct.dockerfile.syntax import Comment, Document, Instruction


def print_document(document: Document) -> str:
    """The text of a document."""
    return "".join(_lines(document))


def _lines(document: Document) -> Iterator[str]:
    for directive in document.directives:
        yield f"# {directive.name}={directive.value}\n"
    # A blank line keeps a comment that looks like a directive from being one.
    yield "\n"
    for instruction in document.instructions:
        yield from _comments(instruction.comments)
        yield _instruction(instruction, document.escape)
    yield from _comments(document.trailing)


def _comments(comments: Iterable[Comment]) -> Iterator[str]:
    for comment in comments:
        yield f"#{comment.text}\n" if comment.text.startswith("#") else f"# {comment.text}\n"


def _instruction(instruction: Instruction, escape: str) -> str:
    text = instruction.text.lstrip(SPACE)
    bodies = "".join(f"{heredoc.content}{heredoc.name}\n" for heredoc in instruction.heredocs)
    end = text.rstrip(" \t")
    if end.endswith(escape) and not end.endswith(escape * 2):
        # Only at the end of a file can a line end like this: one more makes it the same again.
        return f"{text}{escape}\n"
    return f"{text}\n{bodies}"
