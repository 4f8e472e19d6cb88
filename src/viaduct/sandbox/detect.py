"""Finding out which platforms run here, by a process that does it while ours goes on.

It leaves for a small user namespace of its own, in which there is nobody else, and registers every
emulator there. A build's namespaces have more to them, but nothing that emulators depend on.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, NoReturn

from viaduct.base.errors import SandboxError
from viaduct.sandbox import syscalls
from viaduct.sandbox.supported import supported

if TYPE_CHECKING:
    from collections.abc import Callable


def begin() -> Callable[[], tuple[str, ...]]:
    """Begin to find out; what is returned waits for the answer: the names of the platforms that
    this machine builds for, each tried by running a program.

    Where namespaces are forbidden, what the machine's own table of emulators runs counts.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(write)
    os.close(write)

    def answer() -> tuple[str, ...]:
        with open(read, "rb") as said:
            names = said.read().decode().split()
        os.waitpid(child, 0)
        if not names:
            raise SandboxError("the process that tries emulators was killed before it could answer")
        return tuple(names)

    return answer


def _answer(write: int) -> NoReturn:
    """Be the child. Whatever happens, nothing of the parent's is run on the way out."""
    try:
        syscalls.die_with_parent(signal.SIGKILL)
        names = map(str, supported(own_namespace=_alone()))
        os.write(write, "\n".join(names).encode())
    finally:
        os._exit(0)


def _alone() -> bool:
    """Leave for a user namespace in which only we exist, as root; false where that is forbidden."""
    uid, gid = os.geteuid(), os.getegid()
    files = {"setgroups": b"deny", "gid_map": b"0 %d 1" % gid, "uid_map": b"0 %d 1" % uid}
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
        for name, data in files.items():
            with open(f"/proc/self/{name}", "wb") as file:
                file.write(data)
    except OSError:
        return False
    return True
