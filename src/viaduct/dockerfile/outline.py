"""What a Dockerfile can be asked with `--call`, and the answers as text and JSON."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import msgspec

from viaduct.dockerfile.options import Outline, UsedArg, UsedSecret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from viaduct.base.spans import Source, Span
    from viaduct.dockerfile.state import StageState
    from viaduct.dockerfile.syntax import Document

_QUESTIONS: tuple[tuple[str, str, list[dict[str, str]] | None], ...] = (
    (
        "outline",
        "List all parameters current build target supports",
        [{"name": "target", "description": "Target build stage"}],
    ),
    ("targets", "List all targets current build supports", []),
    ("subrequests.describe", "List available subrequest types", None),
)


def outline_of(target: StageState) -> Outline:
    """The parameters of the target and of all stages it needs, in the order of the file."""
    states = list(_family(target))
    args: dict[str, UsedArg] = {}
    for state in states:
        for key in _used(state):
            declared = state.declared.get(key)
            if declared is not None and key not in args:
                args[key] = UsedArg(
                    key, declared.value, declared.pair.doc, declared.where.start, declared.where.end
                )
    return Outline(
        name=target.name,
        description=target.stage.doc if target.stage else "",
        args=tuple(sorted(args.values(), key=lambda arg: arg.line)),
        secrets=_mounted(states, lambda state: state.secrets),
        ssh=_mounted(states, lambda state: state.ssh),
    )


def _family(target: StageState) -> Iterator[StageState]:
    """The target, then what it stands on, then what it reads from; each once."""
    seen: set[StageState] = set()
    waiting = [target]
    while waiting:
        state = waiting.pop()
        if state in seen:
            continue
        seen.add(state)
        yield state
        waiting.extend(reversed(list(state.needs)))
        if state.base is not None:
            waiting.append(state.base)


def _used(state: StageState) -> Iterable[str]:
    """The arguments a stage reads, with those that their defaults read."""
    seen: dict[str, None] = {}
    waiting = list(state.read_args)
    while waiting:
        key = waiting.pop()
        if key not in seen:
            seen[key] = None
            if declared := state.declared.get(key):
                waiting.extend(declared.needs)
    return seen


def _mounted(
    states: Sequence[StageState], kind: Callable[[StageState], dict[str, tuple[Span, bool]]]
) -> tuple[UsedSecret, ...]:
    found: dict[str, UsedSecret] = {}
    for state in states:
        for name, (where, required) in kind(state).items():
            found.setdefault(name, UsedSecret(name, required, where.start, where.end))
    return tuple(sorted(found.values(), key=lambda one: one.line))


def outline_text(outline: Outline) -> str:
    """The outline as tables."""
    parts: list[str] = []
    if outline.name or outline.description:
        head = [("TARGET:", outline.name or "(default)")]
        if outline.description:
            head.append(("DESCRIPTION:", outline.description))
        parts.append(_table(head, 1))
    if outline.args:
        rows = [(arg.name, arg.value, arg.description) for arg in outline.args]
        parts.append(_table([("BUILD ARG", "VALUE", "DESCRIPTION"), *rows], 3))
    for title, mounted in (("SECRET", outline.secrets), ("SSH", outline.ssh)):
        if mounted:
            names = [(one.name, "true" if one.required else "") for one in mounted]
            parts.append(_table([(title, "REQUIRED"), *names], 3))
    return "".join(f"{part}\n" for part in parts)


def outline_json(outline: Outline, source: Source) -> str:
    """The outline as the peers' JSON."""
    document = {
        "name": outline.name,
        "description": outline.description,
        "args": [
            _dense(
                name=arg.name,
                description=arg.description,
                value=arg.value,
                location=_location(arg.line, arg.last),
            )
            for arg in outline.args
        ],
        "secrets": list(map(_mounted_json, outline.secrets)),
        "ssh": list(map(_mounted_json, outline.ssh)),
        "sources": [_data(source)],
    }
    return _json({key: value for key, value in document.items() if value})


def _mounted_json(one: UsedSecret) -> dict[str, object]:
    return _dense(name=one.name, required=one.required, location=_location(one.line, one.last))


def targets_text(document: Document) -> str:
    """The stages that can be built, the default marked."""
    rows = [("TARGET", "DESCRIPTION")]
    for stage in document.stages:
        name = stage.name
        if stage.index == len(document.stages) - 1:
            name = f"{name} (default)" if name else "(default)"
        rows.append((name, stage.doc))
    return _table(rows, 1)


def targets_json(document: Document) -> str:
    """The stages as the peers' JSON."""
    targets = [
        _dense(
            name=stage.name,
            default=stage.index == len(document.stages) - 1,
            description=stage.doc,
            base=stage.start.base.text,
            platform=stage.start.platform,
            location=_location(stage.start.span.start, stage.start.span.end),
        )
        for stage in document.stages
    ]
    return _json({"targets": targets, "sources": [_data(document.source)]})


def describe_text() -> str:
    """The questions that there are."""
    rows = [(name, "1.0.0", about) for name, about, _ in _QUESTIONS]
    return _table([("NAME", "VERSION", "DESCRIPTION"), *rows], 1)


def describe_json() -> str:
    """The questions as the peers' JSON."""
    return _json(
        [
            {
                "name": f"frontend.{name}",
                "version": "1.0.0",
                "type": "rpc",
                "description": about,
                "opts": options,
                "inputs": None,
                "metadata": [
                    {"name": "result.json", "description": ""},
                    {"name": "result.txt", "description": ""},
                ],
                "refs": None,
            }
            for name, about, options in _QUESTIONS
        ]
    )


def _dense(**values: object) -> dict[str, object]:
    return {key: value for key, value in values.items() if value}


def _location(first: int, last: int) -> dict[str, object]:
    lines = range(first, last + 1)
    return {"ranges": [{"start": {"line": line}, "end": {"line": line}} for line in lines]}


def _data(source: Source) -> str:
    return base64.b64encode(source.text.encode()).decode()


def _json(document: object) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _table(rows: Sequence[tuple[str, ...]], gap: int) -> str:
    """Rows with columns padded to the widest cell and `gap` spaces; the last column is ragged."""
    columns = len(rows[0]) - 1
    widths = [max(len(row[column]) for row in rows) + gap for column in range(columns)]
    lines = (
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + row[-1]
        for row in rows
    )
    return "".join(f"{line}\n" for line in lines)
