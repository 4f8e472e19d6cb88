"""An ssh agent as a step sees it: a real one, behind a socket that passes two requests on."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from viaduct.ops.ssh import agent_with_keys, forwarded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "mine", "-f", path], check=True
    )
    return path


@pytest.fixture
def agent(key: Path) -> Iterator[str]:
    with agent_with_keys([str(key)]) as path:
        yield path


@pytest.fixture
def step(agent: str, tmp_path: Path) -> Iterator[str]:
    """The socket that a step gets."""
    path = str(tmp_path / "step")
    with forwarded(agent, path, uid=os.getuid(), gid=os.getgid(), mode=0o600):
        yield path


def _ask(program: str, *arguments: str | Path, agent: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "SSH_AUTH_SOCK": agent}
    return subprocess.run(
        [program, *arguments], env=env, capture_output=True, text=True, check=False, timeout=20
    )


def test_a_step_lists_keys_and_signs_with_them(step: str, key: Path, tmp_path: Path) -> None:
    assert "mine" in _ask("ssh-add", "-l", agent=step).stdout
    (tmp_path / "text").write_text("text")
    public = key.with_suffix(".pub")
    key.unlink()
    signed = _ask(
        "ssh-keygen", "-Y", "sign", "-f", public, "-n", "file", tmp_path / "text", agent=step
    )
    assert signed.returncode == 0, signed.stderr
    assert (tmp_path / "text.sig").exists()


def test_a_step_cannot_change_the_agent(agent: str, step: str, key: Path) -> None:
    """Not its keys, and above all not have it load a library of the machine."""
    for attempt in (["-D"], ["-d", str(key)], [str(key)], ["-s", "/usr/lib/x.so"]):
        refused = _ask("ssh-add", *attempt, agent=step)
        assert refused.returncode != 0, attempt
    assert "mine" in _ask("ssh-add", "-l", agent=agent).stdout


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"\0\0\0\1\x16", b"\0\0\0\1\5"),
        (b"\0\0\0\1\x1b" * 2, b"\0\0\0\1\5" * 2),
        (b"\xff\xff\xff\xff\x0b", b""),
        (b"\0\0\0\0", b""),
        (b"\0\0", b""),
    ],
)
def test_what_an_agent_would_not_take_ends_in_no(step: str, sent: bytes, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(step)
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        got = b""
        # What was not read of the request makes the end of the connection a reset.
        with contextlib.suppress(ConnectionResetError):
            while data := sock.recv(100):
                got += data
    assert got == answer
