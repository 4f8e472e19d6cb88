"""Stages while they are lowered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile.imagestate import ImageState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viaduct.base.spans import Span
    from viaduct.dockerfile.syntax import ArgPair, Instruction, Stage
    from viaduct.graph.node import Edge
    from viaduct.oci.models import ImageConfig
    from viaduct.oci.platform import Platform


class Command:
    """An instruction of a stage with the stages that it reads.

    `sources` has one entry for `COPY --from` and one for each mount of RUN.
    """

    __slots__ = ("in_trigger", "instruction", "sources")

    def __init__(
        self, instruction: Instruction, sources: list[StageState], *, in_trigger: bool = False
    ) -> None:
        self.instruction = instruction
        self.sources = sources
        self.in_trigger = in_trigger


class DeclaredArg:
    """An ARG for the outline: its value, its definition, and the arguments its default reads."""

    __slots__ = ("needs", "pair", "value", "where")

    def __init__(self, pair: ArgPair, where: Span, value: str, needs: set[str]) -> None:
        self.pair = pair
        self.where = where
        self.value = value
        self.needs = needs


class StageState:
    """A stage, or an image that a COPY or a mount names (then `stage` is None and it has no body).

    `edge` is its file system so far (None: empty), `env` what RUN sees, in order of the last
    assignment. `args` are the declared build arguments by name. `label` is what step names call
    the stage. `dispatched` says that the file system is ready to be read.
    """

    def __init__(self, stage: Stage | None, base_name: str, where: Span, epoch: str) -> None:
        self.stage = stage
        self.base_name = base_name
        self.where = where
        self.label = stage.name if stage else ""
        self.platform: Platform | None = None
        self.base: StageState | None = None
        self.context_key = ""
        self.commands: list[Command] = []
        self.needs: dict[StageState, Instruction] = {}
        self.dispatched = False
        self.resolved = False
        self.triggers_read = False
        self.triggers: list[Instruction] = []

        self.edge: Edge | None = None
        self.image = ImageState(None, epoch)
        self.base_config: ImageConfig | None = None
        self.image_config: ImageConfig | None = None
        self.env: dict[str, str] = {}
        self.directory = "/"
        self.user = ""
        self.args: dict[str, str | None] = {}
        self.has_cmd = False

        self.no_cache = False
        self.show_platform = False
        self.step = 0
        self.step_count = 0
        self.in_trigger = False

        self.declared: dict[str, DeclaredArg] = {}
        self.read_args: set[str] = set()
        self.secrets: dict[str, tuple[Span, bool]] = {}
        self.ssh: dict[str, tuple[Span, bool]] = {}

    @property
    def name(self) -> str:
        """The name in the file, or empty."""
        return self.stage.name if self.stage else ""

    def inherit(self) -> None:
        """Start from the stage that this one is built on, as it is now."""
        base = self.base
        if base is None:
            return
        self.edge = base.edge
        self.platform = base.platform
        self.image = base.image.copy()
        self.image.on_build.clear()
        self.base_config = base.base_config
        self.env = dict(base.env)
        self.directory = base.directory
        self.user = base.user
        self.args = {**base.args, **self.args}

    def set_env(self, key: str, value: str) -> None:
        """Set a variable for RUN; a new assignment moves it to the end."""
        self.env.pop(key, None)
        self.env[key] = value


class StageTable:
    """All stages by order and name."""

    def __init__(self) -> None:
        self.states: list[StageState] = []
        self._by_name: dict[str, StageState] = {}

    def add(self, state: StageState) -> None:
        """Append a stage. One of an earlier stage's name as its base is built on that stage."""
        self.states.append(state)
        base = self._by_name.get(state.base_name)
        if base is not None:
            state.base = base
            state.declared = dict(base.declared)
            state.read_args = set(base.read_args)
        if state.name:
            self._by_name[state.name] = state

    def named(self, name: str) -> StageState | None:
        return self._by_name.get(name.lower())

    def at(self, index: int) -> StageState:
        """Raises `DockerfileError`."""
        if not 0 <= index < len(self.states):
            raise DockerfileError(f"invalid stage index {index}")
        return self.states[index]

    def labels(self) -> list[str]:
        """The names that a person may have meant."""
        return [state.label for state in self.states if state.label]


def reachable(target: StageState) -> Iterator[StageState]:
    """The target and every stage it stands on or reads from."""
    seen: set[StageState] = set()
    waiting = [target]
    while waiting:
        state = waiting.pop()
        if state in seen:
            continue
        seen.add(state)
        yield state
        if state.base is not None:
            waiting.append(state.base)
        waiting.extend(state.needs)


def check_circles(states: list[StageState]) -> None:
    """Raises `DockerfileError` when a stage reads from itself by some way."""
    done: set[StageState] = set()
    for root in states:
        # Each entry of the path: a stage, and what it still has to be asked about.
        path = [(root, iter(root.needs.items()))] if root not in done else []
        done.add(root)
        while path:
            for other, instruction in path[-1][1]:
                if any(other is state for state, _ in path):
                    raise DockerfileError(
                        f"circular dependency detected on stage: {root.label}",
                        where=instruction.span,
                    )
                if other not in done:
                    done.add(other)
                    path.append((other, iter(other.needs.items())))
                    break
            else:
                path.pop()
