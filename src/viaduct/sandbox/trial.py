"""Trying something inside of the namespaces without moving there oneself.

A child process enters them as a build would, does the work, and tells what came out. The caller
stays where it is: outside, where the machine's own tables and knobs are to be seen.
"""

from __future__ import annotations

import contextlib
import os
import pickle
from typing import TYPE_CHECKING, NoReturn, TypeVar

from viaduct.base.errors import SandboxError
from viaduct.sandbox import binfmt, enter, kernel
from viaduct.sandbox.namespace import entered
from viaduct.sandbox.roads import PRIVATE_SINCE

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


def in_namespaces(work: Callable[[], _T]) -> _T:
    """The result of `work`, called inside of the namespaces.

    What it returns has to be picklable. Raises what `viaduct.sandbox.enter.enter` and `work` raise.
    """
    if entered():
        return work()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _work(work, write)
    os.close(write)
    with open(read, "rb") as said:
        data = said.read()
    os.waitpid(child, 0)
    if not data:
        raise SandboxError("a process in a new namespace was killed before it could answer")
    result, error = pickle.loads(data)
    if error is not None:
        raise error
    answer: _T = result
    return answer


def private_table() -> bool:
    """Whether a build here has a binfmt_misc table of its own. Takes about 10 milliseconds."""
    if kernel.version() < PRIVATE_SINCE:
        return False

    def work() -> bool:
        os.close(binfmt.open_private())
        return True

    with contextlib.suppress(SandboxError, OSError):
        return in_namespaces(work)
    return False


def _work(work: Callable[[], object], write: int) -> NoReturn:
    """Be the child. Whatever happens, nothing of the caller's is run on the way out."""
    try:
        answer: tuple[object, BaseException | None] = (None, None)
        try:
            enter.enter()
            answer = (work(), None)
        except Exception as error:  # noqa: BLE001 - handed to the parent, which raises it
            answer = (None, error)
        with open(write, "wb") as out:
            pickle.dump(answer, out)
    finally:
        os._exit(0)
