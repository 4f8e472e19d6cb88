"""What a build left in its root file system, read with the standard library alone."""

from __future__ import annotations

import json
import stat
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.parts.contexts import Context


#: Longer files are nobody's text.
_SHORT = 1 << 20


class FileTree:
    """The files of a build's result by path, as `-o type=tar` wrote them."""

    def __init__(self, members: dict[str, tarfile.TarInfo], texts: dict[str, str]) -> None:
        self._members = members
        self._texts = texts

    def __contains__(self, path: str) -> bool:
        return path in self._members

    def text(self, path: str) -> str:
        """The content of a file, as text."""
        return self._texts[path]

    def lines(self, path: str) -> list[str]:
        return self._texts[path].splitlines()

    def below(self, path: str) -> list[str]:
        """Every path inside of a directory, relative to it, in order."""
        prefix = path.rstrip("/") + "/" if path else ""
        return sorted(
            name.removeprefix(prefix)
            for name in self._members
            if name.startswith(prefix) and name != prefix
        )

    def owner(self, path: str) -> tuple[int, int]:
        member = self._members[path]
        return member.uid, member.gid

    def mode(self, path: str) -> int:
        return stat.S_IMODE(self._members[path].mode)

    def link(self, path: str) -> str:
        """The target of a symbolic link."""
        assert self._members[path].issym()
        return self._members[path].linkname


def build_tree(context: Context, *options: str, stdin: bytes = b"", where: str = "") -> FileTree:
    """Build the context and read the result; the build must succeed."""
    dest = context.root.parent / f"{context.root.name}.tar"
    context.build(*options, "-o", f"type=tar,dest={dest}", stdin=stdin, where=where)
    members, texts = {}, {}
    with tarfile.open(dest) as archive:
        for member in archive:
            path = member.name.rstrip("/")
            members[path] = member
            if member.isreg() and member.size < _SHORT:
                file = archive.extractfile(member)
                assert file is not None
                texts[path] = file.read().decode(errors="replace")
    return FileTree(members, texts)


def build_layers(
    context: Context,
    *options: str,
    env: Mapping[str, str] | None = None,
    around: Sequence[str] = (),
) -> list[tuple[str, tuple[str, ...]]]:
    """Digest and member names of the layers of one image, base first."""
    dest = context.root.parent / f"{context.root.name}.oci.tar"
    output = ("--provenance=false", "-o", f"type=oci,dest={dest}")
    context.build(*options, *output, env=env, around=around)
    found = []
    with tarfile.open(dest) as layout:

        def blob(digest: str) -> bytes:
            file = layout.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert file is not None
            return file.read()

        index = layout.extractfile("index.json")
        assert index is not None
        manifest = json.loads(blob(json.load(index)["manifests"][0]["digest"]))
        for layer in manifest["layers"]:
            file = layout.extractfile(f"blobs/{layer['digest'].replace(':', '/')}")
            assert file is not None
            with tarfile.open(fileobj=file) as archive:
                names = tuple(member.name.rstrip("/") for member in archive)
            found.append((layer["digest"], names))
    return found
