"""The front door of the parser: text in, `Document` out."""

from __future__ import annotations

from viaduct.base.errors import DockerfileError
from viaduct.base.spans import Source, Span
from viaduct.dockerfile.instructions import description, read_instruction
from viaduct.dockerfile.lex import Line, Reader
from viaduct.dockerfile.statements import Statement, read_statements
from viaduct.dockerfile.syntax import Arg, Document, From, Instruction, Stage


def decode(data: bytes, name: str = "Dockerfile") -> Source:
    """The source in these bytes; what is not UTF-8 becomes U+FFFD."""
    return Source(name, data.decode(errors="replace"))


def parse(source: Source) -> Document:
    """Parse a Dockerfile. Raises `DockerfileError` with the place of what is wrong."""
    if not source.text:
        raise DockerfileError(
            "the Dockerfile cannot be empty", hint="begin with FROM and the image to build on"
        )
    before, zero, _ = source.text.partition("\0")
    if zero:
        line = before.count("\n") + 1
        raise DockerfileError(
            f"dockerfile parse error on line {line}: there is a zero byte in it",
            hint="no file, variable or argument can hold one; is this a Dockerfile at all?",
            where=Span(source, line, line),
        )
    reader = Reader(source)
    statements = read_statements(reader)
    global_args: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    for statement in statements:
        instruction = _read(statement)
        if isinstance(instruction, From):
            stages.append((instruction, []))
        elif stages:
            stages[-1][1].append(instruction)
        elif isinstance(instruction, Arg):
            global_args.append(instruction)
        else:
            raise DockerfileError(
                "no build stage in current context",
                hint="only ARG may stand before the first FROM",
                where=instruction.span,
            )
    return Document(
        source=source,
        directives=tuple(reader.zone.found.values()),
        escape=reader.escape,
        global_args=tuple(global_args),
        stages=tuple(
            Stage(index, start, tuple(body), description(start.comments, start.stage_name))
            for index, (start, body) in enumerate(stages)
        ),
        empty_continuations=tuple(reader.empty_continuations),
        trailing=tuple(reader.comments),
    )


def parse_trigger(expression: str, at: Span) -> Instruction:
    """Parse the text of an ONBUILD trigger; all its places are `at`, the FROM that runs it.

    Raises `DockerfileError`.
    """
    try:
        statements = read_statements(Reader(Source("ONBUILD", expression)))
        if len(statements) != 1:
            raise DockerfileError("onbuild trigger should be a single expression")
        instruction = read_instruction(_moved(statements[0], at))
        if isinstance(instruction, From):
            raise DockerfileError("FROM isn't allowed as an ONBUILD trigger")
    except DockerfileError as error:
        error.where = at
        raise
    return instruction


def _moved(statement: Statement, at: Span) -> Statement:
    line = Line(statement.line.text, at.start, at.end, ((0, at.start, 0),), ())
    return statement._replace(line=line, span=at)


def _read(statement: Statement) -> Instruction:
    try:
        return read_instruction(statement)
    except DockerfileError as error:
        place = statement.span.start
        raise DockerfileError(
            f"dockerfile parse error on line {place}: {error.what}",
            hint=error.hint,
            where=error.where,
        ) from None
