"""Networks break, registries are busy: what a person gets nevertheless, or is told."""

from __future__ import annotations

import email.utils
import io
import socket
import threading
import time
from typing import TYPE_CHECKING, BinaryIO

import pytest
from tests.parts import pictures
from tests.parts.docker_registry import free_port
from tests.parts.front import Exchange, answering, breaking, changing, running_front, times
from tests.parts.pictures import Blobs
from tests.unit.registry.conftest import HASTE, Listener, at, make_client

from viaduct.base.errors import Canceled, ContentError, RegistryError
from viaduct.base.tasks import Stop
from viaduct.oci import digest as digests
from viaduct.oci import media
from viaduct.oci.models import Descriptor
from viaduct.registry.failures import Broken, Refused
from viaduct.registry.push import push
from viaduct.registry.retry import Patience
from viaduct.registry.upload import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from viaduct.registry.client import Client

DATA = pictures.noise(1_500_000)
BLOB = Descriptor(media_type=media.OCI_LAYER, digest=digests.of(DATA), size=len(DATA))


def opened() -> BinaryIO:
    return io.BytesIO(DATA)


def put(client: Client, host: str, name: str = "app") -> Outcome:
    return client.upload_blob(at(host, name), BLOB, opened)


# --- downloads


@pytest.mark.parametrize("after", [0, 1, 65_536, 1_000_000, len(DATA) - 1])
def test_a_download_goes_on_where_it_broke(client: Client, host: str, after: int) -> None:
    put(client, host, "faults/down")
    rule = times(3, breaking("GET", "/blobs/", download=after or None))
    with running_front(host, rule) as front:
        assert client.blob(at(front.address, "faults/down"), BLOB).read() == DATA
        asked = [seen.headers.get("range") for seen in front.asked("GET", "/blobs/")]
    assert asked[1] == (f"bytes={after}-" if after else None)


def test_a_registry_without_range_sends_it_again(client: Client, ours: str) -> None:
    put(client, ours)

    def deaf(exchange: Exchange) -> bool:
        del exchange.headers["Range"]
        return False

    cut = times(1, breaking("GET", "/blobs/", download=700_000))
    with running_front(ours, cut, deaf) as front:
        assert client.blob(at(front.address, "app"), BLOB).read() == DATA


def test_a_range_from_another_place_is_noticed(client: Client, ours: str) -> None:
    put(client, ours)

    def elsewhere(exchange: Exchange) -> bool:
        if exchange.headers.get("Range"):
            exchange.headers.replace_header("Range", "bytes=5-")
        return False

    cut = times(1, breaking("GET", "/blobs/", download=700_000))
    with (
        running_front(ours, cut, elsewhere) as front,
        pytest.raises(ContentError, match="another place"),
    ):
        client.blob(at(front.address, "app"), BLOB).read()


def test_other_bytes_are_never_handed_out_whole(client: Client, ours: str) -> None:
    put(client, ours)
    flip = changing("GET", "/blobs/", lambda piece: piece[::-1])
    received = bytearray()
    with running_front(ours, flip) as front:
        stream = client.blob(at(front.address, "app"), BLOB)
        with pytest.raises(ContentError, match="other bytes"):
            while piece := stream.read(100_000):
                received += piece
    assert len(received) < len(DATA)


@pytest.mark.parametrize(("size", "length"), [(10, 9), (10, 11)])
def test_a_size_that_is_wrong_is_noticed_before_the_bytes(
    client: Client, ours: str, size: int, length: int
) -> None:
    data = b"x" * length
    descriptor = Descriptor(media_type="a/b", digest=digests.of(data), size=size)
    client.upload_blob(
        at(ours, "app"),
        Descriptor(media_type="a/b", digest=digests.of(data), size=length),
        lambda: io.BytesIO(data),
    )
    with pytest.raises(ContentError, match=f"has {length} bytes"):
        client.blob(at(ours, "app"), descriptor)


def test_a_body_longer_than_told_is_noticed(client: Client, ours: str) -> None:
    put(client, ours)

    def chunked(exchange: Exchange) -> bool:
        if not exchange.matches("GET", "/blobs/"):
            return False
        exchange.send_response_only(200)
        exchange.send_header("Transfer-Encoding", "chunked")
        exchange.end_headers()
        for piece in (DATA, b"more"):
            exchange.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        exchange.wfile.write(b"0\r\n\r\n")
        exchange.wfile.flush()
        return True

    with (
        running_front(ours, chunked) as front,
        pytest.raises(ContentError, match="more than its size"),
    ):
        client.blob(at(front.address, "app"), BLOB).read()


def test_a_download_that_breaks_forever_ends(client: Client, ours: str) -> None:
    put(client, ours)
    with running_front(ours, breaking("GET", "/blobs/")) as front:
        with pytest.raises(Broken, match="Connection reset by peer"):
            client.blob(at(front.address, "app"), BLOB).read()
        assert len(front.asked("GET", "/blobs/")) == HASTE.attempts


def test_an_interrupted_ingest_leaves_nothing(client: Client, ours: str, tmp_path: Path) -> None:
    put(client, ours)
    store = Blobs(tmp_path / "store")
    with (
        running_front(ours, changing("GET", "/blobs/", lambda p: p[::-1])) as front,
        pytest.raises(ContentError),
    ):
        client.fetch_blob(at(front.address, "app"), BLOB, store)
    assert store.all() == {}
    client.fetch_blob(at(ours, "app"), BLOB, store)
    assert store.read(BLOB.digest) == DATA


# --- uploads


@pytest.mark.parametrize("after", [1, 65_536, 1_000_000])
def test_an_upload_goes_on_where_it_broke(
    client: Client, host: str, after: int, request: pytest.FixtureRequest
) -> None:
    name = f"faults/up{after}"
    told: list[int] = []
    with running_front(host, times(1, breaking("PUT", "/uploads/", upload=after))) as front:
        outcome = client.upload_blob(at(front.address, name), BLOB, opened, moved=told.append)
        resumed = front.asked("PATCH", "/uploads/")
    assert outcome is Outcome.UPLOADED
    assert client.blob(at(host, name), BLOB).read() == DATA
    assert told[-1] == len(DATA)
    # The distribution project's server forgets an upload whose PUT breaks; ours goes on.
    if after > 1 and "docker" not in request.node.name:
        (patch,) = resumed
        start = int(patch.headers["content-range"].partition("-")[0])
        assert 0 < start <= after
        assert int(patch.headers["content-length"]) == len(DATA) - start


def test_an_upload_resumes_more_than_once(client: Client, host: str) -> None:
    rules = (
        times(1, breaking("PUT", "/uploads/", upload=400_000)),
        times(2, breaking("PATCH", "/uploads/", upload=300_000)),
    )
    with running_front(host, *rules) as front:
        put(client, front.address, "faults/twice")
    assert client.blob(at(host, "faults/twice"), BLOB).read() == DATA


def test_a_lost_answer_is_not_a_lost_upload(client: Client, ours: str) -> None:
    def swallow(exchange: Exchange) -> bool:
        if not exchange.matches("PUT", "/uploads/"):
            return False
        exchange.forward(download_limit=1)  # the registry has it; its answer breaks off
        return True

    with running_front(ours, times(1, swallow)) as front:
        assert put(client, front.address) is Outcome.UPLOADED
        assert len(front.asked("PUT", "/uploads/")) == 1 or client.has_blob(
            at(ours, "app"), BLOB.digest
        )


def test_a_forgotten_upload_begins_again(client: Client, ours: str) -> None:
    gone = times(1, answering("PUT", "/uploads/", 404, b'{"errors":[{"code":"X"}]}'))
    with running_front(ours, gone, answering("GET", "/uploads/", 404)) as front:
        assert put(client, front.address) is Outcome.UPLOADED
        assert len(front.asked("POST", "/uploads/")) == 2


def test_an_upload_that_always_breaks_ends(client: Client, ours: str) -> None:
    with (
        running_front(ours, breaking("PUT PATCH", "/uploads/", upload=1)) as front,
        pytest.raises(Broken),
    ):
        put(client, front.address)


def test_a_limit_on_bodies_is_met_with_pieces(ours: str, blobs: Blobs) -> None:
    big = blobs.add(pictures.noise(40 << 20), media.OCI_LAYER)
    limit = 33 << 20

    def proxy(exchange: Exchange) -> bool:
        if int(exchange.headers.get("Content-Length") or 0) <= limit:
            return False
        exchange.answer(413, b"<html>too large</html>", {"Content-Type": "text/html"})
        return True

    client = make_client()
    with running_front(ours, proxy) as front:
        target = at(front.address, "app")
        client.upload_blob(target, big, lambda: blobs.open(big.digest))
        assert [s.headers["content-range"] for s in front.asked("PATCH", "/uploads/")] == [
            f"0-{(32 << 20) - 1}",
            f"{32 << 20}-{(40 << 20) - 1}",
        ]
    assert client.has_blob(at(ours, "app"), big.digest)
    client.close()


def test_wrong_local_bytes_are_refused_by_the_registry(client: Client, host: str) -> None:
    with pytest.raises(Refused) as caught:
        client.upload_blob(at(host, "faults/wrong"), BLOB, lambda: io.BytesIO(DATA[::-1]))
    assert caught.value.status == 400
    assert caught.value.code == "DIGEST_INVALID"


def test_local_bytes_that_end_early_are_our_own_fault(client: Client, ours: str) -> None:
    with pytest.raises(ContentError, match="ends 500000 bytes before its size"):
        client.upload_blob(at(ours, "app"), BLOB, lambda: io.BytesIO(DATA[:-500_000]))


# --- busy registries


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408])
def test_a_passing_fault_is_waited_out(client: Client, ours: str, status: int) -> None:
    rules = [times(2, answering("HEAD GET POST PUT", "/v2/", status))]
    with running_front(ours, *rules) as front:
        assert put(client, front.address) is Outcome.UPLOADED


@pytest.mark.parametrize("status", [400, 403, 404, 405, 501])
def test_a_lasting_no_is_not_asked_again(client: Client, ours: str, status: int) -> None:
    with running_front(ours, answering("GET", "/manifests/", status)) as front:
        with pytest.raises(RegistryError) as caught:
            client.manifest(at(front.address, "app:1"))
        assert len(front.asked("GET", "/manifests/")) == 1
    assert caught.value.status == status


def test_retry_after_is_obeyed_by_every_thread(ours: str) -> None:
    busy = times(1, answering("GET", "/manifests/", 429, headers={"Retry-After": "1"}))
    client = make_client()
    arrivals: list[float] = []

    def note(exchange: Exchange) -> bool:
        arrivals.append(time.monotonic())
        return False

    with running_front(ours, busy) as front:
        front.rules.append(note)
        asked = threading.Event()

        def first() -> None:
            with pytest.raises(RegistryError):
                client.manifest(at(front.address, "app:1"))

        def refused(text: str) -> None:
            asked.set()

        client = client.bound(report=refused)
        thread = threading.Thread(target=first)
        thread.start()
        asked.wait()
        begun = time.monotonic()
        client.has_blob(at(front.address, "app"), BLOB.digest)  # kept away by the same pause
        thread.join()
    assert min(arrivals) - begun > 0.9
    client.close()


def test_retry_after_as_a_date() -> None:
    from viaduct.registry.failures import retry_after

    now = 1_800_000_000.0
    date = email.utils.formatdate(now + 7, usegmt=True)
    assert retry_after({"retry-after": date}, now) == 7
    assert retry_after({"retry-after": email.utils.formatdate(now - 7, usegmt=True)}, now) == 0
    assert retry_after({"retry-after": "12"}, now) == 12
    for nonsense in ("", "soon", "-1", "1.5", "٣"):
        assert retry_after({"retry-after": nonsense}, now) is None


def test_a_wait_that_is_too_long_is_told_instead(ours: str) -> None:
    later = answering("GET HEAD", "/manifests/", 429, headers={"Retry-After": "3600"})
    with running_front(ours, later) as front:
        client = make_client()
        with pytest.raises(Refused, match="allows no more requests") as caught:
            client.resolve(at(front.address, "app:1"))
        client.close()
    assert caught.value.retry_after == 3600
    assert "mirror" in caught.value.hint


def test_waits_grow_and_are_spread() -> None:
    error = Broken("x", kind="reset")
    shortest, longest = Patience(spread=lambda: 0.0), Patience(spread=lambda: 1.0)
    assert [shortest.wait(error, n) for n in range(1, 6)] == [0.25, 0.5, 1.0, 2.0, None]
    assert [longest.wait(error, n) for n in range(1, 6)] == [0.5, 1.0, 2.0, 4.0, None]
    assert longest.wait(Broken("x", kind="refused"), 1) is None
    asked = Refused("x", status=503, retry_after=30)
    assert longest.wait(asked, 1) == 30


def test_a_server_that_closed_our_idle_connection_is_no_fault(ours: str) -> None:
    def hang_up(exchange: Exchange) -> bool:
        exchange.close_connection = True
        return False

    client = make_client(patience=Patience(attempts=1))
    with running_front(ours) as front:
        front.rules.append(hang_up)
        for _ in range(3):
            assert not client.has_blob(at(front.address, "app"), BLOB.digest)
    client.close()


# --- what a person is told


def test_nobody_listens(client: Client) -> None:
    port = free_port()
    with pytest.raises(RegistryError, match=f"cannot connect to 127.0.0.1:{port}") as caught:
        client.resolve(at(f"127.0.0.1:{port}", "app:1"))
    assert "connection refused" in caught.value.what
    assert "running" in caught.value.hint


def test_an_unknown_host(client: Client) -> None:
    with pytest.raises(RegistryError, match=r"cannot find the host 'nowhere\.invalid'"):
        client.resolve(at("nowhere.invalid", "app:1"))


def test_an_impossible_port(client: Client) -> None:
    for port in ("0", "99999"):
        with pytest.raises(RegistryError):
            client.resolve(at(f"127.0.0.1:{port}", "app:1"))


def test_missing_repository_and_missing_tag_are_told_apart(
    client: Client, host: str, blobs: Blobs
) -> None:
    push(client, [at(host, "told/app:1")], pictures.image(blobs), blobs)
    with pytest.raises(RegistryError, match=r"told/app:2: not found") as caught:
        client.resolve(at(host, "told/app:2"))
    assert (caught.value.status, caught.value.code) == (404, "MANIFEST_UNKNOWN")
    with pytest.raises(RegistryError) as caught:
        client.resolve(at(host, "told/none:1"))
    assert caught.value.code in ("NAME_UNKNOWN", "MANIFEST_UNKNOWN")


def test_what_a_registry_says_is_passed_on_without_its_tricks(client: Client, ours: str) -> None:
    body = b'{"errors":[{"code":"DENIED","message":"quota \\u001b[31m exceeded\\n for x"}]}'
    with (
        running_front(ours, answering("GET HEAD", "/manifests/", 403, body)) as front,
        pytest.raises(RegistryError) as caught,
    ):
        client.resolve(at(front.address, "app:1"))
    assert caught.value.what.endswith("denies access (no credentials): quota [31m exceeded for x")
    assert caught.value.hint.endswith(f"run `docker login {front.address}`")


def test_pages_are_not_quoted(client: Client, ours: str) -> None:
    page = answering("GET", "/", 500, b"<html>" + b"x" * 100_000, {"Content-Type": "text/html"})
    with (
        running_front(ours, answering("HEAD", "/", 405), page) as front,
        pytest.raises(RegistryError) as caught,
    ):
        client.resolve(at(front.address, "app:1"))
    assert caught.value.what.endswith(f"{front.address} failed with status 500")


def test_a_silent_registry_is_given_up() -> None:
    client = make_client(read_timeout=0.05, patience=Patience(attempts=1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(RegistryError, match="stopped answering"):
            client.resolve(at(host, "app:1"))


def test_what_is_not_http_is_told(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            for _ in range(8):
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"220 mail.example.com ESMTP\r\n")

        thread = threading.Thread(target=speak)
        thread.start()
        with pytest.raises(RegistryError, match="does not answer in HTTP"):
            client.resolve(at(f"127.0.0.1:{listener.getsockname()[1]}", "app:1"))
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


# --- stopping


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_stop_interrupts_a_transfer_at_once(client: Client, ours: str, method: str) -> None:
    put(client, ours)
    stop = Stop()
    begun, over = threading.Event(), threading.Event()

    def hang(exchange: Exchange) -> bool:
        if not exchange.matches(method, "/(blobs/sha|uploads/)"):
            return False
        begun.set()
        over.wait()
        exchange.close_connection = True
        return True

    bound = client.bound(stop=stop)
    with running_front(ours, hang) as front:

        def watch() -> None:
            begun.wait()
            stop.set()

        watcher = threading.Thread(target=watch)
        watcher.start()
        other = Descriptor(media_type="a/b", digest=digests.of(b"y"), size=len(DATA))
        with pytest.raises(Canceled):
            if method == "GET":
                bound.blob(at(front.address, "app"), BLOB).read()
            else:
                bound.upload_blob(at(front.address, "app"), other, opened)
        watcher.join()
        over.set()


def test_a_stop_ends_a_wait_between_attempts(ours: str) -> None:
    heard = Listener()
    client = make_client(patience=Patience(first=60.0, longest=60.0))
    bound = client.bound(stop=heard.stop, report=lambda _text: heard.stop.set())
    with running_front(ours, answering("GET HEAD", "/", 503)) as front, pytest.raises(Canceled):
        bound.resolve(at(front.address, "app:1"))
    client.close()


@pytest.mark.parametrize("number", ["9" * 5000, "\u00b2", "-1", "1e3"])
def test_a_length_that_is_no_number_is_not_believed(client: Client, ours: str, number: str) -> None:
    def boasting(exchange: Exchange) -> bool:
        if exchange.command != "HEAD":
            return False
        exchange.send_response_only(200)
        exchange.send_header("Content-Length", number)
        exchange.send_header("Content-Type", media.OCI_MANIFEST)
        exchange.send_header("Docker-Content-Digest", digests.of(b"x"))
        exchange.end_headers()
        exchange.close_connection = True
        return True

    with running_front(ours, boasting) as front, pytest.raises(Broken, match="not answer in HTTP"):
        client.resolve(at(front.address, "app:missing"))
