"""A layer is read once, and says what it holds."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

import pytest
from tests.parts import rootfs

from viaduct.base.errors import Canceled, ContentError
from viaduct.base.tasks import Stop
from viaduct.engine.audit.facts import Program
from viaduct.engine.audit.scan import Contents, Folder, Link, Plain, scan
from viaduct.sandbox import probe
from viaduct.sandbox.machines import MACHINES

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = probe.program(MACHINES["arm64"])


def archive(files: Mapping[str, bytes], *, mode: int = 0o755) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), mode
            tar.addfile(info, io.BytesIO(data))
        for name, kind in (("d", tarfile.DIRTYPE), ("s", tarfile.SYMTYPE), ("h", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "./a" if kind != tarfile.DIRTYPE else ""
            tar.addfile(info)
    return out.getvalue()


def scanned(data: bytes) -> Contents:
    return scan(io.BytesIO(data), Stop())


def test_members_are_told_apart() -> None:
    data = archive({"./a": PROGRAM, "b": b"#!/bin/sh\n", "c": b"\x7fEL", "e": b"\x7fELF" * 9})
    contents = scanned(data)
    assert contents.diff_id == f"sha256:{hashlib.sha256(data).hexdigest()}"
    found = dict(contents.members)
    assert list(found) == [b"a", b"b", b"c", b"e", b"d", b"s", b"h"]
    program = found[b"a"]
    assert isinstance(program, Program)
    assert (program.machine, program.loader, program.executable) == ("arm64", "", True)
    assert found[b"b"] == found[b"c"] == Plain()
    odd = found[b"e"]
    assert isinstance(odd, Program)
    assert odd.machine == ""
    assert (found[b"d"], found[b"s"], found[b"h"]) == (
        Folder(),
        Link(b"./a"),
        Link(b"a", hard=True),
    )


def test_compression_makes_no_difference() -> None:
    data = archive({"a": PROGRAM}, mode=0o644)
    assert scanned(gzip.compress(data)) == scanned(data)
    program = dict(scanned(data).members)[b"a"]
    assert isinstance(program, Program)
    assert not program.executable


def test_a_dynamic_program_names_its_loader() -> None:
    with rootfs.debian("arm64").open("rb") as file:
        members = dict(scan(file, Stop()).members)
    program = members[b"usr/bin/dash"]
    assert isinstance(program, Program)
    assert program.loader == "/lib/ld-linux-aarch64.so.1"


@pytest.mark.parametrize(
    "data",
    [
        b"nothing like an archive" * 100,
        archive({"a": PROGRAM})[:600],
        archive({"../a": PROGRAM}),
        archive({"a": PROGRAM}) + b"more",
        gzip.compress(archive({"a": PROGRAM}))[:-1],
    ],
)
def test_what_is_no_layer_is_refused(data: bytes) -> None:
    with pytest.raises(ContentError):
        scanned(data)


def test_it_can_be_stopped() -> None:
    stop = Stop()
    stop.set()
    with pytest.raises(Canceled):
        scan(io.BytesIO(archive({"a": PROGRAM})), stop)
