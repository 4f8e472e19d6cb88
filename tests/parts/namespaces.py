"""Test functions that run as root of a user namespace, whoever runs the tests."""

from __future__ import annotations

import os
import signal
import traceback
import warnings
from typing import TYPE_CHECKING

from viaduct.sandbox.enter import enter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def as_root(test: Callable[..., None], place: Path) -> Callable[..., None]:
    """`test`, to run in namespaces such as every build has. What it makes at `place` belongs to
    the caller in the end."""

    def call(**arguments: object) -> None:
        said_read, said_write = os.pipe()
        with warnings.catch_warnings():
            # Other threads hold nothing that a test needs.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            os.close(said_read)
            os.write(said_write, _outcome(test, arguments, place))
            os._exit(0)
        os.close(said_write)
        try:
            with open(said_read, "rb") as said:
                outcome = said.read().decode(errors="replace")
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert outcome == "passed", outcome

    return call


def _outcome(test: Callable[..., None], arguments: dict[str, object], place: Path) -> bytes:
    try:
        enter(squash=False)
        try:
            test(**arguments)
        finally:
            for path in place.rglob("*"):
                os.chown(path, 0, 0, follow_symlinks=False)
    except BaseException:  # noqa: BLE001 - handed to the parent, which raises it
        return traceback.format_exc().encode(errors="replace")
    return b"passed"
