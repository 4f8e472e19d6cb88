"""COPY between two directories: what lands where, and how it looks."""

from __future__ import annotations

import os
import socket
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from viaduct.base.errors import BuildError
from viaduct.dockerfile.ignore import Matcher
from viaduct.graph.ops import Copy
from viaduct.layer import tree
from viaduct.layer.entry import Kind
from viaduct.ops import chmod
from viaduct.ops.content import copy_digest
from viaduct.ops.copy import Target, copy_match
from viaduct.ops.rootpath import clean, resolve
from viaduct.ops.select import Tree, matches
from viaduct.sandbox import syscalls
from viaduct.store.directories import delete_tree

if TYPE_CHECKING:
    from pathlib import Path

    from viaduct.oci.digest import Digest


pytestmark = pytest.mark.usefixtures("as_root")


@dataclass
class Pair:
    """A source tree and the root that is copied into."""

    source: Path
    root: Path
    ignore: tuple[str, ...] = ()
    local: bool = True

    @property
    def tree(self) -> Tree:
        ignored = Matcher(self.ignore) if self.ignore else None
        return Tree(os.fsencode(self.source), ignored, local=self.local)

    def put(self, path: str, data: str = "x", mode: int = 0o644) -> Path:
        full = self.source / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_text(data)
        full.chmod(mode)
        return full

    def copy(self, source: str, dest: str, target: Target | None = None, **options: object) -> None:
        action = replace_copy(Copy(input=0, source=source, dest=dest), **options)
        include = Matcher(action.includes) if action.includes else None
        exclude = Matcher(action.excludes) if action.excludes else None
        for match in matches(self.tree, action, include=include, exclude=exclude):
            copy_match(
                self.tree,
                match,
                os.fsencode(self.root),
                action.dest,
                target=target or Target(),
                include=include,
                exclude=exclude,
            )

    def digest(self, source: str) -> Digest:
        return copy_digest(
            self.tree,
            Copy(input=0, source=source, dest="/"),
            include=None,
            exclude=None,
            cache=None,
            progress=lambda _size: None,
        )

    @property
    def files(self) -> list[str]:
        return sorted(
            os.path.relpath(os.path.join(at, name), self.root)
            for at, names, files in os.walk(self.root)
            for name in names + files
        )


def replace_copy(copy: Copy, **options: object) -> Copy:
    import msgspec

    return msgspec.structs.replace(copy, **options)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    (tmp_path / "source").mkdir()
    (tmp_path / "root").mkdir()
    return Pair(tmp_path / "source", tmp_path / "root")


def test_a_file_takes_the_name_of_the_destination(pair: Pair) -> None:
    pair.put("a.txt", "hello", 0o751)
    pair.copy("/a.txt", "/opt/b.txt")
    made = pair.root / "opt/b.txt"
    assert made.read_text() == "hello"
    assert stat.S_IMODE(made.stat().st_mode) == 0o751
    assert stat.S_IMODE((pair.root / "opt").stat().st_mode) == 0o755


def test_a_file_lands_inside_of_an_existing_directory_or_one_named_with_a_slash(pair: Pair) -> None:
    pair.put("a.txt")
    (pair.root / "etc").mkdir()
    pair.copy("/a.txt", "/etc")
    pair.copy("/a.txt", "/new/")
    assert pair.files == ["etc", "etc/a.txt", "new", "new/a.txt"]


def test_the_contents_of_a_directory_are_copied_not_the_directory(pair: Pair) -> None:
    pair.put("app/main.py")
    pair.put("app/lib/x.py")
    pair.copy("/app", "/srv")
    assert pair.files == ["srv", "srv/lib", "srv/lib/x.py", "srv/main.py"]


def test_times_are_kept_and_set_id_bits_of_a_file_are_kept(pair: Pair) -> None:
    path = pair.put("tool", mode=0o4755)
    os.utime(path, ns=(10**18, 981173106789000000))
    pair.copy("/tool", "/tool")
    made = (pair.root / "tool").stat()
    assert made.st_mtime_ns == 981173106789000000
    assert stat.S_IMODE(made.st_mode) == 0o4755


def test_from_another_stage_owner_mode_and_hard_links_come_along(pair: Pair) -> None:
    pair.local = False
    first = pair.put("d/one", mode=0o4751)
    os.chown(first, 5, 6)
    first.chmod(0o4751)
    os.link(first, pair.source / "d/two")
    pair.copy("/d", "/d")
    one, two = (pair.root / "d/one").stat(), (pair.root / "d/two").stat()
    assert (one.st_uid, one.st_gid, stat.S_IMODE(one.st_mode)) == (5, 6, 0o4751)
    assert one.st_ino == two.st_ino


def test_chown_and_chmod_hold_for_everything_copied_and_made(pair: Pair) -> None:
    pair.put("d/f")
    pair.copy("/d", "/x/y", Target(owner=(7, 8), mode=chmod.parse("0700"), parents=0o700))
    for path in ("x", "x/y", "x/y/f"):
        info = (pair.root / path).stat()
        assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (7, 8, 0o700), path


def test_an_existing_destination_keeps_its_looks_and_directories_below_take_the_sources(
    pair: Pair,
) -> None:
    pair.put("d/sub/f")
    (pair.source / "d/sub").chmod(0o700)
    (pair.root / "to/sub").mkdir(parents=True)
    (pair.root / "to").chmod(0o711)
    pair.copy("/d", "/to")
    assert stat.S_IMODE((pair.root / "to").stat().st_mode) == 0o711
    assert stat.S_IMODE((pair.root / "to/sub").stat().st_mode) == 0o700


def test_a_link_is_copied_as_a_link_and_a_linked_source_is_followed(pair: Pair) -> None:
    pair.put("real/f", "data")
    (pair.source / "alias").symlink_to("real")
    (pair.source / "real/self").symlink_to("f")
    pair.copy("/alias", "/out")
    assert (pair.root / "out/self").readlink().name == "f"
    assert (pair.root / "out/f").read_text() == "data"


def test_a_link_in_the_destination_is_followed_inside_of_the_root(pair: Pair) -> None:
    pair.put("f")
    (pair.root / "usr/bin").mkdir(parents=True)
    (pair.root / "bin").symlink_to("/usr/bin")
    pair.copy("/f", "/bin/tool")
    assert "usr/bin/tool" in pair.files


def test_no_link_leads_out_of_either_root(pair: Pair) -> None:
    outside = pair.root.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    pair.put("f")
    (pair.root / "evil").symlink_to("../../outside")
    (pair.source / "leak").symlink_to("../outside/secret")
    pair.copy("/f", "/evil/f")
    assert sorted(p.name for p in outside.iterdir()) == ["secret"]
    with pytest.raises(BuildError, match='"/leak": not found'):
        pair.copy("/leak", "/x")
    with pytest.raises(BuildError, match='"/outside/secret": not found'):
        pair.copy("/../outside/secret", "/x")


def test_a_missing_source_is_an_error_and_a_pattern_without_match_is_not(pair: Pair) -> None:
    with pytest.raises(BuildError, match='"/nope": not found'):
        pair.copy("/nope", "/x")
    pair.copy("/nope*", "/x/")
    assert pair.files == []


def test_wildcards_select_names_in_order(pair: Pair) -> None:
    for name in ("b.py", "a.py", "c.txt", "sub/d.py"):
        pair.put(name)
    pair.copy("/*.py", "/src/")
    pair.copy("/s?b/*.py", "/deep/")
    assert pair.files == ["deep", "deep/d.py", "src", "src/a.py", "src/b.py"]


def test_a_file_never_replaces_a_directory_nor_a_directory_a_file(pair: Pair) -> None:
    pair.put("d/name/inside")
    pair.put("f/name")
    pair.copy("/d", "/out")
    with pytest.raises(BuildError, match="cannot replace to directory"):
        pair.copy("/f", "/out")
    pair.copy("/f", "/other")
    with pytest.raises(BuildError, match="cannot copy to non-directory"):
        pair.copy("/d", "/other")


def test_a_file_replaces_a_file_and_a_link(pair: Pair) -> None:
    pair.put("f", "new")
    (pair.root / "f").write_text("old and longer")
    (pair.root / "l").symlink_to("elsewhere")
    pair.copy("/f", "/f")
    assert (pair.root / "f").read_text() == "new"


def test_ignored_files_are_not_there(pair: Pair) -> None:
    pair.ignore = ("*.log", "node_modules", "!keep.log")
    for name in ("a.log", "keep.log", "node_modules/m", "src/b.log"):
        pair.put(name)
    pair.copy("/", "/app")
    assert pair.files == ["app", "app/keep.log", "app/src", "app/src/b.log"]
    with pytest.raises(BuildError, match="not found") as failure:
        pair.copy("/a.log", "/x")
    assert ".dockerignore" in failure.value.hint


def test_exclude_holds_below_each_source(pair: Pair) -> None:
    for name in ("d/a.txt", "d/b.md", "d/sub/c.md"):
        pair.put(name)
    pair.copy("/d", "/out", excludes=("**/*.md",))
    assert pair.files == ["out", "out/a.txt", "out/sub"]


def test_parents_keep_the_path_from_the_pivot_on(pair: Pair) -> None:
    for name in ("x/a/b.txt", "x/c/d.txt", "x/c/e.md"):
        pair.put(name)
    pair.copy("/", "/one/", parents=True, includes=("x/a/b.txt",), required=("/x/a/b.txt",))
    pair.copy("/x", "/two/", parents=True, includes=("*/*.txt",))
    with pytest.raises(BuildError, match='"/x/nope": not found'):
        pair.copy("/", "/one/", parents=True, includes=("x/nope",), required=("/x/nope",))
    assert pair.files == [
        "one",
        "one/x",
        "one/x/a",
        "one/x/a/b.txt",
        "two",
        "two/a",
        "two/a/b.txt",
        "two/c",
        "two/c/d.txt",
    ]


def test_a_large_sparse_file_stays_sparse(pair: Pair) -> None:
    path = pair.source / "disk"
    with open(path, "wb") as file:
        file.truncate(1 << 30)
        file.seek(512 << 20)
        file.write(b"middle")
    pair.copy("/disk", "/disk")
    made = pair.root / "disk"
    assert made.stat().st_size == 1 << 30
    assert made.stat().st_blocks * 512 < 1 << 20
    with open(made, "rb") as file:
        file.seek(512 << 20)
        assert file.read(6) == b"middle"


def test_names_that_are_not_text_are_copied(pair: Pair) -> None:
    name = b"caf\xe9"
    with open(os.path.join(os.fsencode(pair.source), name), "wb") as file:
        file.write(b"x")
    pair.copy("/", "/")
    assert name in os.listdir(os.fsencode(pair.root))


def test_the_digest_counts_content_mode_and_name_but_not_times(pair: Pair) -> None:
    path = pair.put("d/f", "one")
    first = pair.digest("/d")
    os.utime(path, (1, 1))
    assert pair.digest("/d") == first
    path.chmod(0o600)
    second = pair.digest("/d")
    assert second != first
    path.rename(path.with_name("g"))
    third = pair.digest("/d")
    assert third not in (first, second)
    path.with_name("g").write_text("two")
    assert pair.digest("/d") not in (first, second, third)


def test_a_directory_of_another_name_with_the_same_contents_has_the_same_digest(pair: Pair) -> None:
    pair.put("d/f")
    pair.put("e/f")
    assert pair.digest("/d") == pair.digest("/e")
    pair.put("g")
    pair.put("h")
    assert pair.digest("/g") != pair.digest("/h")


@pytest.mark.parametrize(
    ("path", "expected"),
    [(b"a/../../b", b"/b"), (b"/./a//b/", b"/a/b"), (b"..", b"/"), (b"", b"/")],
)
def test_paths_never_climb_above_the_root(path: bytes, expected: bytes) -> None:
    assert clean(path) == expected


def test_a_loop_of_links_is_an_error_not_a_hang(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(BuildError, match="too many links"):
        resolve(os.fsencode(tmp_path), b"/a/x")


def test_a_path_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="zero byte"):
        resolve(os.fsencode(tmp_path), b"/a\0")


def test_a_socket_becomes_an_empty_file(pair: Pair) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        (pair.source / "d").mkdir()
        listener.bind(str(pair.source / "d/s"))
        pair.copy("/d", "/d")
    made = (pair.root / "d/s").lstat()
    assert stat.S_ISREG(made.st_mode)
    assert made.st_size == 0


def test_a_device_is_kept_as_a_note_of_itself(pair: Pair) -> None:
    # In a user namespace nobody makes devices, but may have them elsewhere.
    null = str(pair.put("null"))
    syscalls.mount("/dev/null", null, None, syscalls.MS_BIND)
    pair.copy("/null", "/dev/")
    syscalls.umount(null)
    with open(pair.root / "dev/null", "rb") as made:
        entry = tree.describe(
            b"null",
            os.fstat(made.fileno()),
            mtime_ns=0,
            attributes=tree.all_xattrs(made.fileno()),
        )
    assert (entry.kind, entry.major, entry.minor, entry.mode) == (Kind.CHAR, 1, 3, 0o666)


def test_files_belong_to_root_even_in_a_directory_that_hands_its_group_on(pair: Pair) -> None:
    pair.put("a")
    pair.put("d/b")
    shared = pair.root / "shared"
    shared.mkdir()
    os.chown(shared, 0, 33)
    shared.chmod(0o2775)
    pair.copy("/a", "/shared/")
    pair.copy("/d", "/shared/new/")
    file, made = (shared / "a").stat(), (shared / "new").stat()
    assert (file.st_gid, made.st_gid, stat.S_IMODE(made.st_mode)) == (0, 33, 0o2755)


def test_modes_in_octal_are_for_made_directories_too_but_for_set_id_bits(pair: Pair) -> None:
    pair.put("a")
    pair.copy("/a", "/x/y", Target(mode=chmod.parse("4711"), parents=0o711))
    assert stat.S_IMODE((pair.root / "x").stat().st_mode) == 0o711
    assert stat.S_IMODE((pair.root / "x/y").stat().st_mode) == 0o4711


def test_an_existing_directory_on_the_way_to_something_takes_the_sources_mode(pair: Pair) -> None:
    pair.put("p/q/f")
    (pair.source / "p").chmod(0o750)
    (pair.root / "to/p").mkdir(parents=True)
    pair.copy("/", "/to/", parents=True, includes=("p/q/f",))
    assert stat.S_IMODE((pair.root / "to/p").stat().st_mode) == 0o750
    assert (pair.root / "to/p/q/f").exists()


@pytest.mark.parametrize("pattern", ["[a", "a[.txt", "*[", "[]a]", "x*[", "d/["])
def test_a_malformed_pattern_is_an_error_whatever_there_is(pair: Pair, pattern: str) -> None:
    pair.put("a.txt")
    with pytest.raises(BuildError) as caught:
        pair.copy(f"/{pattern}", "/n/")
    assert caught.value.what == f"invalid includepatterns: [{pattern}]: syntax error in pattern"
    pair.local = False
    with pytest.raises(BuildError, match=r"^syntax error in pattern$"):
        pair.copy(f"/{pattern}", "/n/")


def test_a_pattern_that_finds_a_link_to_nothing_fails_as_a_name_would(pair: Pair) -> None:
    (pair.source / "dangling").symlink_to("nowhere")
    with pytest.raises(BuildError, match='"/dangling": not found'):
        pair.copy("/dang*", "/n/")


@pytest.mark.parametrize(
    ("required", "options"),
    [
        ("/p/none", {"includes": ("p/none",)}),
        ("/p/f", {"includes": ("p/f",), "excludes": ("p",)}),
        ("/link/f", {"includes": ("link/f",)}),
        ("/", {"includes": ("",)}),
    ],
)
def test_with_parents_a_plain_path_must_be_selected(
    pair: Pair, required: str, options: dict[str, Any]
) -> None:
    pair.put("p/f")
    (pair.source / "link").symlink_to("p")
    with pytest.raises(BuildError) as caught:
        pair.copy("/", "/n/", parents=True, required=(required,), **options)
    assert caught.value.what == f'"{required}": not found'


def test_messages_name_paths_as_the_image_has_them(pair: Pair) -> None:
    pair.put("f")
    pair.put("d/x")
    (pair.root / "file").touch()
    (pair.root / "to/x").mkdir(parents=True)
    for source, dest, message in (
        ("/f", "/file/below", "mkdir /file: not a directory"),
        ("/d", "/file", "cannot copy to non-directory: /file"),
        ("/d", "/to", "cannot replace to directory /to/x with file"),
    ):
        with pytest.raises(BuildError) as caught:
            pair.copy(source, dest)
        assert caught.value.what == message


def test_a_pattern_before_the_pivot_means_directories(pair: Pair) -> None:
    pair.put("p/q/f")
    pair.put("top.txt")
    pair.copy("/*", "/n/", parents=True, includes=("*/f",))
    assert pair.files == ["n", "n/q", "n/q/f"]


@pytest.mark.parametrize(("wanted", "time"), [("q/f", 5), ("y/f", 7), ("none", 5)])
def test_a_destination_has_the_time_of_a_pivot_with_something_to_copy(
    pair: Pair, wanted: str, time: int
) -> None:
    pair.put("p/q/f")
    pair.put("x/y/f")
    os.utime(pair.source / "p", (5, 5))
    os.utime(pair.source / "x", (7, 7))
    pair.copy("/*", "/n/", parents=True, includes=(wanted,))
    assert (pair.root / "n").stat().st_mtime == time


def test_directories_are_copied_however_deep_they_are(pair: Pair) -> None:
    """Deeper than Python recurses: a step makes as many as it likes."""
    path = "/".join("d" * 1500)
    place = pair.source
    here = os.open(place, os.O_RDONLY)
    for name in path.split("/"):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    before = pair.digest("/")
    pair.copy("/", "/")
    assert (pair.root / path).is_dir()
    assert pair.digest("/") == before
    # Those who clean up after the tests recurse.
    for root in (pair.source, pair.root):
        assert delete_tree(root / "d")
