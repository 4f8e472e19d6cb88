"""Blobs into a registry: skip, mount or send, and go on where a broken connection stopped."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, BinaryIO

from viaduct.base.errors import Canceled, RegistryError
from viaduct.registry.auth import scope
from viaduct.registry.failures import Refused, may_help_to_retry
from viaduct.registry.session import Call
from viaduct.registry.transport import Upload
from viaduct.registry.urls import decimal, resolved, with_query

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from viaduct.oci.models import Descriptor
    from viaduct.registry.config import Endpoint
    from viaduct.registry.session import Exchange, Session

_MOST_MOUNTS = 3
_SKIP = 1 << 18
# What a proxy with a limit on request bodies still lets through (Cloudflare's is 100 MB).
_CHUNK = 32 << 20
_OCTETS: Mapping[str, str] = {"Content-Type": "application/octet-stream"}


class Outcome(enum.Enum):
    """How a blob came to be in the repository."""

    EXISTS = "exists"
    MOUNTED = "mounted"
    UPLOADED = "uploaded"


class BlobUpload:
    """The upload of one blob into one repository.

    `open_blob` gives the content from its start, each time it is called; `moved` is told how many
    bytes of the blob are over there, which can go back when an upload has to begin again.
    """

    def __init__(
        self,
        session: Session,
        endpoint: Endpoint,
        path: str,
        descriptor: Descriptor,
        open_blob: Callable[[], BinaryIO],
        moved: Callable[[int], None],
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._repository = endpoint.repository(path)
        self._descriptor = descriptor
        self._open_blob = open_blob
        self._moved = moved
        self._what = f"upload of {descriptor.digest} to {endpoint.domain}/{path}"
        self._scopes = (scope(self._repository, "pull", "push"),)
        self._location = ""
        self._offset = 0
        self._chunk = 0

    def run(self, mount_from: Sequence[str]) -> Outcome:
        """Bring the blob there. Raises `RegistryError`, `Canceled`, and what `open_blob` raises."""
        if self._exists():
            return Outcome.EXISTS
        for position, source in enumerate(mount_from[:_MOST_MOUNTS], 1):
            if self._mounted(source, last=position == min(len(mount_from), _MOST_MOUNTS)):
                return Outcome.MOUNTED
        attempt = 0
        while True:
            before = self._offset
            try:
                if not self._location:
                    self._start()
                self._transfer()
                return Outcome.UPLOADED
            except Canceled:
                self._cancel()
                raise
            except RegistryError as error:
                attempt = 1 if self._offset > before else attempt + 1
                if self._recover(error, attempt):
                    return Outcome.UPLOADED

    def _call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | Upload = b"",
        scopes: tuple[str, ...] = (),
    ) -> Call:
        return Call(method, path, self._what, scopes or self._scopes, headers or {}, body)

    def _exists(self) -> bool:
        call = self._call("HEAD", f"{self._repository}/blobs/{self._descriptor.digest}")
        # Registries that refuse to tell are not asked twice: the upload will show.
        exchange = self._session.ask(self._endpoint, call, {200, 400, 403, 404, 405})
        exchange.close()
        return exchange.status == 200

    def _mounted(self, source: str, *, last: bool) -> bool:
        query = {"mount": self._descriptor.digest, "from": self._endpoint.repository(source)}
        scopes = (*self._scopes, scope(self._endpoint.repository(source), "pull"))
        call = self._call(
            "POST", with_query(f"{self._repository}/blobs/uploads/", query), scopes=scopes
        )
        try:
            exchange = self._session.ask(self._endpoint, call, {201, 202})
        except Refused as error:
            if error.status in (400, 401, 403, 404, 405):
                return False  # not from there: it is sent instead
            raise
        exchange.close()
        if exchange.status == 201:
            return True
        self._begun(exchange)
        if not last:
            self._cancel()
        return False

    def _start(self) -> None:
        path = f"{self._repository}/blobs/uploads/"
        exchange = self._session.ask(self._endpoint, self._call("POST", path), {202})
        exchange.close()
        self._begun(exchange)

    def _begun(self, exchange: Exchange) -> None:
        self._follow(exchange)
        if not self._location:
            raise RegistryError(
                f"{self._what}: {self._endpoint.host} began an upload without a location"
            )
        least = decimal(exchange.headers.get("oci-chunk-min-length", ""))
        if self._chunk and least is not None:
            self._chunk = max(self._chunk, least)
        self._at(0)

    def _follow(self, exchange: Exchange) -> None:
        if location := exchange.headers.get("location", ""):
            self._location = resolved(exchange.url, location)

    def _at(self, offset: int) -> None:
        self._offset = offset
        self._moved(offset)

    def _transfer(self) -> None:
        """Send what is missing and close the upload."""
        size = self._descriptor.size
        if self._offset == 0 and not self._chunk:
            self._send("PUT", self._closing(), size, {}, {201})
            return
        while self._offset < size:
            count = min(self._chunk or size, size - self._offset)
            span = f"{self._offset}-{self._offset + count - 1}"
            exchange = self._send("PATCH", self._location, count, {"Content-Range": span}, {202})
            self._follow(exchange)
        call = self._call("PUT", self._closing(), _OCTETS)
        self._session.ask(self._endpoint, call, {201}).close()

    def _closing(self) -> str:
        return with_query(self._location, {"digest": self._descriptor.digest})

    def _send(
        self, method: str, url: str, count: int, headers: Mapping[str, str], accept: set[int]
    ) -> Exchange:
        start = self._offset

        def sent(more: int) -> None:
            nonlocal start
            start += more
            self._moved(start)

        with self._open_blob() as stream:
            _skip(stream, self._offset)
            body = Upload(stream, count, sent)
            call = self._call(method, url, {**_OCTETS, **headers}, body)
            exchange = self._session.send(self._endpoint, call)
        if exchange.status not in accept:
            raise self._session.refused(self._endpoint, call, exchange)
        exchange.close()
        self._at(self._offset + count)
        return exchange

    def _recover(self, error: RegistryError, attempt: int) -> bool:
        """Make the next attempt possible; true when nothing is left to do. Raises `error` when
        there is no use in another one."""
        status = error.status
        if status == 413 and not self._chunk and self._descriptor.size > _CHUNK:
            self._session.report(f"{self._what}: the body is too large; sending it in pieces")
            self._chunk = _CHUNK
            self._location = ""
            return False
        lost = status in (404, 416) and bool(self._location)
        # By now the session has a fresh token, but could not send the body again by itself.
        stale = status == 401 and attempt == 1
        if not lost and not stale:
            self._session.wait(self._what, error, attempt, self._session.patience)
        elif attempt >= self._session.patience.attempts:
            raise error
        if self._location and may_help_to_retry(error) and self._exists():
            return True  # only the answer was lost
        self._find_offset()
        return False

    def _find_offset(self) -> None:
        """Ask the registry how much it has, and forget the upload if it does not know."""
        if not self._location:
            return
        try:
            call = self._call("GET", self._location)
            exchange = self._session.ask(self._endpoint, call, {200, 202, 204})
            exchange.close()
        except Refused:
            self._location = ""
            return
        span = re.fullmatch(r"(?:bytes=)?0-(\d{1,18})", exchange.headers.get("range", ""))
        # Registries write 0-0 for one byte and for none: not worth the difference.
        if span is None or not 0 < int(span[1]) < self._descriptor.size:
            self._cancel()
            return
        self._follow(exchange)
        self._at(int(span[1]) + 1)
        self._session.report(f"{self._what}: going on at {self._offset} bytes")

    def _cancel(self) -> None:
        """Give the upload up; the registry is told, if it listens."""
        location, self._location = self._location, ""
        if not location or self._session.stop.is_set():
            return
        try:
            self._session.send(self._endpoint, self._call("DELETE", location)).close()
        except RegistryError:
            return


def _skip(stream: BinaryIO, count: int) -> None:
    if stream.seekable():
        stream.seek(count)
        return
    while count:
        piece = stream.read(min(count, _SKIP))
        if not piece:
            return
        count -= len(piece)
