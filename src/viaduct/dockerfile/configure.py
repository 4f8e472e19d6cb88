"""Instructions that change nothing but the image's configuration."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile.expand import expand_words
from viaduct.dockerfile.gotext import format_duration, parse_int, quote_list
from viaduct.dockerfile.ports import exposed_ports
from viaduct.oci import models

if TYPE_CHECKING:
    from viaduct.dockerfile.leg import Leg
    from viaduct.dockerfile.state import StageState
    from viaduct.dockerfile.syntax import (
        Cmd,
        CommandLine,
        Entrypoint,
        Expose,
        Healthcheck,
        Label,
        Maintainer,
        Onbuild,
        Shell,
        StopSignal,
        Volume,
    )

_SIGNALS = frozenset(
    "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT "
    "STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX".split()
)
_REAL_TIME = re.compile(r"RTMIN\+([1-9]|1[0-5])|RTMAX-([1-9]|1[0-4])")


def cmd(_leg: Leg, state: StageState, instruction: Cmd) -> None:
    state.image.cmd = _command(state, instruction)
    state.image.args_escaped = True
    state.has_cmd = True
    state.image.record(f"CMD {quote_list(state.image.cmd)}")


def entrypoint(_leg: Leg, state: StageState, instruction: Entrypoint) -> None:
    state.image.entrypoint = _command(state, instruction)
    if not state.has_cmd:
        # The base's default arguments were meant for the base's program.
        state.image.cmd = ()
    state.image.record(f"ENTRYPOINT {quote_list(state.image.entrypoint)}")


def _command(state: StageState, instruction: CommandLine) -> tuple[str, ...]:
    words = tuple(word.text for word in instruction.args)
    return words if instruction.json else state.image.with_shell(words)


def shell(_leg: Leg, state: StageState, instruction: Shell) -> None:
    state.image.shell = tuple(word.text for word in instruction.args)
    state.image.record(f"SHELL [{' '.join(state.image.shell)}]")


def label(leg: Leg, state: StageState, instruction: Label) -> None:
    pairs = [(leg.word(state, pair.key), leg.word(state, pair.value)) for pair in instruction.pairs]
    state.image.labels.update(pairs)
    state.image.record("LABEL " + " ".join(f"{key}={value}" for key, value in pairs))


def maintainer(_leg: Leg, state: StageState, instruction: Maintainer) -> None:
    state.image.author = instruction.author.text
    state.image.record(f"MAINTAINER {state.image.author}")


def onbuild(_leg: Leg, state: StageState, instruction: Onbuild) -> None:
    state.image.on_build.append(instruction.expression)


def volume(leg: Leg, state: StageState, instruction: Volume) -> None:
    paths = [leg.word(state, path) for path in instruction.paths]
    if not all(paths):
        raise DockerfileError("VOLUME specified can not be an empty string")
    state.image.volumes.update((path, {}) for path in paths)
    state.image.record(f"VOLUME [{' '.join(paths)}]")


def expose(leg: Leg, state: StageState, instruction: Expose) -> None:
    ports = [
        port
        for text in sorted(word.text for word in instruction.ports)
        for word in expand_words(text, state.env, escape=leg.escape)
        for port in exposed_ports(word)
    ]
    state.image.ports.update((port, {}) for port in ports)
    state.image.record(f"EXPOSE [{' '.join(ports)}]")


def stop_signal(leg: Leg, state: StageState, instruction: StopSignal) -> None:
    signal = leg.word(state, instruction.signal)
    if not _is_signal(signal):
        raise DockerfileError(f"invalid signal: {signal}")
    state.image.stop_signal = signal
    state.image.record(f"STOPSIGNAL {signal}")


def _is_signal(text: str) -> bool:
    try:
        return parse_int(text) != 0
    except ValueError:
        name = text.upper().removeprefix("SIG")
        return name in _SIGNALS or _REAL_TIME.fullmatch(name) is not None


def healthcheck(_leg: Leg, state: StageState, instruction: Healthcheck) -> None:
    check = state.image.healthcheck = models.Healthcheck(
        test=instruction.test,
        interval=instruction.interval,
        timeout=instruction.timeout,
        start_period=instruction.start_period,
        start_interval=instruction.start_interval,
        retries=instruction.retries,
    )
    state.image.record(
        f"HEALTHCHECK {{Test:[{' '.join(check.test)}] "
        f"Interval:{format_duration(check.interval)} "
        f"Timeout:{format_duration(check.timeout)} "
        f"StartPeriod:{format_duration(check.start_period)} "
        f"StartInterval:{format_duration(check.start_interval)} "
        f"Retries:{check.retries}}}"
    )
