"""The local store from a Python program."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from viaduct import api
from viaduct.base.errors import Canceled, NotFound, PlatformError, SandboxError
from viaduct.base.events import Finished, Started
from viaduct.base.tasks import Stop
from viaduct.engine.container import RunRequest
from viaduct.oci.platform import parse
from viaduct.store.keep import Rule

if TYPE_CHECKING:
    from viaduct.base.events import Event
    from viaduct.store.keep import Record

ARM64 = parse("linux/arm64")


def test_images_come_and_go(busybox: str, registry: str) -> None:
    events: list[Event] = []
    brought = api.pull(busybox, platforms=[ARM64], sink=events.append)
    assert brought.news
    assert brought.image.name == busybox
    assert [variant.platform for variant in brought.image.variants] == [ARM64]
    assert [str(platform) for platform in brought.image.missing] == ["linux/amd64"]
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    assert not api.pull(busybox, platforms=[ARM64]).news
    name = f"{registry}/store-api:1"
    api.tag_image(busybox, name)
    assert api.push(name).digest == brought.image.root.digest
    assert {image.name for image in api.stored_images()} == {busybox, name}
    archive = io.BytesIO()
    api.save_images([name], archive)
    assert api.remove_image(name).deleted == ()
    assert len(api.remove_image(busybox).deleted) == 4
    assert api.stored_images() == ()
    archive.seek(0)
    (loaded,) = api.load_images(archive)
    assert loaded.names == (name,)
    assert loaded.root.digest == brought.image.variants[0].descriptor.digest


def test_errors_are_of_the_family(busybox: str) -> None:
    with pytest.raises(PlatformError, match="has no image for linux/s390x"):
        api.pull(busybox, platforms=[parse("linux/s390x")])
    for call in (api.push, api.remove_image, lambda name: api.tag_image(name, "x")):
        with pytest.raises(NotFound, match="no such image"):
            call("nosuch")
    stop = Stop()
    stop.set()
    with pytest.raises(Canceled):
        api.pull(busybox, stop=stop)
    with pytest.raises(SandboxError, match="not entered"):
        api.run(RunRequest("nosuch"))


def test_the_cache_is_looked_at_and_pruned() -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        data = b"content that no image names"
        for name in ("blobs/loose", "index.json"):
            info = tarfile.TarInfo(name)
            document = data if name == "blobs/loose" else b'{"schemaVersion": 2, "manifests": []}'
            info.size = len(document)
            tar.addfile(info, io.BytesIO(document))
    archive.seek(0)
    assert api.load_images(archive) == ()
    (record,) = api.disk_usage()
    assert record.size == len(data)
    removed: list[Record] = []
    assert api.prune(Rule(), removed=removed.append) == len(data)
    assert [each.id for each in removed] == [record.id]
    assert api.disk_usage() == ()


def test_a_program_runs_in_a_process_that_entered(busybox: str) -> None:
    script = (
        "from viaduct import api\n"
        "from viaduct.engine.container import RunRequest\n"
        "from viaduct.oci.platform import parse\n"
        "from viaduct.sandbox import enter\n"
        "enter.enter()\n"
        f"request = RunRequest({busybox!r}, ('sh', '-c', 'uname -m; exit 3'), parse('arm64'))\n"
        "ended = api.run(request, ready=lambda variant: print(variant.platform, flush=True))\n"
        "print(ended.status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["linux/arm64", "aarch64", "3"], done.stderr
