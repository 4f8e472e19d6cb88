"""One sentence of what to try when a step failed, from its exit code and its last lines."""

from __future__ import annotations

import re
from typing import NamedTuple

_ELSEWHERE = (
    "build that part on $BUILDPLATFORM, or try another QEMU (`viaduct doctor` tells what is known "
    "of this one)"
)
_CRASHED = f"the program crashed under emulation: {_ELSEWHERE}"
_UNKNOWN_INSTRUCTION = (
    "the emulator does not know an instruction of the program, as happens with .NET and new "
    f"versions of Node.js: {_ELSEWHERE}"
)


#: What a shell says of a program that it found and could not start.
_NOT_EXECUTABLE = 126


class _Rule(NamedTuple):
    """`sentence` for output that matches `pattern`; with `emulated`, of emulated steps only. The
    exit code `unless` says more than the output."""

    pattern: str
    sentence: str
    emulated: bool = False
    unless: int = 0


#: The first that matches counts. An emulator's own words come first: what its death makes other
#: programs say (dpkg, make) only hides it.
_OUTPUT = (
    _Rule(r"qemu: uncaught target signal 4\b", _UNKNOWN_INSTRUCTION),
    _Rule(r"qemu: uncaught target signal (?:6|7|11)\b", _CRASHED),
    _Rule(
        r"qemu\S*: Unsupported syscall|Function not implemented",
        f"the emulator lacks a system call that the program needs: {_ELSEWHERE}",
        emulated=True,
    ),
    _Rule(
        r"effective uid is not 0|must be owned by uid 0 and have the setuid bit set",
        "the machine's emulator was registered without flag C, and set-uid programs gain nothing: "
        "replace it with viaduct binfmt --uninstall 'qemu-*' --install all",
        emulated=True,
    ),
    _Rule(
        r"[Ee]xec format error|cannot execute binary file",
        "the program is built for another machine: check that what the Dockerfile downloads or "
        "copies follows $TARGETARCH",
    ),
    _Rule(
        r"bad interpreter|\^M: ",
        "a script's first line names an interpreter that the image has not; with line ends of "
        "Windows its name ends with a carriage return",
    ),
    _Rule(
        r"Unable to locate package|has no installation candidate|404 +Not Found",
        "the package lists are missing or old: run apt-get update in the same RUN as the install",
    ),
    _Rule(
        r"Temporary failure (?:in name resolution|resolving)|Could not resolve|bad address",
        "the step has no working network: check the host's DNS and proxy, or --network",
    ),
    _Rule(
        r"/dev/shm\b.*No space left|No space left.*/dev/shm\b",
        "give the step more shared memory: --shm-size=1g (64m unless it is said)",
    ),
    _Rule(r"No space left on device", "free some disk space, then build again"),
    _Rule(
        r"[Pp]ermission denied",
        "the step may not touch that file: check USER, and --chmod or --chown of the COPY",
        unless=_NOT_EXECUTABLE,
    ),
    _Rule(
        r"Value too large for defined data type",
        "a 32-bit program meets 64-bit inodes: put the directory on --mount=type=tmpfs",
    ),
)

_CODES = {
    _NOT_EXECUTABLE: "the command exists but cannot be executed: check its mode and its #! line",
    127: "the command was not found in the image: check its spelling, or install it first",
    132: "the program used an instruction that the processor or its emulator does not know",
    137: "the step was killed, most often for want of memory: build fewer platforms at once",
    139: "the program crashed with a segmentation fault",
}

_EMULATED = {
    132: _UNKNOWN_INSTRUCTION,
    134: _CRASHED,
    135: _CRASHED,
    139: _CRASHED,
}


def advice(exit_code: int, output: str, *, emulated: bool = False) -> str:
    """The sentence; a general one where nothing more is known."""
    for rule in _OUTPUT:
        if exit_code == rule.unless or (rule.emulated and not emulated):
            continue
        if re.search(rule.pattern, output):
            return rule.sentence
    if emulated and exit_code in _EMULATED:
        return _EMULATED[exit_code]
    return _CODES.get(
        exit_code, "mend the command at the marked line; the steps before it stay cached"
    )
