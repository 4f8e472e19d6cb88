"""Layers on top of each other show what a runtime that unpacks them shows."""

from __future__ import annotations

import pytest

from viaduct.base.errors import ContentError
from viaduct.engine.audit.facts import Program
from viaduct.engine.audit.flatten import flatten
from viaduct.engine.audit.scan import Folder, Link, Plain, What
from viaduct.oci.elf import Header

AMD64 = Program(Header(64, big=False, kind=2, code=62))
ARM64 = Program(Header(64, big=False, kind=2, code=183))
DYNAMIC = Program(Header(64, big=False, kind=3, code=183), loader="/lib/ld.so")
PLAIN = Plain()


def shown(*layers: dict[str, What]) -> dict[str, tuple[int, str]]:
    """Path → layer and machine."""
    members = [[(path.encode(), what) for path, what in layer.items()] for layer in layers]
    return {file.path: (file.layer, file.program.machine) for file in flatten(members)}


def test_a_later_layer_wins() -> None:
    assert shown({"bin/a": AMD64, "bin/b": AMD64}, {"bin/a": ARM64}) == {
        "/bin/a": (1, "arm64"),
        "/bin/b": (0, "amd64"),
    }
    assert shown({"bin/a": AMD64}, {"bin/a": PLAIN}) == {}
    assert shown({"bin/a": AMD64}, {"bin": PLAIN}) == {}
    assert shown({"bin/a": AMD64}, {"bin": Folder()}) == {"/bin/a": (0, "amd64")}


def test_whiteouts_hide_what_is_below_them_only() -> None:
    assert shown({"bin/a": AMD64}, {"bin/.wh.a": PLAIN}) == {}
    assert shown({"bin/a": AMD64}, {".wh.bin": PLAIN}) == {}
    assert shown({"bin/a": AMD64}, {"bin/a": ARM64, "bin/.wh.a": PLAIN}) == {"/bin/a": (1, "arm64")}
    assert shown(
        {"bin/a": AMD64, "bin/b/c": AMD64},
        {"bin/d": ARM64, "bin/.wh..wh..opq": PLAIN},
    ) == {"/bin/d": (1, "arm64")}
    assert shown({"bin/a": AMD64}, {"none/.wh.a": PLAIN, "bin/.wh..wh.plnk": PLAIN}) == {
        "/bin/a": (0, "amd64")
    }


def test_symbolic_links_on_the_way_are_followed_inside_of_the_image() -> None:
    base: dict[str, What] = {
        "usr/lib/a": AMD64,
        "lib": Link(b"usr/lib"),
        "lib64": Link(b"/../lib"),
    }
    assert shown(base, {"lib/a": ARM64}) == {"/usr/lib/a": (1, "arm64")}
    assert shown(base, {"lib64/.wh.a": PLAIN}) == {}
    assert shown(base, {".wh.lib": PLAIN, "lib/b": ARM64}) == {
        "/lib/b": (1, "arm64"),
        "/usr/lib/a": (0, "amd64"),
    }
    assert shown({"a": Link(b"../../b")}, {"a/c": ARM64}) == {"/b/c": (1, "arm64")}


def test_a_link_is_not_the_file() -> None:
    assert shown({"bin/a": AMD64, "bin/b": Link(b"a")}) == {"/bin/a": (0, "amd64")}
    assert shown({"bin/a": AMD64}, {"bin/a": Link(b"b")}) == {}


def test_a_hard_link_is_the_file_and_of_its_layer() -> None:
    assert shown({"bin/a": AMD64}, {"bin/b": Link(b"bin/a", hard=True), "bin/a": ARM64}) == {
        "/bin/a": (1, "arm64"),
        "/bin/b": (0, "amd64"),
    }
    with pytest.raises(ContentError, match="does not exist"):
        shown({"bin/b": Link(b"bin/a", hard=True)})


def test_loaders_are_looked_for_through_links() -> None:
    def found(*layers: dict[str, What]) -> list[bool]:
        members = [[(path.encode(), what) for path, what in layer.items()] for layer in layers]
        return [file.loadable for file in flatten(members)]

    assert found({"a": DYNAMIC}) == [False]
    assert found({"a": DYNAMIC, "usr/lib/ld.so": PLAIN, "lib": Link(b"usr/lib")}) == [True]
    assert found({"a": DYNAMIC, "lib/ld.so": Link(b"gone")}) == [False]
    assert found({"a": DYNAMIC, "lib": Link(b"lib")}) == [False]


@pytest.mark.parametrize(
    "layers",
    [
        [{"a": PLAIN}, {"a/b": ARM64}],
        [{"a": Link(b"b"), "b": Link(b"a")}, {"a/c": ARM64}],
    ],
)
def test_layers_that_do_not_fit_are_told(layers: list[dict[str, What]]) -> None:
    with pytest.raises(ContentError):
        shown(*layers)


def test_names_that_are_no_text_are_shown_all_the_same() -> None:
    (file,) = flatten([[(b"bin/\xff\x1b", AMD64)]])
    assert file.path == "/bin/\\xff\x1b"
    file.path.encode()


def test_directories_that_no_honest_layer_has_are_refused() -> None:
    """A link into what it has made itself gets deeper with each layer."""
    deep = "/".join("d" * 300)
    first: dict[str, What] = {f"{deep}/a": PLAIN, "up": Link(deep.encode())}
    with pytest.raises(ContentError, match="too deep"):
        shown(first, {f"up/{deep}/a": ARM64})
