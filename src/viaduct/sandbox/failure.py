"""Why a step's program did not start, told so that a person can mend it.

OCI runtimes report a program that cannot be executed as an error of their own, each in its own
words and with status 1. Here that becomes the status a shell would give (127 not found, 126 not
executable) with the peers' message; a program for another machine becomes a `PlatformError`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viaduct.base.errors import PlatformError
from viaduct.base.values import Value
from viaduct.sandbox import emulate, programs, roads
from viaduct.sandbox.machines import of_uname
from viaduct.sandbox.spec import DEFAULT_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viaduct.sandbox.spec import ContainerSpec

NOT_EXECUTABLE = 126
NOT_FOUND = 127

# What runc and crun say, in that order, when the program itself is at fault.
_ABOUT_PROGRAM = re.compile(
    r'exec: "|^exec \S+: |executable file `|open executable: |exec container process', re.MULTILINE
)
_FORMAT = re.compile(r"exec format error", re.IGNORECASE)
_REFUSED = re.compile(
    r"permission denied|operation not permitted|is a directory|not executable", re.IGNORECASE
)
_ABSENT = re.compile(
    r"no such file or directory|not found in \$PATH|not found$", re.IGNORECASE | re.MULTILINE
)
# Some shells take a program of another machine for a script, and print it or stumble over it.
_MISREAD = re.compile(r"\x7fELF|syntax error", re.IGNORECASE)
# What QEMU says of a program whose dynamic loader is not there.
_EMULATOR_WANTS = re.compile(r"^qemu-\S+: Could not open '([^']+)': No such file")
_OTHER_LIBRARY = " is not in the image: it was linked for another C library (glibc, musl)"


class Verdict(Value):
    """How a step whose program did not start is reported."""

    status: int
    message: str
    hint: str = ""


def judge(container: ContainerSpec, said: str, *, machine: str) -> Verdict | None:
    """What the runtime's error `said` means for `container`, or None when the program is not to
    blame. `machine` is our own `uname -m`.

    Raises `PlatformError` when the program is for another machine.
    """
    if not _ABOUT_PROGRAM.search(said):
        return None
    name = container.args[0]
    path = _lookup(container, name)
    program = programs.inspect(container.rootfs, path) if path else None
    if program and (_FORMAT.search(said) or _ABSENT.search(said)):
        refused = _foreign(container, program, machine)
        if refused:
            raise refused
    if _FORMAT.search(said):
        return Verdict(
            NOT_EXECUTABLE,
            f"exec {path or name}: exec format error",
            "begin the script with a line like #!/bin/sh, or run it through its interpreter",
        )
    if _ABSENT.search(said) or not path:
        return _not_found(container, name, path, program)
    if _REFUSED.search(said):
        return Verdict(
            NOT_EXECUTABLE,
            f'exec: "{name}": permission denied',
            f"chmod +x {path or name}, or COPY --chmod=755",
        )
    return None


def advice(container: ContainerSpec, tail: bytes, *, machine: str) -> str:
    """What to do about a step that failed with `tail` at the end of its output, or empty.

    Looks for a program that a shell, or another program, tried to start: one of another machine, or
    one whose interpreter or dynamic loader is not there.
    """
    for row in tail.decode(errors="replace").splitlines()[::-1]:
        if found := _EMULATOR_WANTS.search(row):
            return f"{found[1]}{_OTHER_LIBRARY}"
        strange = bool(_FORMAT.search(row) or _MISREAD.search(row))
        if not strange and not _ABSENT.search(row):
            continue
        for path in _programs_named(container, row):
            program = programs.inspect(container.rootfs, path)
            refused = _foreign(container, program, machine)
            if refused and (strange or _lacks(container, program)):
                return f"{refused.what}; {refused.hint}"
            if not strange and (why := _incomplete(container, path, program)):
                return f"{path}: {why}"
    return ""


def _programs_named(container: ContainerSpec, row: str) -> Iterator[str]:
    """Files inside that words of `row` may mean, as the step's shell would look for them."""
    for word in dict.fromkeys(re.findall(r"[^\s:,'\"`()]+", row)):
        path = _lookup(container, word)
        if path and programs.exists(container.rootfs, path):
            yield path


def _lookup(container: ContainerSpec, name: str) -> str:
    return programs.lookup(
        container.rootfs, name, env=container.env, cwd=container.cwd, default_path=DEFAULT_PATH
    )


def _not_found(
    container: ContainerSpec, name: str, path: str, program: programs.Program | None
) -> Verdict:
    if program is None:
        return Verdict(NOT_FOUND, f'exec: "{name}": executable file not found in $PATH')
    if program.kind == "missing" and program.path == path:
        return Verdict(NOT_FOUND, f'exec: "{name}": stat {path}: no such file or directory')
    why = _incomplete(container, path, program) or f"its dynamic loader{_OTHER_LIBRARY}"
    return Verdict(NOT_FOUND, f"exec {path}: no such file or directory", why)


def _incomplete(container: ContainerSpec, path: str, program: programs.Program) -> str:
    """What the file `path` needs that the image does not have, if there is such a thing."""
    if program.kind == "missing" and program.path != path:
        if program.path.endswith("\r"):
            return (
                "its first line ends as on Windows, and the carriage return counts as a part of "
                f"the interpreter's name: save it with Unix line ends (sed -i 's/\\r$//' {path})"
            )
        return f"its first line asks for the interpreter {program.path}, which the image has not"
    if _lacks(container, program):
        return f"its dynamic loader {program.loader}{_OTHER_LIBRARY}"
    return ""


def _lacks(container: ContainerSpec, program: programs.Program) -> bool:
    """Whether the dynamic loader of `program` is missing."""
    return bool(program.loader) and not programs.exists(container.rootfs, program.loader)


def _foreign(
    container: ContainerSpec, program: programs.Program, machine: str
) -> PlatformError | None:
    """The error for a program that is not for the machine whose programs the step runs."""
    if program.kind != "elf":
        return None
    # What the image's shell is for, the image is for.
    image = programs.inspect(container.rootfs, "/bin/sh").arch
    if image and program.arch != image:
        return PlatformError(
            f"{program.path} is a program for linux/{program.arch}, and the image is for "
            f"linux/{image}",
            hint="choose what to download, copy or compile by TARGETARCH",
        )
    if program.arch == of_uname(machine):
        return None
    facts = emulate.gather([program.arch], own_namespace=True)
    match roads.decide(program.arch, facts):
        case roads.Native():
            return None
        case roads.Missing():
            return roads.refusal(program.arch, facts)
        case _ if image:
            # It was to be emulated; what went wrong is not its architecture.
            return None
        case _:
            # It could be emulated, had anybody asked for this platform: a stray, then.
            return PlatformError(
                f"{program.path} is a program for linux/{program.arch}, which is not what this "
                "step runs",
                hint="choose what to download or copy by TARGETARCH, or build it with "
                f"--platform linux/{program.arch}",
            )
