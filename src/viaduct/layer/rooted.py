"""Paths of an archive resolved inside of a root, whatever the archive tries.

A path is walked one component at a time through open directories; a symbolic link on the way is
read and followed by hand, with the root as the top of the world, as `chroot` would have it. The
last component is never followed. What the upper directory lacks is looked up in the tree below it,
and directories that are only there are made with that tree's metadata.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from typing import TYPE_CHECKING, Final

from viaduct.base.errors import ContentError
from viaduct.layer import place, tree
from viaduct.layer.entry import Entry, Kind
from viaduct.layer.partner import Partner
from viaduct.layer.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from viaduct.layer.stack import Found

#: Open directories at a time; several layers may be unpacked at once with 1024 descriptors.
_MOST_OPEN: Final = 64

_MOST_LINKS: Final = 40
_LONGEST_PATH: Final = 4096

#: Whoever walks the tree later (shutil, os.walk) recurses once for each level, 1000 times at most.
_DEEPEST: Final = 512

#: An empty component, `.` or `..`.
_ODD: Final = re.compile(rb"(?:^|/)\.{0,2}(?:/|$)")

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def clean(name: bytes) -> bytes:
    """An archive's path relative to the root, without `.`, `..` and doubled slashes; empty for the
    root itself. A leading slash means the root. Raises `ContentError` for a path that leaves it.
    """
    if len(name) > _LONGEST_PATH:
        raise ContentError(f"the archive has a path of {len(name)} bytes: {name[:80]!r}…")
    if not _ODD.search(name):
        return name
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise ContentError(
                    f"the archive tries to leave its directory: {name!r}",
                    hint="do not use this archive: it was made to write elsewhere",
                )
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)


def join(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name


class Directory:
    """An open directory below the root: `path` has no symbolic links in it, `fd` is its descriptor
    and `lower_shows` says whether the tree below has a directory here that is not hidden."""

    __slots__ = ("fd", "lower_shows", "path")

    def __init__(self, path: bytes, fd: int, *, lower_shows: bool) -> None:
        self.path = path
        self.fd = fd
        self.lower_shows = lower_shows


class Rooted:
    """The tree at `upper`, optionally on top of the layers `lower`. Close it when done.

    With `layered`, `upper` is in overlayfs's form: whiteouts and opaque directories count, and
    directories that replace something become opaque. A `Directory` that a method returns is open
    until the next call of `directory` or `locate`.
    """

    def __init__(
        self, upper: Path, lower: Sequence[Path] | None, placer: place.Placer, *, layered: bool
    ) -> None:
        self._placer = placer
        self._layered = layered
        #: Times of directories, to be set when nothing will be made in them any more.
        self._times: dict[bytes, int] = {}
        #: Directories by their own path, by the path they were asked for, and links on the way.
        self._open: dict[bytes, Directory] = {}
        self._known: dict[bytes, Directory] = {}
        self._followed: set[bytes] = set()
        self._lower = None if lower is None else Stack(lower)
        self._root = Directory(b"", os.open(upper, _DIRECTORY), lower_shows=lower is not None)
        self._partner = Partner(self._root.fd, placer)
        self._forget()

    def close(self) -> None:
        self._partner.close()
        self._forget()
        os.close(self._root.fd)
        if self._lower is not None:
            self._lower.close()

    # --- looking ---------------------------------------------------------------------------------

    def locate(self, path: bytes) -> tuple[Directory, bytes]:
        """The directory that holds the clean `path`, made when missing, and the last component."""
        parent, _, name = path.rpartition(b"/")
        directory = self.directory(parent)
        if self._followed and (own := join(directory.path, name)) in self._followed:
            # A link that was followed may be about to change: what was reached through it is void.
            self._followed.discard(own)
            self._forget()
            directory = self.directory(parent)
        return directory, name

    def directory(self, path: bytes) -> Directory:
        """The directory at the clean `path`, made when missing, through symbolic links.

        Raises `ContentError` when a component is a file, or for a circle of links.
        """
        known = self._known.get(path)
        if known is not None:
            return known
        if len(self._open) > _MOST_OPEN:
            self._forget()
        start = path
        while start not in self._known:
            start = start.rpartition(b"/")[0]
        directory = self._known[start]
        for name in path[len(start) :].strip(b"/").split(b"/"):
            start = join(start, name)
            directory = self._known[start] = self._enter(directory, name)
            if len(self._open) > _MOST_OPEN:
                self._forget(keep=directory)
        return directory

    def status(self, directory: Directory, name: bytes) -> os.stat_result | None:
        """What `upper` has there, whiteouts included."""
        self._partner.wait_for(directory.path, name)
        return tree.status_at(directory.fd, name)

    def below(self, directory: Directory, name: bytes) -> Found | None:
        """What shows through from `lower`, if `upper` has nothing there."""
        if self._lower is None or not directory.lower_shows:
            return None
        return self._lower.find(join(directory.path, name))

    # --- changing --------------------------------------------------------------------------------

    def make(
        self, directory: Directory, name: bytes, entry: Entry, content: Iterable[memoryview]
    ) -> None:
        """Make anything but a directory or a hard link, instead of what `upper` has there."""
        self._partner.wait_for(directory.path, name)
        if self._partner.wants(entry) and not _exists(directory.fd, name):
            self._partner.take(directory.path, name, entry, content)
            return
        try:
            self._placer.make(directory.fd, name, entry, content)
        except FileExistsError:
            self.remove(directory, name)
            self._placer.make(directory.fd, name, entry, content)

    def make_directory(self, directory: Directory, name: bytes, entry: Entry) -> None:
        """Make a directory, or give an existing one the metadata of `entry`."""
        path = join(directory.path, name)
        child = self._open.get(path)
        if child is None:
            status = self.status(directory, name)
            if status is not None and not stat.S_ISDIR(status.st_mode):
                self.remove(directory, name)
                child = self._make(directory, name, replaces=True)
            elif status is None:
                child = self._make(directory, name)
            else:
                child = self._descend(directory, name)
        self._placer.dress(child.fd, entry)
        self._times[path] = entry.mtime_ns

    def remove(self, directory: Directory, name: bytes) -> None:
        """Remove what `upper` has at `name`, with everything in it."""
        status = self.status(directory, name)
        if status is None:
            return
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(name, dir_fd=directory.fd)
            return
        self._partner.wait()
        path = join(directory.path, name)
        self._forget(keep=directory)
        below = path + b"/"
        self._times = {
            known: time
            for known, time in self._times.items()
            if known != path and not known.startswith(below)
        }
        try:
            shutil.rmtree(name, dir_fd=directory.fd)
        except RecursionError:
            raise ContentError(f"the directories in {path!r} are too deep to be replaced") from None

    def white_out(self, directory: Directory, name: bytes) -> None:
        """Hide what `lower` has at `name`; what this archive put there stays (OCI image
        specification, "Whiteouts")."""
        status = self.status(directory, name)
        if status is None:
            # A whiteout of nothing would show up as a broken name in a directory of one layer.
            if self._lower is None or self.below(directory, name) is not None:
                tree.make_whiteout(directory.fd, name)
        elif stat.S_ISDIR(status.st_mode):
            self.make_opaque(self._enter(directory, name))

    def make_opaque(self, directory: Directory) -> None:
        """Hide everything that `lower` has in `directory`."""
        pending = self._hide(directory)
        while pending:
            pending += self._hide(self.directory(pending.pop()))

    def _hide(self, directory: Directory) -> list[bytes]:
        """`make_opaque`, as far as it goes: returns the directories in it that are left to do."""
        if not directory.lower_shows and self._lower is not None:
            return []
        # overlayfs always merges the root, and some file systems cannot hold the mark.
        markable = directory is not self._root or self._lower is None
        if markable and tree.mark_opaque(directory.fd):
            directory.lower_shows = False
            self._forget(keep=directory)
            return []
        return self._hide_names(directory)

    def _hide_names(self, directory: Directory) -> list[bytes]:
        """Hide name by name what `lower` has in `directory`; the paths of the directories that
        `upper` has there as well, in which nothing is hidden yet."""
        merged = []
        for name in sorted(self._lower.names(directory.path)) if self._lower else ():
            status = self.status(directory, name)
            if status is None:
                tree.make_whiteout(directory.fd, name)
            elif stat.S_ISDIR(status.st_mode):
                merged.append(join(directory.path, name))
        return merged

    def copy_up(self, directory: Directory, name: bytes, found: Found) -> None:
        """Make the file that was `found` below, at `name`, a file of `upper`."""
        path = join(directory.path, name)
        root, below = found
        entry = tree.describe_at(root, path, below, name=path, mtime_ns=below.st_mtime_ns)
        if entry.kind is not Kind.FILE:
            self._placer.make(directory.fd, name, entry, ())
            return
        fd = tree.open_at(root, path)
        try:
            self._placer.make(directory.fd, name, entry, tree.content(fd, entry.size))
        finally:
            os.close(fd)

    def restore_times(self) -> None:
        """Give the directories their times; call when everything is made."""
        self._partner.wait()
        for path in sorted(self._times):
            place.set_time(self.directory(path).fd, self._times[path])

    # --- steps -----------------------------------------------------------------------------------

    def _enter(self, directory: Directory, name: bytes) -> Directory:
        """The directory `name` in `directory`, following symbolic links and making what is
        missing."""
        todo = [name]
        links = 0
        while todo:
            name = todo.pop()
            if name == b"..":
                directory = self.directory(directory.path.rpartition(b"/")[0])
                continue
            step = self._step(directory, name)
            if isinstance(step, Directory):
                directory = step
                continue
            links += 1
            if links > _MOST_LINKS:
                raise ContentError(f"the archive has a circle of symbolic links at {name!r}")
            self._followed.add(join(directory.path, name))
            if step.startswith(b"/"):
                directory = self._root
            todo += [part for part in reversed(step.split(b"/")) if part not in (b"", b".")]
        return directory

    def _step(self, directory: Directory, name: bytes) -> Directory | bytes:
        """The directory `name` in `directory`, or the target of the link that it is."""
        child = self._open.get(join(directory.path, name))
        if child is not None:
            return child
        status = self.status(directory, name)
        if status is None:
            return self._step_below(directory, name)
        if stat.S_ISDIR(status.st_mode):
            return self._descend(directory, name)
        if stat.S_ISLNK(status.st_mode):
            return os.readlink(name, dir_fd=directory.fd)
        if self._layered and tree.is_whiteout(status):
            os.unlink(name, dir_fd=directory.fd)
            return self._imply(directory, name, replaces=True)
        raise _not_a_directory(directory, name)

    def _step_below(self, directory: Directory, name: bytes) -> Directory | bytes:
        """`_step` where `upper` has nothing."""
        found = self.below(directory, name)
        if found is None:
            return self._imply(directory, name)
        root, below = found
        path = join(directory.path, name)
        if stat.S_ISLNK(below.st_mode):
            return os.readlink(path, dir_fd=root)
        if not stat.S_ISDIR(below.st_mode):
            raise _not_a_directory(directory, name)
        mtime_ns = self._times[path] = below.st_mtime_ns
        entry = tree.describe_at(root, path, below, name=path, mtime_ns=mtime_ns)
        child = self._make(directory, name)
        self._placer.dress(child.fd, entry)
        return child

    def _imply(self, directory: Directory, name: bytes, *, replaces: bool = False) -> Directory:
        """Make a directory that the archive uses without telling anything about it."""
        child = self._make(directory, name, replaces=replaces)
        entry = Entry(name=child.path, kind=Kind.DIRECTORY, mode=0o755)
        self._placer.dress(child.fd, entry)
        if self._layered:
            self._times[child.path] = entry.mtime_ns  # the same wherever the layer is unpacked
        return child

    def _make(self, directory: Directory, name: bytes, *, replaces: bool = False) -> Directory:
        """Make a directory; when it replaces something in `upper`, nothing from `lower` shows."""
        if directory.path.count(b"/") >= _DEEPEST:
            raise ContentError("the archive has directories too deep to work with")
        os.mkdir(name, 0o700, dir_fd=directory.fd)
        child = self._descend(directory, name)
        if replaces and self._layered:
            self.make_opaque(child)
        return child

    def _descend(self, directory: Directory, name: bytes) -> Directory:
        path = join(directory.path, name)
        fd = os.open(name, _DIRECTORY, dir_fd=directory.fd)
        below = self.below(directory, name)
        lower_shows = (
            below is not None
            and stat.S_ISDIR(below[1].st_mode)
            and not tree.is_opaque(tree.all_xattrs(fd))
        )
        child = self._open[path] = Directory(path, fd, lower_shows=lower_shows)
        return child

    def _forget(self, *, keep: Directory | None = None) -> None:
        """Close every directory but the root and `keep`, and resolve paths anew from here on."""
        for directory in self._open.values():
            if directory is not keep and directory is not self._root:
                os.close(directory.fd)
        self._open = {b"": self._root}
        self._known = {b"": self._root}
        if keep is not None:
            self._open[keep.path] = keep


def _exists(directory: int, name: bytes) -> bool:
    return os.access(name, os.F_OK, dir_fd=directory, follow_symlinks=False)


def _not_a_directory(directory: Directory, name: bytes) -> ContentError:
    path = os.fsdecode(join(directory.path, name))
    return ContentError(f"the archive has files below {path!r}, which is not a directory")
