"""Blobs: whole, verified, and there for all processes or not at all."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest
from tests.parts.stores import Partner, digest_of, other_process
from tests.parts.users import ordinary_user

from viaduct.base.errors import ContentError, NotFound, StoreError
from viaduct.oci import digest as digests
from viaduct.store.content import ContentStore
from viaduct.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

DATA = b"content" * 1000
DIGEST = digests.of(DATA)


def test_what_was_put_is_read_back_by_its_digest(store: Store) -> None:
    content = store.content
    assert content.put(DATA) == (DIGEST, len(DATA))
    assert content.has(DIGEST)
    assert content.size(DIGEST) == len(DATA)
    assert content.read(DIGEST) == DATA
    with content.open(DIGEST) as file:
        assert file.read() == DATA
    assert [(blob.digest, blob.size) for blob in content.walk()] == [(DIGEST, len(DATA))]
    assert content.path(DIGEST).stat().st_mode & 0o777 == 0o444


def test_other_algorithms_have_folders_of_their_own(store: Store) -> None:
    digest = digests.of(DATA, "sha512")
    store.content.put(DATA, digest)
    assert store.content.read(digest) == DATA
    assert store.content.path(digest).parent.name == "sha512"
    assert [blob.digest for blob in store.content.walk()] == [digest]


def test_what_is_not_here_is_told(store: Store) -> None:
    missing = digest_of("missing")
    assert not store.content.has(missing)
    assert not store.content.exists(missing)
    assert store.content.last_used(missing) is None
    assert not store.content.delete(missing)
    with pytest.raises(NotFound, match="is not in the store"):
        store.content.open(missing)
    with pytest.raises(NotFound):
        store.content.size(missing)


def test_content_must_be_what_was_announced(store: Store) -> None:
    with pytest.raises(ContentError, match="instead of"):
        store.content.put(DATA, digest_of("else"))
    with (
        pytest.raises(ContentError, match="instead of sha256"),
        store.content.ingest(digest_of("else")) as ingest,
    ):
        ingest.write(DATA)
        ingest.commit()
    with (
        pytest.raises(ContentError, match="more than the 10 bytes announced"),
        store.content.ingest(DIGEST, 10) as ingest,
    ):
        ingest.write(DATA)
    with (
        pytest.raises(ContentError, match="instead of the 7001 announced"),
        store.content.ingest(DIGEST, 7001) as ingest,
    ):
        ingest.write(DATA)
        ingest.commit()
    assert list(store.content.walk()) == []
    assert os.listdir(store.content.root / "ingest") == []


def test_a_blob_is_not_there_before_it_is_whole(store: Store) -> None:
    with store.content.ingest(DIGEST, len(DATA)) as ingest:
        ingest.write(DATA[:100])
        assert not store.content.has(DIGEST)
        ingest.write(memoryview(DATA)[100:])
        assert ingest.commit() == (DIGEST, len(DATA))
        assert store.content.has(DIGEST)
    assert store.content.read(DIGEST) == DATA


def test_without_a_commit_nothing_is_left(store: Store) -> None:
    with store.content.ingest() as ingest:
        ingest.write(DATA)
    assert list(store.content.walk()) == []
    assert os.listdir(store.content.root / "ingest") == []


def test_a_hash_made_elsewhere_is_believed_and_the_size_checked(store: Store) -> None:
    with store.content.ingest() as ingest:
        ingest.file.write(DATA)
        assert ingest.commit_hashed(DIGEST, len(DATA)) == len(DATA)
    assert store.content.read(DIGEST) == DATA
    with pytest.raises(ContentError, match="instead of 5"), store.content.ingest() as ingest:
        ingest.file.write(DATA)
        ingest.commit_hashed(digest_of("x"), 5)


def test_a_damaged_document_is_told_and_removed(store: Store) -> None:
    store.content.put(DATA)
    path = store.content.path(DIGEST)
    path.chmod(0o600)
    path.write_bytes(DATA[:-1] + b"!")
    with pytest.raises(ContentError, match="damaged on disk and has been removed"):
        store.content.read(DIGEST)
    assert not store.content.has(DIGEST)


def test_documents_have_a_limit(store: Store) -> None:
    store.content.put(DATA)
    with pytest.raises(ContentError, match="larger than 10 bytes"):
        store.content.read(DIGEST, limit=10)
    assert store.content.read(DIGEST, limit=len(DATA)) == DATA


def test_writers_of_the_same_blob_do_not_meet(store: Store) -> None:
    start = threading.Barrier(8)

    def write() -> None:
        with store.content.ingest(DIGEST, len(DATA)) as ingest:
            ingest.write(DATA)
            start.wait()
            ingest.commit()

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.content.read(DIGEST) == DATA
    assert os.listdir(store.content.root / "ingest") == []


def test_what_a_killed_writer_began_is_gone_with_the_next_start(root: Path) -> None:
    other_process(
        root,
        """
with store.content.ingest() as ingest:
    ingest.write(b"half")
    ingest.file.flush()
    die()
""",
    )
    assert len(os.listdir(root / "content/ingest")) == 1
    store = Store.open(root)
    assert os.listdir(root / "content/ingest") == []
    assert list(store.content.walk()) == []
    store.close()


def test_a_living_writer_is_left_alone(root: Path) -> None:
    script = """
with store.content.ingest() as ingest:
    ingest.write(b"from another process")
    print("ready", flush=True)
    sys.stdin.readline()
    ingest.commit()
"""
    with Partner(root, script) as partner:
        assert partner.wait_for_line() == "ready"
        store = Store.open(root)
        partner.finish()
    assert store.content.read(digests.of(b"from another process")) == b"from another process"
    store.close()


def test_a_killed_process_leaves_whole_blobs_or_none(root: Path) -> None:
    script = """
import hashlib, itertools
for number in itertools.count():
    data = str(number).encode() * 5000
    with store.content.ingest() as ingest:
        ingest.write(data)
        ingest.commit()
    if number == 3:
        print("ready", flush=True)
"""
    for _ in range(5):
        with Partner(root, script) as partner:
            assert partner.wait_for_line() == "ready"
            partner.kill()
        store = Store.open(root)
        blobs = list(store.content.walk())
        assert len(blobs) >= 4
        for blob in blobs:
            store.content.read(blob.digest)
        assert os.listdir(root / "content/ingest") == []
        store.close()


def test_a_user_that_was_killed_with_a_blob_ready_can_go_on() -> None:
    """What is left is read-only, which stops everybody but root."""
    script = """
import os, signal, sys
from pathlib import Path
from viaduct.store.content import ContentStore
content = ContentStore(Path("content"))
if sys.argv[1] == "dying":
    os.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
content.put(b"ready")
print(os.listdir("content/ingest"))
"""
    with ordinary_user() as user:
        killed = user.run([*user.python, "-c", script, "dying"], check=False)
        assert killed.returncode == -signal.SIGKILL
        assert user.run([*user.python, "-c", script, "again"]).stdout == b"[]\n"


def test_a_full_disk_is_told_and_leaves_nothing(root: Path) -> None:
    script = """
import resource
from viaduct.base.errors import StoreError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
for write in (lambda ingest: ingest.write, lambda ingest: ingest.file.write):
    try:
        with store.content.ingest() as ingest:
            for _ in range(50):
                write(ingest)(b"x" * 10_000)
            ingest.commit_hashed("sha256:" + "0" * 64)
    except StoreError as error:
        print(error.what)
print(list(store.content.walk()), os.listdir(store.content.root / "ingest"))
"""
    said = other_process(root, script).stdout.splitlines()
    assert said[0].startswith("File too large while storing a blob")
    assert said[1].startswith("File too large while storing a blob")
    assert said[2] == "[] []"


def test_uses_are_noted_once_for_a_running_build(tmp_path: Path) -> None:
    since = 0.0
    now = 2_000.0
    content = ContentStore(tmp_path, used_since=lambda: since, clock=lambda: now)
    content.put(DATA)
    assert content.last_used(DIGEST) == 2_000.0
    now, since = 3_000.0, 1_500.0
    assert content.has(DIGEST)
    assert content.last_used(DIGEST) == 2_000.0, "used since the build began already"
    since = 2_500.0
    assert content.exists(DIGEST)
    assert content.last_used(DIGEST) == 2_000.0, "to look is no use"
    assert content.has(DIGEST)
    assert content.last_used(DIGEST) == 3_000.0


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(StoreError, match="opening the content store"):
        ContentStore(tmp_path / "file")
