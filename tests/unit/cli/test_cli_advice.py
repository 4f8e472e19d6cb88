"""What is said of a step that failed under emulation, by what it printed."""

from __future__ import annotations

import pytest

from viaduct.cli.progress.advice import advice

_DPKG = """Setting up libc-bin (2.35-0ubuntu3.8) ...
qemu: uncaught target signal 11 (Segmentation fault) - core dumped
Segmentation fault (core dumped)
dpkg: error processing package libc-bin (--configure):
 installed libc-bin package post-installation script subprocess returned error exit status 139
E: Sub-process /usr/bin/dpkg returned an error code (1)
"""


@pytest.mark.parametrize(
    ("code", "output", "emulated", "parts"),
    [
        (100, _DPKG, True, ("crashed under emulation", "$BUILDPLATFORM", "viaduct doctor")),
        (
            1,
            "qemu: uncaught target signal 4 (Illegal instruction) - core dumped\n",
            True,
            ("does not know an instruction", "Node.js", "$BUILDPLATFORM"),
        ),
        (132, "", True, ("does not know an instruction",)),
        (134, "", True, ("crashed under emulation",)),
        (134, "", False, ("marked line",)),
        (1, "qemu: Unsupported syscall: 441\n", True, ("lacks a system call",)),
        (1, "fanotify_init: Function not implemented\n", False, ("marked line",)),
        (
            1,
            "sudo: effective uid is not 0, is /usr/bin/sudo on a file system with 'nosuid'?\n",
            True,
            ("without flag C", "viaduct binfmt --uninstall 'qemu-*' --install all"),
        ),
        (126, "bash: ./tool: cannot execute binary file", False, ("$TARGETARCH",)),
        (126, "/bin/sh: ./tool: Permission denied", False, ("its mode and its #! line",)),
        (126, "bash: ./run: /bin/bash^M: bad interpreter", False, ("carriage return",)),
        (1, "find: '/x': Value too large for defined data type", True, ("32-bit", "tmpfs")),
    ],
)
def test_an_emulators_own_words_decide(
    code: int, output: str, parts: tuple[str, ...], *, emulated: bool
) -> None:
    sentence = advice(code, output, emulated=emulated)
    assert all(part in sentence for part in parts), sentence
