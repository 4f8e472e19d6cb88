"""An archive of many small files, which two processes unpack, gives what one would have made."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import resource
import signal
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from viaduct.base.errors import Canceled, ContentError
from viaduct.base.tasks import Stop
from viaduct.layer.apply import apply
from viaduct.layer.entry import Entry, Kind
from viaduct.layer.partner import Partner
from viaduct.layer.place import Placer
from viaduct.layer.sink import cores
from viaduct.layer.tar_writer import TarWriter
from viaduct.layer.tree import is_whiteout

if TYPE_CHECKING:
    from collections.abc import Iterator

#: More than it takes until a second process is thought worth its while.
MANY = 260

#: Directories that no archive names are root's, which only root can make.
ORDINARY = os.getuid() != 0


def content_of(number: int) -> bytes:
    return b"%d\n" % number * (number % 700)


def file_of(number: int, name: bytes) -> Entry:
    return Entry(
        name=name,
        kind=Kind.FILE,
        mode=0o644 + number % 4 * 0o1001,
        uid=os.getuid(),
        gid=os.getgid(),
        size=len(content_of(number)),
        mtime_ns=1_600_000_000_000_000_000 + number,
    )


def partners() -> list[int]:
    """The processes that make files for this one."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            with contextlib.suppress(FileNotFoundError):
                if b"partner_program" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
    return found


def written_by(process: int) -> int:
    lines = Path(f"/proc/{process}/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])


def is_as_given(path: Path, number: int) -> bool:
    entry, status = file_of(number, b""), path.stat()
    return (
        path.read_bytes() == content_of(number)
        and stat.S_IMODE(status.st_mode) == entry.mode
        and status.st_mtime_ns == entry.mtime_ns
    )


# --- the partner alone ---------------------------------------------------------------------------


@pytest.fixture
def partner(upper: Path) -> Iterator[Partner]:
    root = os.open(upper, os.O_RDONLY)
    made = Partner(root, Placer())
    yield made
    made.close()
    os.close(root)
    assert not partners()


def give(partner: Partner, upper: Path, number: int) -> None:
    directory, name = b"deep/d%d" % (number // 50), b"f%d" % number
    (upper / os.fsdecode(directory)).mkdir(parents=True, exist_ok=True)
    entry = file_of(number, name)
    if partner.wants(entry):
        partner.take(directory, name, entry, [memoryview(content_of(number))])
    else:
        (upper / os.fsdecode(directory + b"/" + name)).write_bytes(b"not wanted")


def give_until_it_works(partner: Partner, upper: Path) -> int:
    """Give files until the program, if there is one, has made some; how many that were."""
    number = 0
    while number < MANY or (cores() > 1 and sum(map(written_by, partners())) < 100_000):
        give(partner, upper, number)
        number += 1
    return number


def all_are_there(upper: Path, count: int) -> None:
    wanted = [path for path in sorted(upper.rglob("f*")) if path.read_bytes() != b"not wanted"]
    assert count - 300 < len(wanted) < count
    assert all(is_as_given(path, int(path.name[1:])) for path in wanted)


def test_a_second_process_makes_a_share_of_many_files(partner: Partner, upper: Path) -> None:
    count = give_until_it_works(partner, upper)
    partner.wait()
    all_are_there(upper, count)


def test_nothing_is_missing_when_the_second_process_is_killed(
    partner: Partner, upper: Path
) -> None:
    count = give_until_it_works(partner, upper)
    for process in partners():
        os.kill(process, signal.SIGKILL)
    for number in range(count, count + MANY):
        give(partner, upper, number)
    partner.wait()
    all_are_there(upper, count + MANY)


def test_a_file_that_the_second_process_cannot_make_is_reported(
    partner: Partner, upper: Path
) -> None:
    give_until_it_works(partner, upper)
    partner.take(b"missing", b"file", file_of(1, b"file"), [memoryview(content_of(1))])
    with pytest.raises(FileNotFoundError):
        partner.wait()


def test_a_file_for_which_there_is_no_room_is_reported(partner: Partner, upper: Path) -> None:
    count = give_until_it_works(partner, upper)
    partner.wait()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = file_of(699, b"large")
    for process in [os.getpid(), *partners()]:
        resource.prlimit(process, resource.RLIMIT_FSIZE, (large.size - 1, before[1]))
    try:
        partner.take(b"deep/d0", b"large", large, [memoryview(content_of(699))])
        with pytest.raises(OSError, match="too large") as caught:
            partner.wait()
        partner.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    all_are_there(upper, count)


def test_a_link_in_the_place_of_a_directory_leads_nowhere(
    partner: Partner, upper: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (upper / "link").symlink_to(tmp_path / "outside")
    give_until_it_works(partner, upper)
    for number in range(MANY):
        partner.take(b"link", b"f%d" % number, file_of(1, b""), [memoryview(content_of(1))])
        with pytest.raises(NotADirectoryError):
            partner.wait()
    assert not list((tmp_path / "outside").iterdir())


# --- whole archives ------------------------------------------------------------------------------


def layer(members: list[Entry], *, between: int = 0) -> io.BytesIO:
    """Many files, and then `members` with some more files `between` them."""
    out = io.BytesIO()
    writer = TarWriter(out.write)
    number = 0
    for member in [None, *members]:
        for _ in range(between if member else MANY):
            number += 1
            entry = file_of(number, b"many/%d/f%d" % (number // 60, number))
            writer.add(entry, content_of(number))
        if member:
            writer.add(member, bytes(member.size))
    writer.close()
    out.seek(0)
    return out


def test_a_name_that_is_too_long_behind_many_files_is_the_archives_fault(upper: Path) -> None:
    with pytest.raises(ContentError, match="too long"):
        apply(layer([file_of(1, b"n" * 300)]), upper, squash_owner=ORDINARY)
    assert not partners()


def test_a_stop_ends_both_processes(upper: Path) -> None:
    stop = Stop()

    class Stopping(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 300_000:
                stop.set()
            return super().read(min(size or 0, 10_000))

    with pytest.raises(Canceled):
        apply(
            Stopping(layer([], between=0).getvalue()),
            upper,
            stop=stop,
            kind="uncompressed",
            squash_owner=ORDINARY,
        )
    assert not partners()


def member(kind: Kind, name: bytes, link: bytes = b"", size: int = 0) -> Entry:
    return Entry(
        name=name,
        kind=kind,
        mode=0o750,
        uid=os.getuid(),
        gid=os.getgid(),
        size=size if kind is Kind.FILE else 0,
        link=link if kind in (Kind.SYMLINK, Kind.HARDLINK) else b"",
    )


_path = st.lists(st.sampled_from([b"a", b"b", b".wh.a"]), min_size=1, max_size=3).map(b"/".join)
_kinds = (Kind.FILE, Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK, Kind.HARDLINK, Kind.FIFO)
_member = st.builds(member, st.sampled_from(_kinds), _path, _path, st.integers(0, 3000))

_FILE, _LONGER = member(Kind.FILE, b"a"), member(Kind.FILE, b"a", size=99)
_LINK, _DIRECTORY = member(Kind.SYMLINK, b"a", b"b"), member(Kind.DIRECTORY, b"a")
_INSIDE = member(Kind.FILE, b"a/b")


def outcome(archive: io.BytesIO, on: set[int]) -> object:
    """What an archive becomes on the processors `on`: every file, or what is wrong."""
    before = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as name:
        os.sched_setaffinity(0, on)
        try:
            apply(archive, Path(name), squash_owner=ORDINARY)
        except ContentError as error:
            return error.what
        finally:
            os.sched_setaffinity(0, before)
        return sorted(described(path, Path(name)) for path in Path(name).rglob("*"))


def described(path: Path, root: Path) -> tuple[object, ...]:
    status = path.lstat()
    content: object = b""
    if path.is_symlink():
        content = os.readlink(path)
    elif path.is_file():
        content = path.read_bytes()
    where = str(path.relative_to(root))
    time = 0 if is_whiteout(status) else status.st_mtime_ns
    return where, status.st_mode, status.st_nlink, time, content


@settings(max_examples=10, deadline=None)
@given(st.lists(_member, max_size=12), st.sampled_from([0, 1, 20]))
@example([_FILE, _LONGER], 0)
@example([_FILE, _LONGER], 70)
@example([_FILE, _LINK], 0)
@example([_LINK, _FILE], 0)
@example([_FILE, member(Kind.HARDLINK, b"b", b"a")], 0)
@example([_FILE, _DIRECTORY, _INSIDE], 0)
@example([_FILE, _INSIDE], 0)
@example([_DIRECTORY, _INSIDE, _FILE], 0)
@example([_DIRECTORY, _INSIDE, _FILE, _INSIDE], 0)
@example([_INSIDE, member(Kind.FILE, b".wh.a")], 0)
def test_two_processors_unpack_what_one_unpacks(members: list[Entry], between: int) -> None:
    archive = layer(members, between=between)
    alone = outcome(archive, {min(os.sched_getaffinity(0))})
    archive.seek(0)
    assert outcome(archive, os.sched_getaffinity(0)) == alone
