"""`viaduct du` and `viaduct prune`, and the collection that happens by itself."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from tests.parts import readers
from tests.parts.command import VIADUCT, viaduct

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parts.contexts import Context


def _text(*arguments: str, stdin: bytes = b"") -> str:
    return viaduct(*arguments, stdin=stdin).stdout.decode()


def _records(*filters: str) -> list[dict[str, object]]:
    options = [word for each in filters for word in ("--filter", each)]
    return [json.loads(line) for line in _text("du", "--format", "json", *options).splitlines()]


def _types(*filters: str) -> list[str]:
    return sorted(str(record["Type"]) for record in _records(*filters))


@pytest.fixture
def built(context: Context) -> Context:
    """A build that left records of several types: steps, a layer of the base, a cache mount."""
    context.dockerfile(
        "FROM BASE\n"
        "RUN --mount=type=cache,target=/cache head -c 300000 /dev/zero > /cache/file\n"
        "RUN head -c 500000 /dev/zero > /file\n"
    )
    context.build()
    return context


def _sizes(text: str) -> dict[str, str]:
    """The sums at the end of `viaduct du`."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if ":\t" in line)
    return {name: size.strip() for name, size in (line.split(":", 1) for line in lines[start:])}


def test_the_cache_is_listed_with_sums(built: Context) -> None:
    text = _text("du")
    assert text.splitlines()[0].split() == ["ID", "RECLAIMABLE", "SIZE", "LAST", "ACCESSED"]
    assert set(_sizes(text)) == {"Reclaimable", "Total"}
    assert _types() == ["exec.cachemount", "internal", "regular", "regular", "regular"]
    steps = {str(each["Description"]): each for each in _records("type=regular")}
    (step,) = [each for name, each in steps.items() if name.endswith("> /file")]
    assert str(step["Size"]).startswith("50")
    assert step["Reclaimable"] is True
    assert step["Parents"] == [
        each["ID"] for name, each in steps.items() if name.endswith("> /cache/file")
    ]
    (mount,) = _records("type=exec.cachemount")
    assert mount["Mutable"] is True
    pretty = _text("du", "--verbose")
    assert "Type:         exec.cachemount\n" in pretty
    formatted = _text("du", "--format", "pretty")
    assert len(formatted.splitlines()) == len(pretty.splitlines())
    ids = _text("du", "--format", "{{.ID}}").splitlines()
    assert len(ids) == 5


def test_the_list_is_filtered(built: Context) -> None:
    assert _types("type=exec.cachemount") == ["exec.cachemount"]
    assert _types("type!=regular") == ["exec.cachemount", "internal"]
    assert _types("type~=^reg", "description~=RUN") == ["regular", "regular"]
    assert _types("mutable") == ["exec.cachemount"]
    assert _types("immutable=false") == ["exec.cachemount"]
    assert _types("inuse") == []
    assert _types("until=1h") == []
    assert len(_types("until=0s")) == 5
    assert "Total" not in _text("du", "--filter", "private")
    for wrong, said in (
        ("color=red", "invalid filter 'color'"),
        ("until=soon", "expects a duration"),
        ("id~=(", "invalid filter"),
        ("mutable=perhaps", "invalid filter"),
    ):
        done = viaduct("du", "--filter", wrong, check=False)
        assert done.returncode == 1
        assert said in done.stderr.decode()


def test_nothing_is_removed_without_a_yes(built: Context) -> None:
    said = _text("prune", stdin=b"n\n")
    assert said == (
        "WARNING! This will remove all dangling build cache. "
        "Are you sure you want to continue? [y/N] "
    )
    assert len(_records()) == 5
    said = _text("prune", "--all", stdin=b"y\n")
    assert "WARNING! This will remove all build cache." in said
    assert _records() == []


def test_pruning_tells_what_it_freed(built: Context, clean_env: Path) -> None:
    before = _sizes(_text("du"))["Total"]
    lines = _text("prune", "-f").splitlines()
    assert lines[0].split("\t")[0].strip() == "ID"
    assert len(lines) == 1 + 4 + 1, "internal records stay"
    assert lines[-1].startswith("Total:\t")
    assert _types() == ["internal"]
    verbose = _text("prune", "-af", "--verbose")
    assert "Type:         internal\n" in verbose
    assert _sizes(_text("du"))["Total"] == "0B"
    assert before.endswith("MB")
    assert os.listdir(clean_env / "snapshots") == []
    assert os.listdir(clean_env / "content/blobs/sha256") == []


def test_filters_and_limits_choose_what_goes(built: Context) -> None:
    _text("prune", "-f", "--filter", "type=exec.cachemount")
    assert "exec.cachemount" not in _types()
    _text("prune", "-f", "--filter", "until=1h")
    assert len(_types("type=regular")) == 3
    _text("prune", "-f", "--max-used-space", "100g", "--min-free-space", "1k")
    assert len(_types("type=regular")) == 3
    _text("prune", "-f", "--reserved-space", "100g", "--max-used-space", "1")
    assert len(_types("type=regular")) == 3
    done = viaduct("prune", "-f", "--keep-storage", "1g")
    assert b"has been deprecated" in done.stderr
    assert len(_types("type=regular")) == 3
    total = float(_sizes(_text("du"))["Total"].removesuffix("MB")) * 1_000_000
    _text("prune", "-f", "--max-used-space", str(int(total) - 100_000))
    assert len(_types("type=regular")) == 2, "the last step goes, the layers below it stay"


def test_what_a_tagged_image_needs_stays(built: Context, clean_env: Path) -> None:
    built.build("--load", "-t", "app:1")
    assert {record["Shared"] for record in _records("type=regular")} == {True}
    _text("prune", "-f")
    assert len(_records("type=regular")) == 3, "shared records go only with --all"
    _text("prune", "-af")
    assert _text("run", "app:1", "sh", "-c", "wc -c < /file") == "500000\n"
    _text("save", "-o", str(clean_env / "app.tar"), "app:1")
    again = built.build("--load", "-t", "app:2")
    assert again.log.text.count("CACHED") == 0
    assert _text("run", "app:2", "sh", "-c", "wc -c < /file") == "500000\n"
    readers.check_layout(clean_env / "content")


def test_a_build_goes_on_while_the_cache_is_pruned(context: Context, clean_env: Path) -> None:
    """Two processes: whatever the collector takes, the build's own results stay."""
    steps = "".join(f"RUN echo {number} > /file{number}\n" for number in range(12))
    context.dockerfile(f"FROM BASE\n{steps}RUN cat /file* | wc -l\n")
    over = threading.Event()
    pruned: list[int] = []

    def prune() -> None:
        while not over.is_set():
            done = subprocess.run(
                [*VIADUCT, "prune", "-af"], capture_output=True, check=False, timeout=60
            )
            pruned.append(done.returncode)

    thread = threading.Thread(target=prune)
    thread.start()
    try:
        for _ in range(3):
            done = context.build("--load", "-t", "app:1")
            assert " 12\n" in done.stderr or "CACHED" in done.stderr
    finally:
        over.set()
        thread.join()
    assert pruned
    assert set(pruned) == {0}
    assert _text("run", "app:1", "sh", "-c", "cat /file* | wc -l").strip() == "12"
    readers.check_layout(clean_env / "content")


def test_the_cache_is_kept_below_its_limit_by_itself(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIADUCT_GC_MAX_USED_SPACE", "12MB")
    for number in range(6):
        context.dockerfile(f"FROM BASE\nRUN head -c 2000000 /dev/urandom > /file{number}\n")
        context.build()
    steps = [str(each["Description"]) for each in _records("description~=urandom")]
    assert len(steps) == 2, "the base has 3 MB, and a step with its layer 4"
    assert any("/file5" in step for step in steps), "the last one above all"
    again = context.build()
    assert "CACHED" in again.stderr


def test_a_limit_that_makes_no_sense_is_told_before_the_build(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    context.dockerfile("FROM BASE\nRUN true\n")
    monkeypatch.setenv("VIADUCT_GC_MAX_USED_SPACE", "plenty")
    done = context.build(check=False)
    assert done.status == 1
    assert "VIADUCT_GC_MAX_USED_SPACE=plenty is not a size" in done.stderr
    monkeypatch.setenv("VIADUCT_GC", "off")
    context.build()


_FULL = """
set -e
mount -t tmpfs -o size=64m tmpfs "$1"
export VIADUCT_HOME="$1/state"
viaduct build -q --load -t kept:1 "$2" > /dev/null
echo "RUN-less: $(viaduct images -q | wc -l)"
viaduct build -q --build-arg WHAT=b "$2" > /dev/null
dd if=/dev/zero of="$1/filler" bs=4k 2> /dev/null || true
dd if=/dev/zero of="$1/more" bs=1 2> /dev/null || true
if viaduct images 2> "$2/said"; then echo "not full"; fi
grep -o "no space left on device" "$2/said"
viaduct prune -af | tail -1
viaduct images -q | wc -l
"""


def test_a_full_disk_is_mended_by_pruning(tmp_path: Path) -> None:
    context, disk = tmp_path / "context", tmp_path / "disk"
    context.mkdir()
    disk.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nARG WHAT=a\nCOPY $WHAT /\n")
    for name in "ab":
        (context / name).write_bytes(os.urandom(3_000_000))
    (tmp_path / "viaduct").write_text(f'#!/bin/sh\nexec {" ".join(VIADUCT)} "$@"\n')
    (tmp_path / "viaduct").chmod(0o755)
    done = subprocess.run(
        [
            *["unshare", "--map-root-user", "--mount", "sh", "-c", _FULL, "sh"],
            *[str(disk), str(context)],
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, told, freed, left = done.stdout.splitlines()
    assert (first, told, left) == ("RUN-less: 1", "no space left on device", "1")
    assert freed.startswith("Total:\t9."), "two files of 3 MB, and a layer of one of them"
