"""A second process that makes small files, so that an archive of many keeps two processors busy.

A second thread would be no use: a small file takes six short system calls, and after each of them
the thread waits for the interpreter.
"""

from __future__ import annotations

import contextlib
import marshal
import mmap
import os
import select
import subprocess
import sys
from collections import deque
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from viaduct.base.values import Mutable
from viaduct.layer import partner_program
from viaduct.layer.entry import Kind
from viaduct.layer.place import representable
from viaduct.layer.sink import cores

if TYPE_CHECKING:
    from collections.abc import Iterable

    from viaduct.layer.entry import Entry
    from viaduct.layer.partner_program import File
    from viaduct.layer.place import Placer

#: A batch has so many files and bytes of content at most. It is large, so that the processes are
#: mostly in different directories, which only one at a time can change; an answer is one byte.
#: Larger files are not taken.
_FILES: Final = 250
_BYTES: Final = 1 << 20
_LARGEST: Final = 64 << 10

#: Batches that fit into the memory: one that is being filled, and what is on its way.
_BATCHES: Final = 3

#: An archive of fewer files is unpacked before the program has started.
_MANY: Final = 256


class _Batch(Mutable):
    """Files as the program is told of them, with their entries. Their content is in the memory
    from `start` to `end`."""

    start: int
    end: int
    files: list[File]
    entries: list[Entry]


class Partner:
    """Makes small files below the open directory `root`, at the latest when it is waited for.

    Nobody may look for a name, or remove a directory, before having waited. While the program is
    busy its work is done here; what it fails to make `placer` makes, which raises what is wrong.
    Close it when done.
    """

    def __init__(self, root: int, placer: Placer) -> None:
        self._root = root
        self._placer = placer
        self._few = _MANY
        self._program: _Program | None = None
        self._batch = _Batch(0, 0, [], [])
        self._sent: deque[_Batch] = deque()
        #: Where further batches may begin: nowhere before the program is ready.
        self._free: list[int] = []
        #: Files that may not be there yet.
        self._pending: set[tuple[bytes, bytes]] = set()

    def close(self) -> None:
        """End the program, whatever it is doing."""
        if self._program is not None:
            self._program.end()
            self._program = None

    def wants(self, entry: Entry) -> bool:
        """Whether to leave it to `take`: a small file without attributes, one of many."""
        if entry.kind is not Kind.FILE or entry.size > _LARGEST:
            return False
        if entry.xattrs or entry.extents is not None:
            return False
        return self._program is not None or self._started()

    def take(
        self, directory: bytes, name: bytes, entry: Entry, content: Iterable[memoryview]
    ) -> None:
        """See to a new file, at `name` in the directory with the path `directory`, which must have
        no links in it."""
        program = cast("_Program", self._program)
        batch = self._batch
        if len(batch.files) == _FILES or batch.end + entry.size > batch.start + _BYTES:
            self._hand_over(program)
            batch = self._batch
        start = batch.end
        for piece in content:
            batch.end += len(piece)
            program.memory[batch.end - len(piece) : batch.end] = piece
        owner, time = self._placer.owner(entry), representable(entry.mtime_ns)
        batch.files.append((directory, name, start, batch.end, owner, entry.mode, time))
        batch.entries.append(entry)
        self._pending.add((directory, name))

    def wait_for(self, directory: bytes, name: bytes) -> None:
        """Return when that file is there, if it was taken."""
        if (directory, name) in self._pending:
            self.wait()

    def wait(self) -> None:
        """Return when every file that was taken is there."""
        if self._program is not None:
            while self._sent:
                self._listen(self._program, patiently=True)
            self._finish(self._program, self._batch)

    def _started(self) -> bool:
        self._few -= 1
        if self._few == 0 and cores() > 1:
            # Where no program can be started, this process does well enough.
            with contextlib.suppress(OSError):
                self._program = _Program(self._root)
        return self._program is not None

    def _hand_over(self, program: _Program) -> None:
        """Pass the batch on, or do its work here while the program has enough of it."""
        self._listen(program)
        batch = self._batch
        if self._free and program.tell(batch.files):
            self._sent.append(batch)
            start = self._free.pop()
            self._batch = _Batch(start, start, [], [])
        else:
            self._finish(program, batch)

    def _listen(self, program: _Program, *, patiently: bool = False) -> None:
        """Hear what the program has done; `patiently` waits for that."""
        answers = program.answers(patiently=patiently)
        if answers is None:
            # Somebody killed it. What it left is finished here, and so is all that comes.
            self._free.clear()
            while self._sent:
                self._finish(program, self._sent.popleft())
            return
        for made in answers:
            if self._sent:
                batch = self._sent.popleft()
                self._finish(program, batch, made)
                self._free.append(batch.start)
            else:
                self._free = [number * _BYTES for number in range(1, _BATCHES)]

    def _finish(self, program: _Program, batch: _Batch, made: int = 0) -> None:
        """Make what is not `made` of a batch, and empty it."""
        files, entries = batch.files, batch.entries
        batch.files, batch.entries, batch.end = [], [], batch.start
        self._pending.difference_update(file[:2] for file in files)
        while made < len(files):
            made += partner_program.make(self._root, files[made:], program.memory)
            if made < len(files):
                self._insist(files[made], entries[made], program.memory)
                made += 1

    def _insist(self, file: File, entry: Entry, memory: memoryview) -> None:
        """Make a file that could not be made, or say why."""
        path, name, start, end = file[:4]
        directory = partner_program.open_directory(self._root, path)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)  # half of it may be there
            self._placer.make(directory, name, entry, (memory[start:end],))
        finally:
            os.close(directory)


class _Program:
    """The process, told and heard through pipes, and the memory that is shared with it.

    Raises OSError when it cannot be started.
    """

    def __init__(self, root: int) -> None:
        size = _BATCHES * _BYTES
        fd = os.memfd_create("partner", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, size)
            # Never closed: an error on its way up may hold a part of it.
            self.memory = memoryview(mmap.mmap(fd, size))
            self._process = subprocess.Popen(
                # Without the packages and the user's settings it starts in 10 ms.
                [*(sys.executable, "-I", "-S"), partner_program.__file__, str(fd), str(root)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=(fd, root),
                process_group=0,  # a terminal's interrupt is our affair
            )
        finally:
            os.close(fd)
        self._in = cast("BinaryIO", self._process.stdin)
        self._out = cast("BinaryIO", self._process.stdout).fileno()
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLIN)

    def tell(self, files: list[File]) -> bool:
        """Have files made; false when nobody is there any more."""
        try:
            marshal.dump(files, self._in)
            self._in.flush()
        except BrokenPipeError:
            return False
        return True

    def answers(self, *, patiently: bool) -> bytes | None:
        """How many files of each batch were made, after a first byte that says that the program is
        ready; None when it has ended."""
        if not patiently and not self._poll.poll(0):
            return b""
        return os.read(self._out, _BATCHES) or None

    def end(self) -> None:
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()
