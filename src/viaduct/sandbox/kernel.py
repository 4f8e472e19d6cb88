"""Which Linux this is, and where it keeps things."""

from __future__ import annotations

import os
import re

#: Where the machine's table of emulators (binfmt_misc) is mounted.
EMULATORS = "/proc/sys/fs/binfmt_misc"


def version(release: str | None = None) -> tuple[int, int]:
    """Major and minor number of a kernel release (`6.18.44-fc`), by default of the running one."""
    match = re.match(r"(\d+)\.(\d+)", os.uname().release if release is None else release)
    return (int(match[1]), int(match[2])) if match else (0, 0)
