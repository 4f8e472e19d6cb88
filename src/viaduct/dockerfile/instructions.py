"""Statements read as typed instructions, and everything that may be wrong with one by itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile import gotext
from viaduct.dockerfile.flags import check_flags
from viaduct.dockerfile.gotext import SPACE, quote
from viaduct.dockerfile.lex import heredoc_opening
from viaduct.dockerfile.mounts import check_device, check_mount
from viaduct.dockerfile.suggest import with_suggestion
from viaduct.dockerfile.syntax import (
    Arg,
    ArgPair,
    Cmd,
    CommandLine,
    Comment,
    CopyAdd,
    Entrypoint,
    Env,
    Expose,
    Flag,
    From,
    Healthcheck,
    Heredoc,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Word,
    Workdir,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypedDict

    from viaduct.base.spans import Span
    from viaduct.dockerfile.statements import Statement

    class _Common(TypedDict):
        keyword: str
        text: str
        span: Span
        places: tuple[tuple[int, int, int], ...]
        flags: tuple[Flag, ...]
        comments: tuple[Comment, ...]
        heredocs: tuple[Heredoc, ...]


_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_ONBUILD = re.compile(r"[\t\n\f\r ]*ONBUILD[\t\n\f\r ]*", re.IGNORECASE)
_MILLISECOND = 10**6


def read_instruction(statement: Statement) -> Instruction:
    """The typed instruction. Raises `DockerfileError` at the statement's place."""
    read = _READERS.get(statement.name)
    try:
        if read is None:
            name = statement.keyword.text
            message = f"unknown instruction: {name}"
            raise DockerfileError(with_suggestion(message, name, _READERS, case_sensitive=False))
        return read(statement)
    except DockerfileError as error:
        if error.where is None:
            error.where = statement.span
        raise


def description(comments: tuple[Comment, ...], name: str) -> str:
    """The text of a comment `# name text`, or empty."""
    start = f"{name} "
    for comment in comments:
        if name and comment.text.startswith(start):
            return comment.text[len(start) :]
    return ""


def _common(statement: Statement) -> _Common:
    line = statement.line
    return {
        "keyword": statement.keyword.text,
        "text": line.text,
        "span": statement.span,
        "places": line.places,
        "flags": statement.flags,
        "comments": line.comments,
        "heredocs": statement.heredocs,
    }


def _flags(statement: Statement) -> None:
    check_flags(statement.name, statement.flags)


def _some(statement: Statement, count: int) -> None:
    if not count:
        raise DockerfileError(f"{statement.name} requires at least one argument")


def _one(statement: Statement) -> Word:
    if len(statement.args) != 1:
        raise DockerfileError(f"{statement.name} requires exactly one argument")
    return statement.args[0]


def _from(statement: Statement) -> From:
    args = statement.args
    named = len(args) == 3 and args[1].text.lower() == "as"
    if not named and len(args) != 1:
        raise DockerfileError("FROM requires either one or three arguments")
    if named and not _STAGE_NAME.fullmatch(args[2].text.lower()):
        raise DockerfileError(
            f"invalid name for build stage: {quote(args[2].text)}, "
            "name can't start with a number or contain symbols"
        )
    _flags(statement)
    as_word, alias = (args[1], args[2]) if named else (None, None)
    return From(**_common(statement), base=args[0], as_word=as_word, alias=alias)


def _run(statement: Statement) -> Run:
    _flags(statement)
    values: dict[str, list[str]] = {}
    for flag in statement.flags:
        values.setdefault(flag.name, []).append(flag.value or "")
    for value in values.get("device", ()):
        check_device(value)
    for value in values.get("mount", ()):
        check_mount(value)
    for value in values.get("network", ()):
        if value not in ("default", "none", "host"):
            raise DockerfileError(f"invalid network mode {quote(value)}")
    for value in values.get("security", ()):
        if value not in ("sandbox", "insecure"):
            raise DockerfileError(f"security {quote(value)} is not valid")
    return Run(**_common(statement), args=statement.args, json=statement.json)


def _command(kind: type[CommandLine]) -> Callable[[Statement], Instruction]:
    def read(statement: Statement) -> Instruction:
        _flags(statement)
        return kind(**_common(statement), args=statement.args, json=statement.json)

    return read


def _shell(statement: Statement) -> Shell:
    _flags(statement)
    _some(statement, len(statement.args))
    if not statement.json:
        raise DockerfileError("SHELL requires the arguments to be in JSON form")
    return Shell(**_common(statement), args=statement.args, json=True)


def _copy(statement: Statement) -> CopyAdd:
    name, args = statement.name, statement.args
    if len(args) < 2:
        raise DockerfileError(
            f"{name} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        )
    _flags(statement)
    if _opening(args[-1].text) is not None:
        raise DockerfileError(f"{name} cannot accept a heredoc as a destination")
    bodies = {heredoc.name: heredoc for heredoc in statement.heredocs}
    sources: list[Word] = []
    contents: list[Heredoc] = []
    for word in args[:-1]:
        opening = _opening(word.text)
        if opening is None:
            sources.append(word)
        else:
            contents.append(bodies.get(opening.name, opening))
    return CopyAdd(
        **_common(statement),
        sources=tuple(sources),
        contents=tuple(contents),
        dest=args[-1],
        json=statement.json,
    )


def _opening(word: str) -> Heredoc | None:
    if "<<" not in word:
        return None
    try:
        return heredoc_opening(word)
    except DockerfileError:
        return None


def _env(statement: Statement) -> Env | Label:
    _flags(statement)
    _some(statement, len(statement.pairs))
    if not all(pair.key.text for pair in statement.pairs):
        raise DockerfileError(f"{statement.name} names can not be blank")
    kind = Env if statement.name == "ENV" else Label
    return kind(**_common(statement), pairs=statement.pairs)


def _arg(statement: Statement) -> Arg:
    _some(statement, len(statement.args))
    comments = statement.line.comments
    pairs: list[ArgPair] = []
    for word in statement.args:
        key, equals, value = word.text.partition("=")
        if equals and not key:
            raise DockerfileError("ARG names can not be blank")
        middle = word.start + len(key)
        pairs.append(
            ArgPair(
                Word(key, word.start, middle),
                Word(value, middle + 1, word.end) if equals else None,
                description(comments, key) if comments else "",
            )
        )
    return Arg(**_common(statement), pairs=tuple(pairs))


def _workdir(statement: Statement) -> Workdir:
    path = _one(statement)
    _flags(statement)
    return Workdir(**_common(statement), path=path)


def _user(statement: Statement) -> User:
    user = _one(statement)
    _flags(statement)
    return User(**_common(statement), user=user)


def _stop_signal(statement: Statement) -> StopSignal:
    return StopSignal(**_common(statement), signal=_one(statement))


def _maintainer(statement: Statement) -> Maintainer:
    author = _one(statement)
    _flags(statement)
    return Maintainer(**_common(statement), author=author)


def _expose(statement: Statement) -> Expose:
    _some(statement, len(statement.args))
    _flags(statement)
    return Expose(**_common(statement), ports=statement.args)


def _volume(statement: Statement) -> Volume:
    _some(statement, len(statement.args))
    _flags(statement)
    paths = tuple(Word(word.text.strip(SPACE), word.start, word.end) for word in statement.args)
    if not all(path.text for path in paths):
        raise DockerfileError("VOLUME specified can not be an empty string")
    return Volume(**_common(statement), paths=paths, json=statement.json)


def _healthcheck(statement: Statement) -> Healthcheck:
    _some(statement, len(statement.args))
    kind, command = statement.args[0].text.upper(), statement.args[1:]
    if kind == "NONE":
        if command:
            raise DockerfileError("HEALTHCHECK NONE takes no arguments")
        return Healthcheck(**_common(statement), test=("NONE",))
    _flags(statement)
    if kind != "CMD":
        raise DockerfileError(f"Unknown type {quote(kind)} in HEALTHCHECK (try CMD)")
    if not command:
        raise DockerfileError("Missing command after HEALTHCHECK CMD")
    values = {flag.name: flag.value or "" for flag in statement.flags}
    return Healthcheck(
        **_common(statement),
        test=("CMD" if statement.json else "CMD-SHELL", *(word.text for word in command)),
        json=statement.json,
        interval=_interval(values, "interval"),
        timeout=_interval(values, "timeout"),
        start_period=_interval(values, "start-period"),
        start_interval=_interval(values, "start-interval"),
        retries=_retries(values.get("retries", "")),
    )


def _interval(values: Mapping[str, str], name: str) -> int:
    text = values.get(name, "")
    if not text:
        return 0
    try:
        duration = gotext.parse_duration(text)
    except ValueError as error:
        raise DockerfileError(str(error)) from None
    if duration != 0 and duration < _MILLISECOND:
        raise DockerfileError(f"Interval {quote(name)} cannot be less than 1ms")
    return duration


def _retries(text: str) -> int:
    if not text:
        return 0
    try:
        retries = gotext.parse_int(text, 32)
    except ValueError:
        number = text.lstrip("+-").isdigit() and text.isascii()
        why = "value out of range" if number else "invalid syntax"
        raise DockerfileError(f"strconv.ParseInt: parsing {quote(text)}: {why}") from None
    if retries < 0:
        raise DockerfileError(f"--retries cannot be negative ({retries})")
    return retries


def _onbuild(statement: Statement) -> Onbuild:
    child = statement.child
    _some(statement, int(child is not None))
    assert child is not None
    _flags(statement)
    if child.name == "ONBUILD":
        raise DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if child.name in ("MAINTAINER", "FROM"):
        raise DockerfileError(f"{child.name} isn't allowed as an ONBUILD trigger")
    expression = _ONBUILD.sub("", statement.line.text, count=1)
    for heredoc in statement.heredocs:
        expression += f"\n{heredoc.content}{heredoc.name}"
    try:
        trigger = read_instruction(child)
    except DockerfileError:
        # The image is fine as it is; the build that runs the trigger will complain.
        trigger = None
    return Onbuild(**_common(statement), expression=expression, trigger=trigger)


_READERS: Mapping[str, Callable[[Statement], Instruction]] = {
    "ADD": _copy,
    "ARG": _arg,
    "CMD": _command(Cmd),
    "COPY": _copy,
    "ENTRYPOINT": _command(Entrypoint),
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _env,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
