"""Executing a template: `Template(text).render(data)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from viaduct.base.errors import UsageError
from viaduct.cli.gotemplate.functions import CallError, functions
from viaduct.cli.gotemplate.lex import Text
from viaduct.cli.gotemplate.syntax import (
    Action,
    Block,
    Chain,
    Jump,
    Literal,
    Name,
    Pipe,
    parse,
)
from viaduct.cli.gotemplate.values import NO_VALUE, Record, Value, plain, true

if TYPE_CHECKING:
    from viaduct.cli.gotemplate.syntax import Node, Operand


class Template:
    """A parsed template. Making one raises `UsageError` for text that is none."""

    def __init__(self, text: str, *, indent_json: bool = False) -> None:
        self.functions = functions(indent_json=indent_json)
        self.nodes = parse(text, frozenset(self.functions))

    def render(self, data: Value) -> str:
        """The template's output for `data`. Raises `UsageError` where the data does not have what
        the template asks for."""
        run = _Run(self, data)
        run.walk(self.nodes, data)
        return "".join(run.out)


class _Leave(Exception):
    """`break` or `continue` on its way to its loop."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


class _Run:
    def __init__(self, template: Template, data: Value) -> None:
        self.out: list[str] = []
        self._functions = template.functions
        self._scopes: list[dict[str, Value]] = [{"$": data}]

    def walk(self, nodes: Sequence[Node], dot: Value) -> None:
        for node in nodes:
            match node:
                case Text():
                    self.out.append(node.text)
                case Action():
                    value = self._pipe(node.pipe, dot)
                    if not node.pipe.variables:
                        self.out.append(plain(value))
                case Jump():
                    raise _Leave(node.kind)
                case Block():
                    self._scopes.append({})
                    try:
                        self._block(node, dot)
                    finally:
                        self._scopes.pop()

    def _block(self, block: Block, dot: Value) -> None:
        if block.kind == "range":
            self._range(block, dot)
            return
        value = self._pipe(block.pipe, dot)
        if true(value):
            self.walk(block.body, value if block.kind == "with" else dot)
        else:
            self.walk(block.otherwise, dot)

    def _range(self, block: Block, dot: Value) -> None:
        value = self._pipe(Pipe(block.pipe.commands), dot)
        items = _items(value)
        names = block.pipe.variables
        for key, item in items:
            given = (key, item) if len(names) == 2 else (item,)[: len(names)]
            self._scopes.append(dict(zip(names, given, strict=True)))
            try:
                self.walk(block.body, item)
            except _Leave as leave:
                if leave.kind == "break":
                    break
            finally:
                self._scopes.pop()
        if not items:
            self.walk(block.otherwise, dot)

    def _pipe(self, pipe: Pipe, dot: Value) -> Value:
        value: Value = None
        for at, command in enumerate(pipe.commands):
            value = self._command(command, dot, [value] if at else [])
        for name in pipe.variables:
            self._assign(name, value, declares=pipe.declares)
        return value

    def _assign(self, name: str, value: Value, *, declares: bool) -> None:
        if declares:
            self._scopes[-1][name] = value
            return
        for scope in reversed(self._scopes):
            if name in scope:
                scope[name] = value
                return
        raise _error(f"undefined variable {name!r}")

    def _command(self, operands: tuple[Operand, ...], dot: Value, piped: list[Value]) -> Value:
        first, *rest = operands
        if not isinstance(first, Name):
            if rest or piped:
                raise _error("can't give argument to non-function")
            return self._operand(first, dot)
        if first.name in ("and", "or"):
            return self._choice(first.name, rest, dot, piped)
        arguments = [self._operand(operand, dot) for operand in rest] + piped
        try:
            return self._functions[first.name](*arguments)
        except CallError as error:
            raise _error(f"error calling {first.name}: {error.what}") from None
        except TypeError:
            raise _error(f"wrong number of args for {first.name}: got {len(arguments)}") from None

    def _choice(
        self, name: str, operands: Sequence[Operand], dot: Value, piped: list[Value]
    ) -> Value:
        """`and` and `or` look at no more operands than they need."""
        value: Value = None
        for operand in operands:
            value = self._operand(operand, dot)
            if true(value) is (name == "or"):
                return value
        if piped:
            return piped[0]
        if not operands:
            raise _error(f"wrong number of args for {name}: got 0")
        return value

    def _operand(self, operand: Operand, dot: Value) -> Value:
        match operand:
            case Literal():
                return operand.value
            case Name():
                return self._command((operand,), dot, [])
            case Chain():
                value = self._start(operand, dot)
                for name in operand.fields:
                    value = _field(value, name)
                return value

    def _start(self, chain: Chain, dot: Value) -> Value:
        if chain.start is None:
            return dot
        if isinstance(chain.start, Pipe):
            return self._pipe(chain.start, dot)
        for scope in reversed(self._scopes):
            if chain.start in scope:
                return scope[chain.start]
        raise _error(f"undefined variable {chain.start!r}")


def _items(value: Value) -> list[tuple[Value, Value]]:
    if value is None or value is NO_VALUE:
        return []
    if isinstance(value, Mapping):
        return [(key, value[key]) for key in sorted(value)]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(enumerate(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return [(at, at) for at in range(value)]
    raise _error(f"range can't iterate over {plain(value)}")


def _field(value: Value, name: str) -> Value:
    if isinstance(value, Record):
        if name in value.fields:
            return value.fields[name]
        raise _error(
            f"can't evaluate field {name} in type {value.type_name}",
            hint=f"it has {', '.join(value.fields)}",
        )
    if isinstance(value, Mapping):
        return value.get(name, NO_VALUE)
    if value is None or value is NO_VALUE:
        raise _error(f"nil pointer evaluating .{name}")
    raise _error(f"can't evaluate field {name} in {plain(value)}")


def _error(what: str, *, hint: str = "") -> UsageError:
    return UsageError(f"template: {what}", hint=hint)
