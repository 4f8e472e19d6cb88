"""System calls that Python's standard library does not have.

A leaf: it imports nothing of this package. Every function is one call of the kernel and raises
`OSError` with the kernel's errno; the C library is looked up at the first call.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_SLAVE = 1 << 19
MNT_DETACH = 0x2

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_IN_ROOT = 0x10

_PR_SET_PDEATHSIG = 1
_FSCONFIG_CMD_CREATE = 6
_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1

# Calls younger than Linux 5.1 have one number on every architecture that Viaduct runs on.
_SYS_FSOPEN = 430
_SYS_FSCONFIG = 431
_SYS_FSMOUNT = 432
_SYS_OPENAT2 = 437
_SYS_LANDLOCK_CREATE_RULESET = 444
_SYS_LANDLOCK_RESTRICT_SELF = 446

_LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET = 1


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def _check(result: int, *names: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), *names)
    return result


def _syscall(number: int, *args: object) -> int:
    return int(_libc().syscall(ctypes.c_long(number), *args))


def _text(value: str | None) -> ctypes.c_char_p:
    return ctypes.c_char_p(None if value is None else os.fsencode(value))


def unshare(flags: int) -> None:
    """Leave the namespaces named by `flags` for new ones; `CLONE_FS` concerns this thread only."""
    _check(_libc().unshare(ctypes.c_int(flags)))


def mount(
    source: str | None, target: str, kind: str | None, flags: int = 0, options: str | None = None
) -> None:
    """mount(2)."""
    result = _libc().mount(
        _text(source), _text(target), _text(kind), ctypes.c_ulong(flags), _text(options)
    )
    _check(result, target)


def umount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc().umount2(_text(target), ctypes.c_int(flags)), target)


def die_with_parent(signal: int) -> None:
    """Have the kernel send us `signal` when the thread that forked us ends.

    A parent that is already gone goes unnoticed: the caller has to look.
    """
    zero = ctypes.c_ulong(0)
    _check(_libc().prctl(ctypes.c_int(_PR_SET_PDEATHSIG), ctypes.c_ulong(signal), zero, zero, zero))


def openat2(directory: int, path: str, flags: int, *, resolve: int, mode: int = 0) -> int:
    """openat2(2): a new close-on-exec descriptor for `path` as seen from `directory`."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    result = _syscall(
        _SYS_OPENAT2,
        ctypes.c_int(directory),
        _text(path),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )
    return _check(result, path)


def mount_detached(kind: str) -> int:
    """A new file system of `kind`, mounted nowhere; it lives as long as the descriptor."""
    context = _check(_syscall(_SYS_FSOPEN, _text(kind), ctypes.c_uint(_FSOPEN_CLOEXEC)), kind)
    try:
        none = ctypes.c_void_p(None)
        create = ctypes.c_uint(_FSCONFIG_CMD_CREATE)
        zero = ctypes.c_int(0)
        _check(_syscall(_SYS_FSCONFIG, ctypes.c_int(context), create, none, none, zero), kind)
        return _check(
            _syscall(
                _SYS_FSMOUNT,
                ctypes.c_int(context),
                ctypes.c_uint(_FSMOUNT_CLOEXEC),
                ctypes.c_uint(0),
            ),
            kind,
        )
    finally:
        os.close(context)


def scope_abstract_sockets() -> None:
    """Have this thread, and what it starts from now on, reach abstract Unix sockets of each other
    only (Landlock, Linux 6.12). It stays so; no other right is touched."""
    rules = _Ruleset(0, 0, _LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET)
    none = ctypes.c_uint(0)
    ruleset = _check(
        _syscall(
            _SYS_LANDLOCK_CREATE_RULESET,
            ctypes.byref(rules),
            ctypes.c_size_t(ctypes.sizeof(rules)),
            none,
        )
    )
    try:
        _check(_syscall(_SYS_LANDLOCK_RESTRICT_SELF, ctypes.c_int(ruleset), none))
    finally:
        os.close(ruleset)
