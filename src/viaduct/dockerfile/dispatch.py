"""Instructions applied to their stage, one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile import configure
from viaduct.dockerfile.arguments import SCAN_ARGS
from viaduct.dockerfile.copying import copy
from viaduct.dockerfile.gotext import clean
from viaduct.dockerfile.leg import absolute, check_owner, native_path, owner_of
from viaduct.dockerfile.naming import shown, step_name
from viaduct.dockerfile.running import run
from viaduct.dockerfile.state import DeclaredArg
from viaduct.dockerfile.syntax import (
    Arg,
    Cmd,
    CopyAdd,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from viaduct.graph.ops import MakeDir

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from viaduct.dockerfile.leg import Leg
    from viaduct.dockerfile.state import Command, StageState


def start_stage(leg: Leg, state: StageState) -> None:
    """Take over what the base image or stage says about environment, directory and user."""
    state.inherit()
    platform = state.platform = state.platform or leg.platform
    image = state.image
    image.set_default_path(platform.os)
    for key, value in image.environment():
        state.set_env(key, value)
    if image.working_dir:
        path = absolute(image.working_dir, image.working_dir, platform.os)
        state.directory, image.working_dir = path, native_path(path, platform.os)
    if image.user:
        state.user = image.user


def dispatch_stage(leg: Leg, state: StageState) -> None:
    """Apply all instructions. Raises `DockerfileError` at the instruction that fails."""
    start_stage(leg, state)
    state.dispatched = True
    for command in state.commands:
        state.in_trigger = command.in_trigger
        try:
            _DISPATCH[type(command.instruction)](leg, state, command)
        except DockerfileError as error:
            error.where = error.where or command.instruction.span
            raise


def _arg(leg: Leg, state: StageState, command: Command) -> None:
    instruction = command.instruction
    assert isinstance(instruction, Arg)
    recorded: list[str] = []
    for pair in instruction.pairs:
        key = pair.key.text
        value = leg.args.build_args.get(key)
        inherited = value is None and pair.value is None and key in leg.args.values
        if inherited:
            value = leg.args.values[key]
        elif value is None and pair.value is not None:
            value = leg.word(state, pair.value)
        if value is not None and key not in SCAN_ARGS:
            state.set_env(key, value)
        if not inherited:
            state.declared[key] = DeclaredArg(pair, instruction.span, value or "", set())
        state.read_args.add(key)
        state.args[key] = value
        recorded.append(key if value is None else f"{key}={value}")
    state.image.record(f"ARG {' '.join(recorded)}")


def _env(leg: Leg, state: StageState, command: Command) -> None:
    instruction = command.instruction
    assert isinstance(instruction, Env)
    # All words see the values from before this instruction.
    pairs = [(leg.word(state, pair.key), leg.word(state, pair.value)) for pair in instruction.pairs]
    for key, value in pairs:
        state.set_env(key, value)
        state.image.set_env(key, value)
    state.image.record("ENV " + " ".join(f"{key}={value}" for key, value in pairs))


def _workdir(leg: Leg, state: StageState, command: Command) -> None:
    instruction = command.instruction
    assert isinstance(instruction, Workdir)
    image = state.image
    system = (state.platform or leg.platform).os
    path = absolute(leg.word(state, instruction.path), image.working_dir, system)
    state.directory, image.working_dir = path, native_path(path, system)
    makes_layer = path != "/"
    if makes_layer:
        owner = owner_of(image.user)
        check_owner(owner, state.edge, hint="write the user in numbers, or put USER after WORKDIR")
        name = step_name(
            state,
            shown(instruction.code, state.env, leg.escape),
            state.platform,
            state.env,
        )
        action = MakeDir(
            path=clean(path),
            owner=owner,
            epoch=-1 if leg.epoch is None else leg.epoch,
        )
        state.edge = leg.file((action,), state.edge, (), name, instruction.span)
    image.record(f"WORKDIR {path}", layer=makes_layer)


def _user(leg: Leg, state: StageState, command: Command) -> None:
    instruction = command.instruction
    assert isinstance(instruction, User)
    state.user = state.image.user = leg.word(state, instruction.user)
    state.image.record(f"USER {state.user}")


def _configuring(apply: Callable[[Leg, StageState, Any], None]) -> Callable[..., None]:
    def handler(leg: Leg, state: StageState, command: Command) -> None:
        apply(leg, state, command.instruction)

    return handler


_DISPATCH: Mapping[type, Callable[[Leg, StageState, Command], None]] = {
    Arg: _arg,
    Cmd: _configuring(configure.cmd),
    CopyAdd: copy,
    Entrypoint: _configuring(configure.entrypoint),
    Env: _env,
    Expose: _configuring(configure.expose),
    Healthcheck: _configuring(configure.healthcheck),
    Label: _configuring(configure.label),
    Maintainer: _configuring(configure.maintainer),
    Onbuild: _configuring(configure.onbuild),
    Run: run,
    Shell: _configuring(configure.shell),
    StopSignal: _configuring(configure.stop_signal),
    User: _user,
    Volume: _configuring(configure.volume),
    Workdir: _workdir,
}
