"""Copying selected files into a root file system, as BuildKit's file operation does it.

What a user of `COPY` sees: a directory's contents are merged into the destination, a file lands in
an existing directory or under the destination's own name; missing parents are made `0755` and owned
by root (or `--chown`); owner, mode, times, extended attributes and hard links come along; a link at
the destination is followed inside of the root.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Protocol

from viaduct.base.errors import BuildError
from viaduct.base.values import Value
from viaduct.layer.copies import copy_content
from viaduct.layer.tree import DEVICE, describe, device_note
from viaduct.ops.content import xattrs
from viaduct.ops.rootpath import is_directory, lstat, resolve
from viaduct.ops.select import walk

if TYPE_CHECKING:
    from viaduct.ops.select import Entry, Match, Pattern, Tree


class ModeChange(Protocol):
    """New mode bits for old ones (`--chmod`)."""

    def __call__(self, mode: int, *, is_dir: bool) -> int: ...


class Target(Value):
    """How what is copied shall look: `owner` None keeps the source's, `mode` maps a source's mode
    bits to the new ones, `time_ns` None keeps the source's times. `parents` is the mode of
    directories that are made on the way to the destination.
    """

    owner: tuple[int, int] | None = None
    mode: ModeChange | None = None
    time_ns: int | None = None
    parents: int = 0o755


def make_directories(
    root: bytes,
    path: bytes,
    *,
    mode: int = 0o755,
    owner: tuple[int, int] | None = None,
    time_ns: int | None = None,
) -> bytes:
    """Make `path` inside of `root` with its parents; returns where it is.

    `owner` None means root, and in a set-group-id directory that directory's group. Existing
    directories stay as they are; links on the way are followed inside of the root. Raises
    `BuildError` where something that is no directory stands in the way.
    """
    full = resolve(root, path)
    missing = []
    here = full
    while len(here) > len(root) and (found := lstat(here)) is None:
        missing.append(here)
        here = os.path.dirname(here)
    if len(here) > len(root) and not stat.S_ISDIR(found.st_mode if found else 0):
        inside = os.fsdecode(here[len(root) :])
        raise BuildError(f"mkdir {inside}: not a directory")
    for directory in reversed(missing):
        os.mkdir(directory, mode)
        # Against our umask; a set-group-id parent hands its bit on, as mkdir has it.
        os.chmod(directory, mode | os.lstat(directory).st_mode & stat.S_ISGID)
        if owner is not None:
            try:
                os.chown(directory, *owner)
            except OSError as error:
                raise unmapped(error, *owner) from error
    if time_ns is not None:
        for directory in missing:
            os.utime(directory, ns=(time_ns, time_ns))
    return full


def copy_match(
    tree: Tree,
    match: Match,
    root: bytes,
    dest: str,
    *,
    target: Target,
    include: Pattern | None = None,
    exclude: Pattern | None = None,
    keep_name: bool = False,
) -> None:
    """Copy one match to `dest` inside of `root`.

    `dest` is a directory when it ends in `/` or exists as one. `keep_name` puts a directory under
    its own name into an existing directory instead of merging its contents. Raises `BuildError`
    where a file would replace a directory or the reverse, and OSError.
    """
    wanted = os.fsencode(dest)

    def make(path: bytes) -> None:
        make_directories(
            root, path, mode=target.parents, owner=target.owner, time_ns=target.time_ns
        )

    head, tail = os.path.split(wanted)
    make(wanted if tail in (b"", b".") else head)
    place = resolve(root, wanted)
    found = lstat(match.path)
    if found is None:
        raise BuildError(f"lstat {os.fsdecode(match.name)}: no such file or directory")
    is_dir = stat.S_ISDIR(found.st_mode)
    if (keep_name or not is_dir) and is_directory(place, root=root):
        place = place.rstrip(b"/") + b"/" + os.path.basename(match.name)
    inside = place[len(root) :]
    new = is_dir and not keep_name and lstat(place) is None
    make(inside if new else os.path.dirname(inside))
    # Complete before anything is written: a tree may be copied into itself.
    entries = list(walk(tree, match, include=include, exclude=exclude))
    _Copier(tree, root, place, target).run(entries)


class _Copier:
    """Copies the entries of one match to `place`."""

    def __init__(self, tree: Tree, root: bytes, place: bytes, target: Target) -> None:
        self._tree = tree
        self._root = root
        self._place = place
        self._target = target
        self._inodes: dict[tuple[int, int], bytes] = {}
        # Directories get their times when everything below them is written.
        self._times: list[tuple[bytes, tuple[int, int]]] = []
        # Directories on the way to something selected, made when that is reached.
        self._implied: list[tuple[bytes, Entry]] = []

    def run(self, entries: list[Entry]) -> None:
        for entry in entries:
            while self._implied and not _is_below(entry.rel, self._implied[-1][1].rel):
                self._implied.pop()
            path = self._place + b"/" + entry.rel if entry.rel else self._place
            if entry.implied:
                self._implied.append((path, entry))
                continue
            for directory, implied in self._implied:
                self._directory(directory, implied)
            self._implied.clear()
            if stat.S_ISDIR(entry.info.st_mode):
                self._directory(path, entry)
            else:
                self._other(path, entry)
        for path, times in reversed(self._times):
            os.utime(path, ns=times, follow_symlinks=False)

    def _directory(self, path: bytes, entry: Entry) -> None:
        times = self._entry_times(entry.info)
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            existing = os.lstat(path)
            if not stat.S_ISDIR(existing.st_mode):
                raise BuildError(f"cannot copy to non-directory: {self._name(path)}") from None
            # BuildKit leaves an existing destination alone, but for its times, while
            # directories below it take the source's looks, or its mode when they are on the way.
            self._times.append((path, times))
            if not entry.rel:
                return
            if entry.implied:
                os.chmod(path, entry.mode)
                return
        else:
            self._times.append((path, times))
        self._looks(path, entry)

    def _other(self, path: bytes, entry: Entry) -> None:
        info = entry.info
        kind = stat.S_IFMT(info.st_mode)
        if kind == stat.S_IFREG:
            link = self._inodes.get((info.st_dev, info.st_ino)) if info.st_nlink > 1 else None
            if link is not None:
                self._clear(path)
                os.link(link, path)
                return
            if info.st_nlink > 1:
                self._inodes[(info.st_dev, info.st_ino)] = path
            self._file(path, entry)
            return
        self._clear(path)
        if kind == stat.S_IFLNK:
            os.symlink(os.readlink(entry.path), path)
            self._own(path, info)
        else:
            self._special(path, info, kind)
            self._looks(path, entry)
        os.utime(path, ns=self._entry_times(info), follow_symlinks=False)

    def _file(self, path: bytes, entry: Entry) -> None:
        mode = self._mode(entry)
        source = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                fd = os.open(path, flags, mode & 0o777)
            except FileExistsError:
                self._clear(path)
                fd = os.open(path, flags, mode & 0o777)
            try:
                copy_content(source, fd, entry.info)
                self._own(fd, entry.info)
                # The umask of this process may have taken bits away, and chown takes set-id bits.
                os.fchmod(fd, mode)
                if not self._tree.local:
                    self._attributes(fd, entry.path)
                os.utime(fd, ns=self._entry_times(entry.info))
            finally:
                os.close(fd)
        finally:
            os.close(source)

    @staticmethod
    def _special(path: bytes, info: os.stat_result, kind: int) -> None:
        if kind == stat.S_IFIFO:
            os.mkfifo(path, 0o600)
            return
        # A socket becomes an empty file, as with BuildKit; a device, which no user namespace may
        # make, becomes one with a note.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        if kind != stat.S_IFSOCK:
            os.setxattr(path, DEVICE, device_note(describe(b"", info, mtime_ns=0)))

    def _clear(self, path: bytes) -> None:
        found = lstat(path)
        if found is None:
            return
        if stat.S_ISDIR(found.st_mode):
            raise BuildError(f"cannot replace to directory {self._name(path)} with file")
        os.unlink(path)

    def _looks(self, path: bytes, entry: Entry) -> None:
        self._own(path, entry.info)
        os.chmod(path, self._mode(entry))
        if not self._tree.local:
            self._attributes(path, entry.path)

    def _own(self, where: bytes | int, info: os.stat_result) -> None:
        owner = self._target.owner
        if owner is None:
            owner = (0, 0) if self._tree.local else (info.st_uid, info.st_gid)
        try:
            if not isinstance(where, int):
                os.chown(where, *owner, follow_symlinks=False)
            # A new file has our ids already, except for the group in a set-group-id directory.
            elif owner != (0, 0) or os.fstat(where).st_gid != 0:
                os.fchown(where, *owner)
        except OSError as error:
            raise unmapped(error, *owner) from error

    def _mode(self, entry: Entry) -> int:
        change = self._target.mode
        return change(entry.mode, is_dir=stat.S_ISDIR(entry.info.st_mode)) if change else entry.mode

    def _attributes(self, where: bytes | int, source: bytes) -> None:
        for name, value in xattrs(source).items():
            # A file system that cannot hold an attribute is no reason to fail a COPY.
            with contextlib.suppress(OSError):
                os.setxattr(where, name, value)

    def _entry_times(self, info: os.stat_result) -> tuple[int, int]:
        fixed = self._target.time_ns
        return (info.st_atime_ns, info.st_mtime_ns) if fixed is None else (fixed, fixed)

    def _name(self, path: bytes) -> str:
        return os.fsdecode(path[len(self._root) :])


def unmapped(error: OSError, uid: int, gid: int) -> Exception:
    """What to raise for a failed change of owner."""
    if error.errno != errno.EINVAL:
        return error
    return BuildError(
        f"nothing can be given to {uid}:{gid}, which has no place among your ids",
        hint="give yourself a larger range in /etc/subuid and /etc/subgid (65536 ids are usual)",
    )


def _is_below(rel: bytes, directory: bytes) -> bool:
    return not directory or rel.startswith(directory + b"/")
