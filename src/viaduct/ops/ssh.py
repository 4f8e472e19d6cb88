"""Forwarding an ssh agent into a step (`RUN --mount=type=ssh`).

The step gets a socket of its own, with the owner and mode it asked for. Two requests are passed on
to the person's agent: to list the keys and to sign with one. So no key ever enters the sandbox, and
a step can neither remove keys, nor lock the agent, nor have it load a library.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from typing import TYPE_CHECKING

from viaduct.base import proc
from viaduct.base.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# draft-ietf-sshm-ssh-agent: SSH_AGENTC_REQUEST_IDENTITIES and SSH_AGENTC_SIGN_REQUEST.
_HARMLESS = (b"\x0b", b"\x0d")
_FAILURE = b"\x05"
# As OpenSSH's agent has it.
_LARGEST = 256 << 10


@contextlib.contextmanager
def forwarded(agent: str, path: str, *, uid: int, gid: int, mode: int) -> Iterator[None]:
    """A socket at `path` that leads to the agent's socket `agent` while the context lasts."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        os.chmod(path, mode)
        os.chown(path, uid, gid)
        listener.listen()
        thread = threading.Thread(target=_accept, args=(listener, agent), name="ssh", daemon=True)
        thread.start()
        try:
            yield
        finally:
            # Closing alone does not wake a thread that is blocked in accept.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _accept(listener: socket.socket, agent: str) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(client, agent), name="ssh", daemon=True).start()


def _serve(client: socket.socket, agent: str) -> None:
    """Answer one connection of the step, request by request, until either side has enough."""
    with client, socket.socket(socket.AF_UNIX) as upstream, contextlib.suppress(OSError):
        upstream.connect(agent)
        while request := _message(client):
            if request[:1] in _HARMLESS:
                upstream.sendall(_framed(request))
                answer = _message(upstream)
                if not answer:
                    return
            else:
                answer = _FAILURE
            client.sendall(_framed(answer))


def _message(sock: socket.socket) -> bytes:
    """The next message; empty at the end, and for one that no agent would take."""
    size = int.from_bytes(_exactly(sock, 4), "big")
    return _exactly(sock, size) if size <= _LARGEST else b""


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = sock.recv(size, socket.MSG_WAITALL) if size else b""
    return data if len(data) == size else b""


def _framed(message: bytes) -> bytes:
    return len(message).to_bytes(4, "big") + message


@contextlib.contextmanager
def agent_with_keys(keys: Sequence[str]) -> Iterator[str]:
    """A private ssh-agent that holds `keys` (paths of unencrypted private keys); yields its socket.

    Raises `BuildError` when ssh-agent is missing or a key cannot be used.
    """
    hint = "install the ssh client: apt-get install openssh-client"
    started = proc.run(["ssh-agent", "-s"], hint=hint).stdout.decode()
    found = dict(re.findall(r"(SSH_AUTH_SOCK|SSH_AGENT_PID)=([^;]+);", started))
    env = {**os.environ, **found}
    try:
        added = proc.run(["ssh-add", "-q", "--", *keys], env=env, check=False, hint=hint)
        if added.returncode != 0:
            text = added.stderr.decode(errors="replace").strip()
            raise BuildError(
                f"cannot use the ssh key: {text}",
                hint="forward an agent instead (--ssh default) if the key has a passphrase",
            )
        yield found["SSH_AUTH_SOCK"]
    finally:
        proc.run(["ssh-agent", "-k"], env=env, check=False)
