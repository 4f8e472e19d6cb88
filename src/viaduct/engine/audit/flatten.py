"""Layers put on top of each other without a disk: which ELF files an image shows in the end.

As a runtime unpacks them: a layer's whiteouts hide what is below it, symbolic links on the way to a
member are followed inside of the image, and a later member takes the place of an earlier one. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from viaduct.base.errors import ContentError
from viaduct.base.values import Value
from viaduct.engine.audit.facts import ElfFile, Program
from viaduct.engine.audit.scan import Folder, Link
from viaduct.layer.tree import OPAQUE_MARKER, WHITEOUT_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from viaduct.engine.audit.scan import What

_MOST_LINKS: Final = 40
_DEEPEST: Final = 512
#: Names of another storage driver's own files.
_AUFS: Final = b".wh..wh."


class _File(Value):
    """Where a file came from; `program` is None for one that is no machine code."""

    layer: int
    program: Program | None


_Tree: TypeAlias = "dict[bytes, _Node]"
_Node: TypeAlias = "_Tree | _File | Link"


def flatten(layers: Sequence[Sequence[tuple[bytes, What]]]) -> tuple[ElfFile, ...]:
    """The ELF files of an image whose layers, the lowest first, have these members; in the order of
    their paths. Raises `ContentError` for layers that cannot be put on top of each other."""
    image = _Image()
    for number, members in enumerate(layers):
        marks = [path for path, _ in members if WHITEOUT_PREFIX in path]
        for path in marks:
            image.white_out(path)
        for path, what in members:
            if not (WHITEOUT_PREFIX in path and _is_mark(path)):
                image.put(path, what, number)
    found = [
        ElfFile(_shown(path), file.layer, file.program, image.has_loader(file.program))
        for path, file in image.files()
        if file.program is not None
    ]
    return tuple(sorted(found, key=lambda file: file.path))


class _Image:
    """A root file system in the making."""

    def __init__(self) -> None:
        self._root: _Tree = {}

    def white_out(self, path: bytes) -> None:
        """Do what a marker at `path` means to what is there so far, if it is one."""
        parent, _, name = path.rpartition(b"/")
        if not _is_mark(path):
            return
        directory = self._look(parent)
        if not isinstance(directory, dict):
            return
        if name == OPAQUE_MARKER:
            directory.clear()
        elif not name.startswith(_AUFS):
            directory.pop(name.removeprefix(WHITEOUT_PREFIX), None)

    def put(self, path: bytes, what: What, layer: int) -> None:
        """Make a member."""
        parent, _, name = path.rpartition(b"/")
        if isinstance(what, Link) and what.hard:
            found = self._look(what.target, follow=False)
            if found is None or isinstance(found, dict):
                raise ContentError(
                    f"{_shown(path)} is a hard link to {_shown(what.target)}, which does not exist"
                )
            self._directory(parent)[name] = found
            return
        directory = self._directory(parent)
        if isinstance(what, Folder):
            if not isinstance(directory.get(name), dict):
                directory[name] = {}
        elif isinstance(what, Link):
            directory[name] = what
        else:
            directory[name] = _File(layer, what if isinstance(what, Program) else None)

    def files(self) -> Iterator[tuple[bytes, _File]]:
        """Every file with its path."""
        todo: list[tuple[bytes, _Tree]] = [(b"", self._root)]
        while todo:
            below, directory = todo.pop()
            for name, node in directory.items():
                path = below + b"/" + name
                if isinstance(node, dict):
                    todo.append((path, node))
                elif isinstance(node, _File):
                    yield path, node

    def has_loader(self, program: Program) -> bool:
        """Whether the image has the loader that `program` asks for, or it asks for none."""
        if not program.loader:
            return True
        try:
            return isinstance(self._look(program.loader.encode()), _File)
        except ContentError:
            return False

    def _look(self, path: bytes, *, follow: bool = True) -> _Node | None:
        """What is at `path`, links on the way and (with `follow`) at its end followed."""
        return self._walk(path, make=False, follow=follow)

    def _directory(self, path: bytes) -> _Tree:
        """The directory at `path`, made when missing."""
        found = self._walk(path, make=True, follow=True)
        assert isinstance(found, dict)
        return found

    def _walk(self, path: bytes, *, make: bool, follow: bool) -> _Node | None:
        trail: list[_Tree] = [self._root]
        todo = path.split(b"/")[::-1]
        links = 0
        while todo:
            name = todo.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                if len(trail) > 1:
                    trail.pop()
                continue
            node = trail[-1].get(name)
            if isinstance(node, Link) and (todo or follow):
                links += 1
                if links > _MOST_LINKS:
                    raise ContentError(f"a circle of symbolic links at {_shown(path)}")
                if node.target.startswith(b"/"):
                    del trail[1:]
                todo += node.target.split(b"/")[::-1]
                continue
            if node is None and make:
                if len(trail) > _DEEPEST:
                    raise ContentError("directories are too deep to be looked at")
                node = trail[-1][name] = {}
            if isinstance(node, dict):
                trail.append(node)
                continue
            if make:
                raise ContentError(f"{_shown(path)} is a directory in one layer and not in another")
            return None if any(part not in (b"", b".") for part in todo) else node
        return trail[-1]


def _is_mark(path: bytes) -> bool:
    """Whether this is a whiteout, or something else that says and holds nothing."""
    name = path.rpartition(b"/")[2]
    return name.startswith(WHITEOUT_PREFIX) or b"/" + _AUFS in b"/" + path


def _shown(path: bytes) -> str:
    """A path as text that can be printed and encoded, whatever bytes it has."""
    return "/" + path.decode("utf-8", "backslashreplace").lstrip("/")
