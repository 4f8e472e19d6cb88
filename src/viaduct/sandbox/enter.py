"""Entering the namespaces that every build runs in, in the caller's own process.

    P  the process that the user started: waits, forwards signals, passes the exit status on
    ├── M  maps the ids of P's new user namespace from outside of it, and is gone
    ├── I  pid 1 of the new pid namespace: collects orphans and does nothing else
    └── D  goes on as the program

P leaves for a new user, mount and pid namespace; its children I and D live in the pid namespace. D
is not pid 1, so that signals have their usual effect on it. I and D die with P, and when pid 1
dies the kernel kills everything inside: no step, no emulator and no mount outlives P, however P
dies. All of this costs about two milliseconds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from viaduct.base.errors import SandboxError
from viaduct.sandbox import kernel, mapper, syscalls
from viaduct.sandbox.namespace import current, settle
from viaduct.sandbox.refusal import HostFacts, Stage, explain, gather

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viaduct.sandbox.idmap import IdMaps
    from viaduct.sandbox.namespace import Namespace

_SI_KERNEL = 0x80  # <asm-generic/siginfo.h>

# What P passes on to D. The terminal's own signals reach D without help.
_FORWARDED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


def enter(*, squash: bool = True) -> Namespace:
    """Go on inside of new user, mount and pid namespaces, as root of them.

    Returns in a new process; the one that called stays behind until that ends, and then ends with
    the same exit status or by the same signal. Must be called while the process has one thread.
    Inside, mounts are private, /proc shows the new pid namespace, and the network is the host's.
    Does nothing when already inside.

    Raises `SandboxError`, naming the knob and command, where the machine forbids it; without
    `squash` also for a user with no subordinate ids, who otherwise gets a namespace with a single
    id (`Namespace.squashed`).
    """
    if inside := current():
        return inside
    uid, gid = os.geteuid(), os.getegid()
    maps = mapper.available(uid, gid)
    if maps.mode == "single" and not squash:
        raise _no_subids(uid)
    sys.stdout.flush()
    sys.stderr.flush()
    if maps.mode == "root":
        with _explained("mount", uid):
            _protect_devices()
    _unshare(maps, uid)
    reaper, program = _split(uid)
    if program:
        _stand_by(program, reaper)
    return settle(maps, uid, gid)


def _unshare(maps: IdMaps, uid: int) -> None:
    """Move this process into new namespaces with `maps`, as their root."""
    pid = os.getpid()
    go_read, go_write = os.pipe()
    said_read, said_write = os.pipe()
    mapping = os.fork()
    if mapping == 0:
        mapper.serve(pid, maps, wait=go_read, close=(go_write, said_read), say=said_write)
    os.close(go_read)
    os.close(said_write)
    try:
        with _explained("unshare", uid):
            syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID)
        os.write(go_write, b"!")
    finally:
        # Without the byte the mapper reads the end of the pipe, and leaves.
        os.close(go_write)
        with open(said_read, "rb") as said:
            complaint = said.read()
        os.waitpid(mapping, 0)
    if complaint:
        code, _, detail = complaint.decode(errors="replace").partition(" ")
        raise explain("map", int(code), _facts(uid), detail)
    with _explained("map", uid):
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)


def _split(uid: int) -> tuple[int, int]:
    """Fork pid 1 and the program; returns their pids here, and zeros in the program."""
    alive_read, alive_write = os.pipe()
    # Blocked until everybody stands where he should: a Ctrl-C in between must not be lost.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, *_FORWARDED})
    reaper = os.fork()
    if reaper == 0:
        os.close(alive_write)
        _reap(alive_read)
    if signal.sigpending() - {signal.SIGCHLD}:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    program = os.fork()
    if program:
        os.close(alive_read)
        return reaper, program
    os.close(alive_write)
    _die_with_parent(alive_read)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with _explained("mount", uid):
        # Mounts made here stay here, while those that the host removes vanish here as well.
        syscalls.mount(None, "/", None, syscalls.MS_SLAVE | syscalls.MS_REC)
    with _explained("proc", uid), _kept(kernel.EMULATORS):
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
        syscalls.mount("proc", "/proc", "proc", flags)
    _show_unified_cgroups()
    return 0, 0


@contextlib.contextmanager
def _kept(place: str) -> Iterator[None]:
    """Have what is mounted at `place` be there afterwards too, whatever comes to lie above it.

    The machine's table of emulators is a mount below the /proc that ours replaces. It cannot be
    changed from inside; to read it is the only way to tell whether it does for programs in images.
    """
    try:
        # The name below makes an automounter act.
        before = os.open(f"{place}/.", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        yield
        with contextlib.suppress(OSError):
            syscalls.mount(f"/proc/self/fd/{before}", place, None, syscalls.MS_BIND)
    finally:
        os.close(before)


def _die_with_parent(alive: int) -> None:
    """Be killed when the parent dies; `alive` is a pipe whose other end only the parent holds."""
    syscalls.die_with_parent(signal.SIGKILL)
    # A parent in another pid namespace is 0 to getppid(), dead or alive; its pipe knows.
    os.set_blocking(alive, False)
    try:
        os.read(alive, 1)
    except BlockingIOError:
        os.close(alive)
        return
    os._exit(1)


def _reap(alive: int) -> NoReturn:
    """Be pid 1: let the kernel collect every orphan; only SIGKILL from outside ends this."""
    try:
        _die_with_parent(alive)
        # A child of a parent that ignores SIGCHLD leaves no zombie. Other signals with their
        # default effect do not reach pid 1, but Python's handler for SIGINT would run.
        for number in (signal.SIGCHLD, *_FORWARDED):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        while True:
            signal.pause()
    finally:
        os._exit(1)


def _stand_by(program: int, reaper: int) -> NoReturn:
    """Wait for `program`, passing signals on to it, and end the way it ended."""
    status = 0
    while True:
        info = signal.sigwaitinfo((signal.SIGCHLD, *_FORWARDED))
        if info.si_signo != signal.SIGCHLD:
            # What the kernel sends for a terminal (Ctrl-C, hang-up) goes to the whole foreground
            # group, so the program has it already; what was meant for us it has not.
            if info.si_code != _SI_KERNEL:
                os.kill(program, info.si_signo)
            continue
        pid, status = os.waitpid(program, os.WNOHANG)
        if pid:
            break
    # The kernel kills the whole namespace with its pid 1, and the wait lasts until all are gone.
    os.kill(reaper, signal.SIGKILL)
    os.waitpid(reaper, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.kill(os.getpid(), number)
        os._exit(128 + number)
    os._exit(os.waitstatus_to_exitcode(status))


def _protect_devices() -> None:
    """Make the device nodes that containers share with the host read-only.

    A user namespace cannot make nodes, so OCI runtimes bind the host's. Where root maps to root, a
    step (or crun, which hands standard input to the step's user) could otherwise change owner and
    mode of the machine's own /dev/null. Writing to a device is not writing to its node.

    Done in a mount namespace of the outer user namespace: what is read-only there is locked in the
    one that comes next, while a runtime takes back what was set in its own.
    """
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
    except PermissionError:
        # Root without CAP_SYS_ADMIN: inside of some container, whose nodes these are.
        return
    syscalls.mount(None, "/", None, syscalls.MS_SLAVE | syscalls.MS_REC)
    locked = syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NOEXEC
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        path = f"/dev/{name}"
        with contextlib.suppress(FileNotFoundError):
            syscalls.mount(path, path, None, syscalls.MS_BIND)
            syscalls.mount(None, path, None, syscalls.MS_REMOUNT | syscalls.MS_BIND | locked)


def _show_unified_cgroups() -> None:
    """Have /sys/fs/cgroup be the read-only cgroup v2 tree where the machine has one.

    Steps get no cgroups of their own. On a hybrid machine crun refuses to start when it sees both
    versions, and as root runc leaves directories in the host's hierarchies.
    """
    root = "/sys/fs/cgroup"
    source = f"{root}/unified" if os.path.isdir(f"{root}/unified") else root
    if not os.path.exists(f"{source}/cgroup.procs"):
        return
    # A refusal is no harm: the runtime is probed afterwards, and says what it lacks.
    with contextlib.suppress(OSError):
        syscalls.mount(source, root, None, syscalls.MS_BIND)
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
        syscalls.mount(
            None,
            root,
            None,
            syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY | flags,
        )


def _facts(uid: int) -> HostFacts:
    # Gathered when something failed only: the good road should not pay for it.
    return gather(mapper.user_name(uid), uid)


def _no_subids(uid: int) -> SandboxError:
    missing = mapper.missing_tool()
    if missing:
        return SandboxError(f"{missing} is not installed", hint="apt-get install uidmap")
    facts = _facts(uid)
    return explain(
        "map", errno.EPERM, facts, f"{facts.user} has no range in /etc/subuid and /etc/subgid"
    )


@contextlib.contextmanager
def _explained(stage: Stage, uid: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise explain(stage, error.errno or 0, _facts(uid)) from error
