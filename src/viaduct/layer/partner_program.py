"""What `viaduct.layer.partner` runs: makes files as it is told, until nobody tells any more.

    python partner_program.py SHARED ROOT

The two are descriptors: of memory with what the files hold, and of the directory they go below. It
imports only what is part of the interpreter or as good as that, so that it starts in an instant.
"""

from __future__ import annotations

import marshal
import mmap
import os
import sys

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

#: Directory, name, start and end in the memory, owner (None: ours), mode, modification time (ns).
File = tuple[bytes, bytes, int, int, tuple[int, int] | None, int, int]


def main(shared: int, root: int) -> None:
    memory = memoryview(mmap.mmap(shared, 0, prot=mmap.PROT_READ))
    os.write(1, b"\0")  # ready
    while True:
        try:
            files: list[File] = marshal.load(sys.stdin.buffer)
        except EOFError:
            return
        os.write(1, bytes([make(root, files, memory)]))


def make(root: int, files: list[File], memory: memoryview) -> int:
    """Make new files one after the other, until one fails; how many were made before that."""
    made = 0
    opened: bytes | None = None
    directory = -1
    try:
        for path, name, start, end, owner, mode, time in files:
            if path != opened:
                if directory >= 0:
                    os.close(directory)
                    directory = -1
                directory = open_directory(root, path)
                opened = path
            fd = os.open(name, _CREATE, 0o600, dir_fd=directory)
            try:
                while start < end:
                    start += os.write(fd, memory[start:end])
                # In this order: a new owner clears set-id bits.
                if owner is not None:
                    os.fchown(fd, *owner)
                os.fchmod(fd, mode)
                os.utime(fd, ns=(time, time))
            finally:
                os.close(fd)
            made += 1
    except OSError:
        return made
    finally:
        if directory >= 0:
            os.close(directory)
    return made


def open_directory(root: int, path: bytes) -> int:
    """The directory at `path` below `root`; no symbolic link is followed on the way."""
    directory = os.dup(root)
    for name in path.split(b"/") if path else ():
        above = directory
        try:
            directory = os.open(name, _DIRECTORY, dir_fd=above)
        finally:
            os.close(above)
    return directory


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
