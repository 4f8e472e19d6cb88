"""Which flags an instruction takes, and what may be wrong with one."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile.suggest import with_suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viaduct.dockerfile.syntax import Flag


class Kind(Enum):
    """What a flag holds; only a LIST may be given more than once."""

    BOOL = "bool"
    TEXT = "text"
    LIST = "list"


_BOOL, _TEXT, _LIST = Kind.BOOL, Kind.TEXT, Kind.LIST

FLAGS: Mapping[str, Mapping[str, Kind]] = {
    "ADD": {
        "checksum": _TEXT,
        "chmod": _TEXT,
        "chown": _TEXT,
        "exclude": _LIST,
        "keep-git-dir": _BOOL,
        "link": _BOOL,
        "unpack": _BOOL,
    },
    "COPY": {
        "chmod": _TEXT,
        "chown": _TEXT,
        "exclude": _LIST,
        "from": _TEXT,
        "link": _BOOL,
        "parents": _BOOL,
    },
    "FROM": {"platform": _TEXT},
    "HEALTHCHECK": {
        "interval": _TEXT,
        "retries": _TEXT,
        "start-interval": _TEXT,
        "start-period": _TEXT,
        "timeout": _TEXT,
    },
    "RUN": {"device": _LIST, "mount": _LIST, "network": _TEXT, "security": _TEXT},
}


def check_flags(instruction: str, flags: tuple[Flag, ...]) -> None:
    """Raises `DockerfileError` for a flag that the instruction does not take as it is given."""
    if not flags:
        return
    known = FLAGS.get(instruction, {})
    seen: set[str] = set()
    for flag in flags:
        kind = known.get(flag.name)
        if kind is None:
            message = f"unknown flag: --{flag.name}"
            raise DockerfileError(with_suggestion(message, flag.name, known))
        if flag.name in seen and kind is not Kind.LIST:
            raise DockerfileError(f"duplicate flag specified: --{flag.name}")
        seen.add(flag.name)
        missing = flag.value == "" if kind is Kind.BOOL else flag.value is None
        if missing:
            raise DockerfileError(f"missing a value on flag: --{flag.name}")
        if kind is Kind.BOOL and (flag.value or "true").lower() not in ("true", "false"):
            raise DockerfileError(
                f"expecting boolean value for flag --{flag.name}, not: {flag.value}"
            )
