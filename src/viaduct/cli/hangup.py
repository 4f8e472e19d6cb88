"""Ending when docker ends.

Docker's command line opens a socket for its plugin and closes it when it is asked to stop: a signal
that is sent to docker alone reaches the plugin in this way only. Closing is turned into a SIGTERM
by the kernel, because a thread that waits for it would keep the process out of user namespaces.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_VARIABLE = "DOCKER_CLI_PLUGIN_SOCKET"


@contextlib.contextmanager
def watched(env: Mapping[str, str]) -> Iterator[None]:
    """Have SIGTERM sent to this process when docker closes its socket, if there is one."""
    with contextlib.ExitStack() as stack:
        # A docker that is gone already, or that has another idea of the socket, changes nothing.
        with contextlib.suppress(OSError):
            if name := env.get(_VARIABLE):
                _watch(stack.enter_context(socket.socket(socket.AF_UNIX)), name)
        yield


def _watch(link: socket.socket, name: str) -> None:
    # An @ stands for the zero byte that begins a name outside of the file system.
    link.connect("\0" + name[1:] if name.startswith("@") else name)
    fcntl.fcntl(link, fcntl.F_SETSIG, signal.SIGTERM)
    fcntl.fcntl(link, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(link, fcntl.F_SETFL, fcntl.fcntl(link, fcntl.F_GETFL) | os.O_ASYNC)
