"""Mounts as data: describe them, then do them.

Everything here happens inside of the namespaces made by `viaduct.sandbox.enter`, where mounts are
private and die with the program. A plan is a sequence of `Bind`, `Tmpfs` and `Overlay` values;
`mounted` carries it out and undoes it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import threading
from typing import TYPE_CHECKING, TypeAlias

from viaduct.base.errors import SandboxError
from viaduct.base.values import Value
from viaduct.sandbox import syscalls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

# Linux takes at most so many layers below the upper one (OVL_MAX_STACK).
MAX_LAYERS = 500
# mount(2) copies one page of options and cuts off the rest in silence.
_MAX_OPTIONS = 4095
# These have a meaning in overlayfs' option string.
_SPECIAL = frozenset(":,\\")


class Bind(Value):
    """`source` (file or directory, with what is mounted below it) shown at `target`."""

    source: Path
    target: Path
    readonly: bool = False

    def describe(self) -> str:
        ro = ",ro" if self.readonly else ""
        return shlex.join(["mount", "-o", f"rbind{ro}", str(self.source), str(self.target)])

    def execute(self) -> None:
        syscalls.mount(str(self.source), str(self.target), None, syscalls.MS_BIND | syscalls.MS_REC)
        if self.readonly:
            flags = syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY
            syscalls.mount(None, str(self.target), None, flags | _locked_flags(self.target))


class Tmpfs(Value):
    """An empty file system in memory; `size` in bytes, 0 for the kernel's default."""

    target: Path
    size: int = 0
    mode: int = 0o755
    readonly: bool = False

    def _options(self) -> str:
        size = f",size={self.size}" if self.size else ""
        return f"mode={self.mode:o}{size}"

    def describe(self) -> str:
        options = self._options() + (",ro" if self.readonly else "")
        return shlex.join(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.target)])

    def execute(self) -> None:
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV
        if self.readonly:
            flags |= syscalls.MS_RDONLY
        syscalls.mount("tmpfs", str(self.target), "tmpfs", flags, self._options())


class Overlay(Value):
    """`layers`, topmost first, seen as one tree; writes go to `upper`.

    `upper` and `work` are directories of one file system, `work` an empty one; both are None for a
    tree that cannot be written. `volatile` lets fsync and unmount return without waiting for the
    disk: the upper directory then survives a crash of any program, and a crash of the machine only
    when somebody synced it afterwards.
    """

    layers: tuple[Path, ...]
    target: Path
    upper: Path | None = None
    work: Path | None = None
    readonly: bool = False
    volatile: bool = True

    def _options(
        self, layers: Sequence[str], upper: str | None = None, work: str | None = None
    ) -> str:
        # In a user namespace only `user.*` attributes can be written; without userxattr overlayfs
        # does not mark new directories as opaque, and renaming them fails with EXDEV (dpkg). The
        # inode index would make a second mount of the same upper directory fail with EBUSY.
        options = ["userxattr", "index=off", f"lowerdir={':'.join(layers)}"]
        if upper is not None and work is not None:
            options += [f"upperdir={upper}", f"workdir={work}"]
            if self.volatile:
                options.append("volatile")
        return ",".join(options)

    def _by_path(self) -> str:
        upper, work = (str(path) if path else None for path in (self.upper, self.work))
        return self._options([str(layer) for layer in self.layers], upper, work)

    def describe(self) -> str:
        options = self._by_path() + (",ro" if self.readonly else "")
        return shlex.join(["mount", "-t", "overlay", "-o", options, "overlay", str(self.target)])

    def execute(self) -> None:
        if len(self.layers) > MAX_LAYERS:
            raise SandboxError(
                f"the image has {len(self.layers)} layers and overlayfs takes {MAX_LAYERS}",
                hint="squash the base image, or join some of its RUN instructions",
            )
        flags = syscalls.MS_RDONLY if self.readonly or self.upper is None else 0
        paths = [*self.layers, *(path for path in (self.upper, self.work) if path)]
        if len(os.fsencode(self._by_path())) <= _MAX_OPTIONS and not any(
            _SPECIAL & set(str(path)) for path in paths
        ):
            syscalls.mount("overlay", str(self.target), "overlay", flags, self._by_path())
        else:
            self._execute_by_descriptor(paths, flags)

    def _execute_by_descriptor(self, paths: Sequence[Path], flags: int) -> None:
        """Name every directory by the number of a descriptor, which always fits."""
        with contextlib.ExitStack() as stack:
            numbers = []
            for path in paths:
                fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, fd)
                numbers.append(str(fd))
            count = len(self.layers)
            options = self._options(numbers[:count], *numbers[count:])
            target = str(self.target.absolute())
            _in_directory(
                "/proc/self/fd",
                lambda: syscalls.mount("overlay", target, "overlay", flags, options),
            )


Mount: TypeAlias = Bind | Tmpfs | Overlay


def layered(
    layers: Sequence[Path],
    *,
    upper: Path | None,
    work: Path | None,
    at: Path,
    readonly: bool = False,
    volatile: bool = True,
) -> Mount:
    """The one mount that shows `layers` (topmost first) under `upper` at `at`.

    Cheaper than an overlay where that does: one layer that is only read and an upper directory
    with nothing below it are bound, nothing at all is an empty read-only tmpfs.
    """
    if upper is not None:
        if not layers:
            return Bind(upper, at, readonly)
        return Overlay(tuple(layers), at, upper, work, readonly, volatile)
    if not layers:
        return Tmpfs(at, size=4096, readonly=True)
    if len(layers) == 1:
        return Bind(layers[0], at, readonly=True)
    return Overlay(tuple(layers), at, readonly=True)


@contextlib.contextmanager
def mounted(plan: Sequence[Mount]) -> Iterator[None]:
    """Carry out `plan` in order; undo it in reverse on leaving, lazily, so that it cannot fail.

    Raises `SandboxError`, naming the mount as a command, when the kernel refuses one.
    """
    done: list[Mount] = []
    try:
        for step in plan:
            try:
                step.execute()
            except OSError as error:
                raise _refused(step, error) from error
            done.append(step)
        yield
    finally:
        for step in reversed(done):
            with contextlib.suppress(OSError):
                syscalls.umount(str(step.target), syscalls.MNT_DETACH)


@contextlib.contextmanager
def overlay(
    layers: Sequence[Path],
    *,
    upper: Path | None,
    work: Path | None,
    at: Path,
    readonly: bool = False,
    volatile: bool = True,
) -> Iterator[Path]:
    """Show `layers`, topmost first, as one tree at the directory `at`; see `layered`.

    What is written goes to `upper`. Yields `at`. Raises `SandboxError`.
    """
    plan = [
        layered(layers, upper=upper, work=work, at=at, readonly=readonly, volatile=volatile),
    ]
    with mounted(plan):
        yield at


def mount_scratch(at: Path) -> None:
    """Lay a private tmpfs over the directory `at` (made when absent) for as long as we live.

    Others see an empty directory there; what we keep in it leaves no trace, however we end.
    """
    step = Tmpfs(at, mode=0o711)
    try:
        at.mkdir(parents=True, exist_ok=True, mode=0o700)
        step.execute()
    except OSError as error:
        raise _refused(step, error) from error


def _in_directory(directory: str, act: Callable[[], None]) -> None:
    """Run `act` with `directory` as working directory, without moving anybody else."""
    failed: list[OSError] = []

    def work() -> None:
        try:
            # From here on this thread has a working directory of its own.
            syscalls.unshare(syscalls.CLONE_FS)
            os.chdir(directory)
            act()
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=work, name="mount")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def _locked_flags(path: Path) -> int:
    """The mount flags at `path` that a less privileged namespace may not drop."""
    now = os.statvfs(path).f_flag
    pairs = (
        (os.ST_NOSUID, syscalls.MS_NOSUID),
        (os.ST_NODEV, syscalls.MS_NODEV),
        (os.ST_NOEXEC, syscalls.MS_NOEXEC),
    )
    return sum(flag for seen, flag in pairs if now & seen)


def _refused(step: Mount, error: OSError) -> SandboxError:
    text = step.describe()
    if len(text) > 300:
        text = f"{text[:200]} … {text[-90:]}"
    return SandboxError(f"cannot mount: {error.strerror}: {text}")
