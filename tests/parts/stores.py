"""Images in a content store, and processes that die in the middle of using one."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from viaduct.oci import digest as digests
from viaduct.oci import media, models
from viaduct.oci.models import Descriptor, ImageConfig, Index, Manifest, PlatformSpec, RootFS
from viaduct.oci.platform import parse

if TYPE_CHECKING:
    from pathlib import Path

    from viaduct.oci.digest import Digest
    from viaduct.store.content import ContentStore

#: What a process that takes part in a test begins with: `store`, opened at its first argument.
_PROLOGUE = """
import os, signal, sys
from pathlib import Path
from viaduct.store.store import Store
store = Store.open(Path(sys.argv[1]))
def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""


@dataclass(frozen=True)
class Image:
    """One platform's image in a content store."""

    descriptor: Descriptor
    config: Descriptor
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[Digest, ...]

    @property
    def blobs(self) -> set[Digest]:
        return {part.digest for part in (self.descriptor, self.config, *self.layers)}


def put_image(
    content: ContentStore, *layers: bytes, platform: str = "linux/amd64", note: str = ""
) -> Image:
    """An image whose layers are these bytes, which need not be archives; `note` makes it another
    one with the same layers."""
    target = parse(platform)
    parts, diff_ids = [], []
    for data in layers:
        digest, size = content.put(data)
        parts.append(Descriptor(media_type=media.OCI_LAYER, digest=digest, size=size))
        diff_ids.append(digest)
    config = ImageConfig(
        architecture=target.architecture,
        os=target.os,
        variant=target.variant,
        author=note,
        rootfs=RootFS(diff_ids=tuple(diff_ids)),
    )
    described = _put(content, models.encode(config), media.OCI_CONFIG)
    manifest = Manifest(
        schema_version=2,
        media_type=media.OCI_MANIFEST,
        config=described,
        layers=tuple(parts),
    )
    written = _put(content, models.encode(manifest), media.OCI_MANIFEST)
    entry = Descriptor(
        media_type=written.media_type,
        digest=written.digest,
        size=written.size,
        platform=PlatformSpec.of(target),
    )
    return Image(entry, described, tuple(parts), tuple(diff_ids))


def put_index(content: ContentStore, *images: Image) -> Descriptor:
    """An index of the images."""
    index = Index(
        schema_version=2,
        media_type=media.OCI_INDEX,
        manifests=tuple(image.descriptor for image in images),
    )
    return _put(content, models.encode(index), media.OCI_INDEX)


def _put(content: ContentStore, data: bytes, media_type: str) -> Descriptor:
    digest, size = content.put(data)
    return Descriptor(media_type=media_type, digest=digest, size=size)


def digest_of(text: str) -> Digest:
    """Some digest."""
    return digests.of(text.encode())


def other_process(root: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `script` to its end in a process of its own, on the `store` at `root`. It may `die()`:
    end as by `kill -9`, which is asserted to have happened when it is in the script."""
    done = subprocess.run(
        [sys.executable, "-c", _PROLOGUE + script, str(root), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    expected = -9 if "die()" in script else 0
    assert done.returncode == expected, done.stderr
    return done


class Partner:
    """A process that works on the store at the same time: `script` prints a line when it is ready,
    and goes on when `finish` is called."""

    def __init__(self, root: Path, script: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROLOGUE + script, str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_for_line(self) -> str:
        """What it printed, or the empty string when it ended instead."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def release(self) -> None:
        """Let it go on."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def finish(self) -> None:
        """Let it go on to its end, which must be a good one."""
        self._process.communicate("\n", timeout=60)
        assert self._process.returncode == 0

    def pause(self, seconds: float) -> None:
        """Let it work for so long; it must not end by itself."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
            raise AssertionError(f"it ended with {self._process.returncode}")

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Partner:
        return self

    def __exit__(self, *failure: object) -> None:
        self.kill()
