"""Rules about what ends up in the image's configuration: JSONArgsRecommended,
MultipleInstructionsDisallowed, ExposeProtoCasing, ExposeInvalidFormat, SecretsUsedInArgOrEnv."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viaduct.dockerfile.gotext import quote
from viaduct.dockerfile.lint.rule import Hit, Rule
from viaduct.dockerfile.syntax import Arg, Cmd, Entrypoint, Env, Expose, Healthcheck, Shell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viaduct.dockerfile.lint.checked import Checked, StageView
    from viaduct.dockerfile.syntax import Instruction

_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)


def _json_args(checked: Checked) -> Iterator[Hit]:
    for view in checked.visible:
        has_shell = _inherits_shell(checked, view)
        for instruction in checked.run(view):
            if isinstance(instruction, Shell):
                has_shell = True
            elif isinstance(instruction, (Cmd, Entrypoint)) and not (instruction.json or has_shell):
                yield Hit(
                    f"JSON arguments recommended for {instruction.keyword} to prevent unintended "
                    "behavior related to OS signals",
                    instruction,
                )


def _inherits_shell(checked: Checked, view: StageView) -> bool:
    """Whether a stage starts with a SHELL of its image or of the stages before it."""
    above = list(checked.chain(view))
    return above[-1].facts.has_shell or any(
        isinstance(instruction, Shell)
        for parent in above[1:]
        for instruction in checked.run(parent)
    )


def _multiple(checked: Checked) -> Iterator[Hit]:
    for view in checked.visible:
        last: dict[str, Instruction] = {}
        for instruction in checked.run(view):
            if not isinstance(instruction, (Cmd, Entrypoint, Healthcheck)):
                continue
            before = last.get(instruction.name)
            if before is not None:
                # The earlier one is the one without effect.
                yield Hit(
                    f"Multiple {instruction.keyword} instructions should not be used in the same "
                    "stage because only the last one will be used",
                    before,
                )
            last[instruction.name] = instruction


def _ports(checked: Checked) -> Iterator[tuple[Expose, str]]:
    for view in checked.visible:
        for instruction, scope in checked.steps(view):
            if isinstance(instruction, Expose):
                for word in instruction.ports:
                    for port in scope.split(word.text) or ():
                        yield instruction, port


def _protocol(checked: Checked) -> Iterator[Hit]:
    for instruction, port in _ports(checked):
        protocol = port.rpartition(":")[2].partition("/")[2]
        if protocol != protocol.lower():
            yield Hit(
                f"Defined protocol '{port}' in EXPOSE instruction should be lowercase", instruction
            )


def _format(checked: Checked) -> Iterator[Hit]:
    for instruction, port in _ports(checked):
        if port.rpartition(":")[0].strip(":"):
            yield Hit(
                "EXPOSE instruction should not define an IP address or host-port mapping, found "
                f"'{port}'",
                instruction,
            )


def _secrets(checked: Checked) -> Iterator[Hit]:
    for view in checked.visible:
        for instruction in checked.run(view):
            if isinstance(instruction, (Arg, Env)):
                for pair in instruction.pairs:
                    name = pair.key.text
                    if _SECRET.search(name) and not _NO_SECRET.search(name):
                        yield Hit(
                            "Do not use ARG or ENV instructions for sensitive data "
                            f"({instruction.name} {quote(name)})",
                            instruction,
                        )


JSON_ARGS_RECOMMENDED = Rule(
    "JSONArgsRecommended",
    "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS "
    "signals",
    _json_args,
)

MULTIPLE_INSTRUCTIONS_DISALLOWED = Rule(
    "MultipleInstructionsDisallowed",
    "Multiple instructions of the same type should not be used in the same stage",
    _multiple,
)

EXPOSE_PROTO_CASING = Rule(
    "ExposeProtoCasing", "Protocol in EXPOSE instruction should be lowercase", _protocol
)

EXPOSE_INVALID_FORMAT = Rule(
    "ExposeInvalidFormat",
    "IP address and host-port mapping should not be used in EXPOSE instruction. This will become "
    "an error in a future release",
    _format,
)

SECRETS_USED_IN_ARG_OR_ENV = Rule(
    "SecretsUsedInArgOrEnv",
    "Sensitive data should not be used in the ARG or ENV commands",
    _secrets,
)
