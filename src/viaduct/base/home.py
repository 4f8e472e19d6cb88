"""Where state lives: pure path arithmetic, makes nothing."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def state_root(env: Mapping[str, str], *, uid: int | None = None) -> Path:
    """The one directory that holds everything Viaduct remembers.

    `$VIADUCT_HOME`, else `/var/lib/viaduct` for root, else `$XDG_DATA_HOME/viaduct` with the
    freedesktop default `~/.local/share`.
    """
    if home := env.get("VIADUCT_HOME"):
        return Path(home).absolute()
    if (os.getuid() if uid is None else uid) == 0:
        return Path("/var/lib/viaduct")
    data = env.get("XDG_DATA_HOME") or user_home(env, uid=uid) / ".local/share"
    return Path(data).absolute() / "viaduct"


def user_home(env: Mapping[str, str], *, uid: int | None = None) -> Path:
    """The person's home directory: `$HOME`, else what the machine's list of users says, else `/`.

    `uid` is for processes that are root of a user namespace and somebody else outside.
    """
    if home := env.get("HOME"):
        return Path(home)
    try:
        return Path(pwd.getpwuid(os.getuid() if uid is None else uid).pw_dir)
    except KeyError:
        return Path("/")
