"""What every command of one invocation shares: the environment and the global options."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Session:
    """One run of the command line. `prog` is how it was called (`viaduct`, `docker buildx`);
    `builder` and `debug` are the global options, which may stand before or after the command."""

    def __init__(self, env: Mapping[str, str], prog: str = "viaduct") -> None:
        self.env = env
        self.prog = prog
        self.builder = ""
        self.debug = False

    @property
    def stderr_is_terminal(self) -> bool:
        return sys.stderr.isatty() and self.env.get("TERM") != "dumb"

    @property
    def colors(self) -> bool:
        """Whether standard error may carry colours (https://no-color.org)."""
        return self.stderr_is_terminal and not self.env.get("NO_COLOR")
