"""Files of this machine copied with everything that they have, as overlayfs copies them up."""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from viaduct.layer import tree

_CHUNK: Final = 1 << 20
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_UNSUPPORTED: Final = frozenset(
    (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)
)


def copy(source: int, path: bytes, status: os.stat_result, target: int) -> None:
    """Make what is at `path` below the directory `source`, of that `status` and no directory, at
    the same path below `target`, where nothing may be yet: content, owner, mode, times, extended
    attributes. Hard links are not seen. Raises OSError."""
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFREG:
        _copy_file(source, path, target)
        return
    if kind == stat.S_IFLNK:
        os.symlink(os.readlink(path, dir_fd=source), path, dir_fd=target)
    else:
        os.mknod(path, status.st_mode, status.st_rdev, dir_fd=target)
    made = os.stat(path, dir_fd=target, follow_symlinks=False)
    if (made.st_uid, made.st_gid) != (status.st_uid, status.st_gid):
        os.chown(path, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    if kind != stat.S_IFLNK:
        os.chmod(path, stat.S_IMODE(status.st_mode), dir_fd=target)
    times = (status.st_atime_ns, status.st_mtime_ns)
    os.utime(path, ns=times, dir_fd=target, follow_symlinks=False)


def _copy_file(source: int, path: bytes, target: int) -> None:
    old = tree.open_at(source, path)
    try:
        # Looked at first: reading changes the time of the last access.
        status = os.fstat(old)
        new = os.open(path, _CREATE, 0o600, dir_fd=target)
        try:
            copy_content(old, new, status)
            copy_looks(old, new, status)
            copy_times(new, status)
        finally:
            os.close(new)
    finally:
        os.close(old)


def copy_looks(old: int, new: int, status: os.stat_result) -> None:
    """Give the open file or directory `new` the extended attributes of `old`, and the owner and
    mode of `status`. Raises OSError."""
    # In this order: a new owner clears capabilities and set-id bits.
    made = os.fstat(new)
    if (made.st_uid, made.st_gid) != (status.st_uid, status.st_gid):
        os.fchown(new, status.st_uid, status.st_gid)
    # A directory may hand an access list on to what is made in it.
    for name in tree.copied(tree.all_xattrs(new)):
        os.removexattr(new, name)
    for name, value in tree.copied(tree.all_xattrs(old)).items():
        os.setxattr(new, name, value)
    os.fchmod(new, stat.S_IMODE(status.st_mode))


def copy_directory_looks(source: int, target: int, path: bytes, status: os.stat_result) -> None:
    """Make the directory at `path` below `target` look as that below `source`, which has this
    `status`. Raises OSError."""
    old, new = tree.open_at(source, path, directory=True), -1
    try:
        new = tree.open_at(target, path, directory=True)
        copy_looks(old, new, status)
    finally:
        os.close(old)
        if new >= 0:
            os.close(new)


def copy_times(new: int, status: os.stat_result) -> None:
    """Give the open file or directory `new` the times of `status`; what is written to it later
    changes them again."""
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))


def copy_content(source: int, target: int, status: os.stat_result) -> None:
    """Write the content of the open file `source`, which has this `status`, to the empty one
    `target`; holes stay holes. Raises OSError."""
    size = status.st_size
    if size <= _CHUNK:
        data = os.read(source, _CHUNK + 1)
        if len(data) <= _CHUNK:
            _write_all(target, data)
            return
        os.lseek(source, 0, os.SEEK_SET)
    if status.st_blocks * 512 < size:
        _copy_sparse(source, target, size)
        return
    copied = 0
    try:
        while count := os.copy_file_range(source, target, 1 << 30):
            copied += count
    except OSError as error:
        if copied or error.errno not in _UNSUPPORTED:
            raise
        while data := os.read(source, _CHUNK):
            _write_all(target, data)


def _copy_sparse(source: int, target: int, size: int) -> None:
    at = 0
    while at < size:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break
        at = os.lseek(source, start, os.SEEK_HOLE)
        os.lseek(source, start, os.SEEK_SET)
        os.lseek(target, start, os.SEEK_SET)
        left = at - start
        while left and (data := os.read(source, min(left, _CHUNK))):
            _write_all(target, data)
            left -= len(data)
    os.ftruncate(target, size)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
