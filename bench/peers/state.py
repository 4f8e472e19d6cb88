"""The directories that a peer keeps its state in, a fresh one whenever it shall forget."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_LARGE = 1 << 20


class State:
    """`path` is the directory in use.

    What is over is deleted at the very end: for some minutes ext4 avoids the inodes of deleted
    files, and looks at every one of them whenever a file is made. After twenty thousand deletions
    each new file takes 0.2 ms, and a benchmark would measure that. Large files are few, and go at
    once.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._number = 0

    @property
    def path(self) -> Path:
        return self._place / str(self._number)

    def renew(self) -> None:
        """Make a fresh directory the one in use."""
        for directory, _, names in os.walk(self.path):
            for name in names:
                path = os.path.join(directory, name)
                with contextlib.suppress(OSError):
                    if os.lstat(path).st_size > _LARGE:
                        os.unlink(path)
        self._number += 1
        self.path.mkdir(parents=True)

    def remove(self) -> None:
        """Delete everything, files of mapped users included."""
        try:
            shutil.rmtree(self._place)
        except FileNotFoundError:
            pass
        except PermissionError:
            argv = ["unshare", "--map-root-user", "--map-auto", "rm", "-rf", str(self._place)]
            subprocess.run(argv, check=True)
