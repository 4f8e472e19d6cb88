"""binfmt_misc: the kernel's table of interpreters, in a user namespace of our own or the host's.

Since Linux 6.7 the table belongs to a user namespace. The functions here work on a directory where
a binfmt_misc file system is mounted, or on a descriptor of one; lines for people are rendered by
the command line.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from viaduct.base.errors import SandboxError
from viaduct.base.values import Value
from viaduct.sandbox import kernel, qemu, syscalls
from viaduct.sandbox.machines import MACHINES, Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HOST_TABLE = kernel.EMULATORS

#: F: the interpreter is opened now and found in every root file system. C: set-uid programs gain
#: their owner's rights (sudo).
ALWAYS = "FC"
# P: QEMU gets the original argv[0] too. It is told so in its auxiliary vector from Linux 5.12 on,
# and has to know; otherwise it would take it for the program's first argument.
_ARGV0 = "P"
_ARGV0_SINCE = (5, 12)

# The kernel gives it this number (PROC_USER_INIT_INO).
_FIRST_NAMESPACE = 0xEFFFFFFD

_CONTROL = frozenset(("register", "status"))


class Registration(Value):
    """One entry of a table. `magic` and `mask` are at `offset` of a program's file."""

    name: str
    interpreter: str
    flags: str = ""
    enabled: bool = True
    magic: bytes = b""
    mask: bytes = b""
    offset: int = 0

    def handles(self, machine: Machine) -> bool:
        """Whether programs of `machine` are run by this entry."""
        return self.enabled and self.matches(machine)

    def matches(self, machine: Machine) -> bool:
        """Whether programs of `machine` match this entry, be it switched on or off."""
        if not self.magic or self.offset:
            return False
        mask = self.mask or b"\xff" * len(self.magic)
        pairs = zip(machine.magic, self.magic, mask, strict=False)
        return len(self.magic) <= len(machine.magic) and all(
            ours & bits == theirs & bits for ours, theirs, bits in pairs
        )


Result: TypeAlias = Literal["ok", "native", "exists", "missing", "unsupported", "failed"]


class Outcome(Value):
    """What became of one architecture or handler name; `detail` explains all but `ok`.

    `native` programs need no emulator, and got none. `exists` is a working handler that was there
    before. `missing` is an emulator that is not installed, or a handler that is not registered.
    """

    name: str
    result: Result
    detail: str = ""

    @property
    def done(self) -> bool:
        """Whether what was asked for holds now."""
        return self.result in ("ok", "native", "exists")


class Status(Value):
    """A table: is it mounted, is it switched on, and its entries by name."""

    mounted: bool = False
    enabled: bool = False
    registrations: tuple[Registration, ...] = ()


def line(machine: Machine, interpreter: str, flags: str) -> bytes:
    """What is written to `register` for `machine`."""
    magic, mask = ("".join(f"\\x{b:02x}" for b in data) for data in (machine.magic, machine.mask))
    return f":{machine.handler}:M:0:{magic}:{mask}:{interpreter}:{flags}".encode()


def flags_for(kernel: tuple[int, int], emulator: qemu.Version) -> str:
    """The flags to register an emulator of this version with under a kernel of that one.

    An emulator of unknown version counts as a recent one.
    """
    told = kernel >= _ARGV0_SINCE
    knows = emulator >= qemu.ARGV0_SINCE or not any(emulator)
    return ALWAYS + (_ARGV0 if told and knows else "")


def parse(name: str, text: str) -> Registration:
    """One entry's file as the kernel prints it."""
    enabled, interpreter, flags, offset = False, "", "", 0
    magic = mask = b""
    for row in text.splitlines():
        word, _, value = row.partition(" ")
        match word.rstrip(":"):
            case "enabled":
                enabled = True
            case "interpreter":
                interpreter = value
            case "flags":
                flags = value.strip()
            case "offset":
                offset = int(value) if value.isdecimal() else 0
            case "magic":
                magic = _hex(value)
            case "mask":
                mask = _hex(value)
    return Registration(name, interpreter, flags, enabled, magic, mask, offset)


def open_private() -> int:
    """A new table for the user namespace we are in; it lasts while the descriptor is open.

    Raises OSError: EPERM where only the machine's first namespace may mount one (before 6.7).
    """
    return syscalls.mount_detached("binfmt_misc")


def register(table: int, machine: Machine, interpreter: str, flags: str) -> None:
    """Add `machine` to the table open as `table`; raises OSError (EEXIST when it is there)."""
    fd = os.open("register", os.O_WRONLY | os.O_CLOEXEC, dir_fd=table)
    try:
        os.write(fd, line(machine, interpreter, flags))
    finally:
        os.close(fd)


def status(table: Path) -> Status:
    """The table mounted at `table`, which may be nothing."""
    try:
        state = (table / "status").read_text().strip()
        names = sorted(set(os.listdir(table)) - _CONTROL)
    except OSError:
        return Status(mounted=False)
    entries = []
    for name in names:
        # An entry may vanish while we look; the table is everybody's.
        with contextlib.suppress(OSError):
            entries.append(parse(name, (table / name).read_text(errors="replace")))
    return Status(mounted=True, enabled=state == "enabled", registrations=tuple(entries))


def mount_host(table: Path) -> None:
    """Mount the machine's table at `table` unless it is there.

    Somebody who may not mount is left without one, which `install` explains. Raises `SandboxError`.
    """
    if (table / "status").exists():
        return
    try:
        syscalls.mount("binfmt_misc", str(table), "binfmt_misc")
    except PermissionError:
        return
    except OSError as error:
        # A kernel without it, or one that has not loaded the module; without the module even the
        # directory in /proc is missing.
        raise SandboxError(
            f"cannot mount binfmt_misc filesystem at {table}: {error.strerror}",
            hint="sudo modprobe binfmt_misc",
        ) from error


def seen(table: Path) -> Status:
    """The machine's table: as mounted at `table`, or else looked at without mounting it anywhere,
    where we may do that."""
    found = status(table)
    if found.mounted or not _in_first_namespace():
        # Elsewhere even the first look makes a new table, empty and in place of the machine's.
        return found
    try:
        fd = open_private()
    except OSError:
        return found
    try:
        return status(Path(f"/proc/self/fd/{fd}"))
    finally:
        os.close(fd)


def install(
    arches: Iterable[str],
    table: Path,
    *,
    find: Callable[[Machine], str | None],
    kernel: tuple[int, int],
    natives: frozenset[str] = frozenset(),
) -> tuple[Outcome, ...]:
    """Register the emulators of `arches` in the table mounted at `table`.

    `find` gives the emulator program of a machine; `natives` need none. A handler that is there
    and serves programs in images is left alone. Each architecture has an outcome; none stops the
    others. Raises `SandboxError` when `table` is not mounted or not ours to write.
    """
    fd = _open(table)
    try:
        before = status(table).registrations
        return tuple(_install(fd, arch, find, kernel, natives, before) for arch in arches)
    finally:
        os.close(fd)


def uninstall(names: Iterable[str], table: Path) -> tuple[Outcome, ...]:
    """Remove registrations by architecture (`arm64`), handler (`qemu-aarch64`), the handler's last
    part (`aarch64`), a pattern of handlers (`qemu-*`), or `all` that emulate a machine we know.

    Raises `SandboxError` as `install` does."""
    fd = _open(table)
    try:
        present = sorted(set(os.listdir(fd)) - _CONTROL)
        wanted: dict[str, str] = {}
        for name in names:
            for shown, entry in _meant(name, present):
                wanted.setdefault(entry or shown, shown)
        return tuple(
            _uninstall(fd, shown, entry if entry in present else "")
            for entry, shown in wanted.items()
        )
    finally:
        os.close(fd)


def _open(table: Path) -> int:
    register = table / "register"
    try:
        os.close(os.open(register, os.O_WRONLY | os.O_CLOEXEC))
        return os.open(table, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise SandboxError(f"ENOENT opening {register} is it mounted?") from error
    except PermissionError as error:
        raise SandboxError(f"EPERM opening {register} check permissions?") from error
    except OSError as error:
        raise SandboxError(f"cannot open {register}: {error.strerror}") from error


def _install(
    table: int,
    arch: str,
    find: Callable[[Machine], str | None],
    kernel: tuple[int, int],
    natives: frozenset[str],
    before: tuple[Registration, ...],
) -> Outcome:
    machine = MACHINES.get(arch)
    if machine is None:
        return Outcome(arch, "unsupported", f"unsupported architecture: {arch}")
    if arch in natives:
        # Not even on request: the emulator is itself a program that its handler would be asked to
        # run, and from then on nothing would start on the machine.
        return Outcome(arch, "native", "runs without an emulator")
    if (there := _there(machine, before)) is not None:
        return there
    program = find(machine)
    if program is None:
        return Outcome(arch, "missing", f"{machine.programs[0]} is not installed")
    try:
        register(table, machine, program, flags_for(kernel, qemu.version(program)))
    except FileExistsError:
        return _replace(machine, machine.handler, "for other programs")
    except OSError as error:
        return Outcome(arch, "failed", f"cannot register {program!r}: {error.strerror}")
    return Outcome(arch, "ok")


def _there(machine: Machine, before: tuple[Registration, ...]) -> Outcome | None:
    """What the handlers mean that programs of `machine` match already."""
    found = [entry for entry in before if entry.matches(machine)]
    for entry in found:
        if entry.enabled and "F" in entry.flags:
            return Outcome(machine.arch, "exists", f"{entry.name} already registered")
    for entry in found:
        why = "without flag F" if entry.enabled else "but switched off"
        return _replace(machine, entry.name, why)
    return None


def _replace(machine: Machine, name: str, why: str) -> Outcome:
    way = f"--uninstall {name} --install {machine.arch}"
    return Outcome(machine.arch, "failed", f"{name} already registered, {why}; replace it: {way}")


def _meant(name: str, present: list[str]) -> list[tuple[str, str]]:
    """What `name` stands for: how to call it and the entry, which is empty if there is none."""
    if name == "all":
        known = {machine.handler for machine in MACHINES.values()}
        return [(entry, entry) for entry in present if entry in known]
    if found := fnmatch.filter(present, name):
        return [(entry, entry) for entry in found]
    machine = MACHINES.get(name)
    wanted = machine.handler if machine else name
    return [(name, next((e for e in present if e == wanted or e.endswith(f"-{wanted}")), ""))]


def _uninstall(table: int, name: str, entry: str) -> Outcome:
    if not entry:
        return Outcome(name, "missing", "not found")
    try:
        fd = os.open(entry, os.O_WRONLY | os.O_CLOEXEC, dir_fd=table)
        try:
            os.write(fd, b"-1")
        finally:
            os.close(fd)
    except OSError as error:
        return Outcome(name, "failed", error.strerror or str(error))
    return Outcome(name, "ok")


def _in_first_namespace() -> bool:
    """Whether our user namespace is the one that the kernel booted with."""
    with contextlib.suppress(OSError):
        return os.stat("/proc/self/ns/user").st_ino == _FIRST_NAMESPACE
    return False


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
