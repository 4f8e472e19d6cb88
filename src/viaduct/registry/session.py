"""Talking to registry hosts: which scheme, who we are, redirects, and trying again.

A `Session` sits between the verbs of the protocol (pull, push…) and the transport. `send` makes
one exchange, `ask` and `fetch` repeat it while that can help and turn every other answer than the
hoped-for into a `RegistryError`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

import msgspec

from viaduct.base.errors import RegistryError
from viaduct.base.tasks import Stop
from viaduct.registry.auth import Authorizer, parse_challenges
from viaduct.registry.failures import Broken, Refused, refusal
from viaduct.registry.retry import Patience, Pauses
from viaduct.registry.sockets import VERIFIED
from viaduct.registry.transport import Request, Response, Upload
from viaduct.registry.urls import Origin, redacted, resolved

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from viaduct.registry.config import Endpoint, Hosts
    from viaduct.registry.credentials import Keychain
    from viaduct.registry.sockets import Trust
    from viaduct.registry.transport import Transport

_T = TypeVar("_T")

_REDIRECTS = 10
_AUTH_ROUNDS = 2
_ERROR_LIMIT = 1 << 16
_MOVED = frozenset({301, 302, 303, 307, 308})


class Call(msgspec.Struct, frozen=True):
    """One request of the protocol.

    `path` is below `/v2/`, or an absolute URL that the registry gave us. `what` names the attempt
    in messages. `scopes` are the rights it needs. `pinned` says that the answer is verified by
    digest, so that it may come from anywhere.
    """

    method: str
    path: str
    what: str
    scopes: tuple[str, ...] = ()
    headers: Mapping[str, str] = {}
    body: bytes | Upload = b""
    pinned: bool = False


class Exchange(msgspec.Struct, frozen=True):
    """A response, and the URL that gave it after redirects; `foreign` when that is another origin
    than the registry's."""

    url: str
    response: Response
    foreign: bool = False

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self.response.headers

    def close(self) -> None:
        self.response.close()


class Document(msgspec.Struct, frozen=True):
    """An answer read to its end."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes


class Session:
    """See the module. Safe from threads.

    `bound` gives the same session (its connections, tokens and pauses) another stop and another
    listener; `report` is told in a sentence about every retry and fallback.
    """

    def __init__(
        self,
        transport: Transport,
        hosts: Hosts,
        keychain: Keychain,
        *,
        patience: Patience | None = None,
    ) -> None:
        self.hosts = hosts
        self.patience = patience or Patience()
        self.stop = Stop()
        self.report: Callable[[str], None] = lambda _text: None
        self._transport = transport
        self._authorizer = Authorizer(transport, hosts, keychain)
        self._pauses = Pauses()
        self._lock = threading.Lock()
        self._schemes: dict[str, str] = {}
        self._trusts: dict[str, Trust] = {}

    def bound(
        self, *, stop: Stop | None = None, report: Callable[[str], None] | None = None
    ) -> Session:
        twin = Session.__new__(Session)
        twin.__dict__.update(self.__dict__)
        if stop is not None:
            twin.stop = stop
        if report is not None:
            twin.report = report
        return twin

    def close(self) -> None:
        """Close the idle connections; whoever asks again opens new ones."""
        self._transport.close()

    def ask(
        self,
        endpoint: Endpoint,
        call: Call,
        accept: Collection[int],
        *,
        patience: Patience | None = None,
    ) -> Exchange:
        """Exchange `call` until its status is in `accept`. Raises `RegistryError`."""
        return self._persist(endpoint, call, lambda: self._once(endpoint, call, accept), patience)

    def fetch(
        self,
        endpoint: Endpoint,
        call: Call,
        accept: Collection[int],
        *,
        limit: int,
        patience: Patience | None = None,
    ) -> Document:
        """`ask`, and read at most `limit` bytes of body; a body that breaks off is asked again."""

        def attempt() -> Document:
            exchange = self._once(endpoint, call, accept)
            with exchange.response as response:
                body = response.read(limit)
            return Document(exchange.url, exchange.status, exchange.headers, body)

        return self._persist(endpoint, call, attempt, patience)

    def send(self, endpoint: Endpoint, call: Call) -> Exchange:
        """One exchange, whatever its status; follows redirects and answers challenges.

        A challenge is not answered when the body cannot be sent again.
        """
        self._pauses.obey(endpoint.host, self.stop)
        if "://" in call.path:
            home = Origin.of(self._base(endpoint))
            if home.scheme == "https" and Origin.of(call.path).scheme == "http":
                self._check_downgrade(call, call.path)
            return self._follow(endpoint, call, call.path, home)
        scheme = self._known_scheme(endpoint)
        if scheme:
            return self._at(endpoint, call, scheme)
        return self._find_scheme(endpoint, call)

    def refused(self, endpoint: Endpoint, call: Call, exchange: Exchange) -> Refused:
        """The error for an exchange whose status was not hoped for; reads what it says."""
        body = b""
        host = endpoint.host
        if exchange.foreign:
            # What a host says that we were only redirected to is not the registry's word.
            host = Origin.of(exchange.url).netloc
        elif call.method != "HEAD":
            with contextlib.suppress(RegistryError):
                body = exchange.response.read(_ERROR_LIMIT)
        exchange.close()
        error = refusal(
            call.what,
            host=host,
            account=endpoint.account,
            status=exchange.status,
            headers=exchange.headers,
            body=body,
            now=time.time(),
            identity=self._authorizer.identity(endpoint, call.scopes),
        )
        if error.status in (429, 503) and error.retry_after:
            self._pauses.set(endpoint.host, min(error.retry_after, self.patience.limit))
        return error

    def wait(self, what: str, error: RegistryError, attempt: int, patience: Patience) -> None:
        """Wait before the next attempt, or raise `error` when there should be none."""
        seconds = patience.wait(error, attempt)
        if seconds is None:
            raise error
        self.report(f"{what}: {error.what.removeprefix(f'{what}: ')}; again in {seconds:.1f}s")
        self.stop.wait(seconds)
        self.stop.check()

    def _persist(
        self,
        endpoint: Endpoint,
        call: Call,
        attempt: Callable[[], _T],
        patience: Patience | None,
    ) -> _T:
        patience = patience or self.patience
        number = 0
        while True:
            number += 1
            try:
                return attempt()
            except RegistryError as error:
                self.wait(call.what, error, number, patience)

    def _once(self, endpoint: Endpoint, call: Call, accept: Collection[int]) -> Exchange:
        exchange = self.send(endpoint, call)
        if exchange.status in accept:
            return exchange
        raise self.refused(endpoint, call, exchange)

    def _base(self, endpoint: Endpoint) -> str:
        scheme = self._known_scheme(endpoint) or endpoint.schemes[0]
        return f"{scheme}://{endpoint.host}/v2/"

    def _known_scheme(self, endpoint: Endpoint) -> str:
        if len(endpoint.schemes) == 1:
            return endpoint.schemes[0]
        with self._lock:
            return self._schemes.get(endpoint.host, "")

    def _find_scheme(self, endpoint: Endpoint, call: Call) -> Exchange:
        """Try the schemes in turn; the first that is answered is kept for the host."""
        first, second = endpoint.schemes
        try:
            exchange = self._at(endpoint, call, first)
        except Broken as error:
            # Where nobody is at all, the other scheme has another port, unless one is named.
            elsewhere = error.kind in ("refused", "timeout") and not _names_port(endpoint.host)
            if error.kind not in ("tls", "not-tls", "protocol", "reset") and not elsewhere:
                raise
            try:
                exchange = self._at(endpoint, call, second)
            except Broken as later:
                raise (later if "tls" in (error.kind, later.kind) else error) from None
            return self._settled(endpoint, second, exchange)
        if first == "http" and exchange.status == 400:
            # Servers answer so to plain http on their TLS port.
            try:
                other = self._at(endpoint, call, second)
            except Broken as later:
                if later.kind == "tls":
                    exchange.close()
                    raise
            else:
                exchange.close()
                return self._settled(endpoint, second, other)
        return self._settled(endpoint, first, exchange)

    def _settled(self, endpoint: Endpoint, scheme: str, exchange: Exchange) -> Exchange:
        with self._lock:
            self._schemes[endpoint.host] = scheme
        return exchange

    def _at(self, endpoint: Endpoint, call: Call, scheme: str) -> Exchange:
        base = f"{scheme}://{endpoint.host}/v2/"
        return self._follow(endpoint, call, f"{base}{call.path}", Origin.of(base))

    def _follow(self, endpoint: Endpoint, call: Call, url: str, home: Origin) -> Exchange:
        for _ in range(_REDIRECTS):
            exchange = self._challenged(endpoint, call, url, home)
            location = exchange.headers.get("location", "")
            if exchange.status not in _MOVED or not location:
                return exchange
            again = call.method in ("GET", "HEAD") or (
                exchange.status in (307, 308) and isinstance(call.body, bytes)
            )
            if not again:
                return exchange
            exchange.close()
            target = resolved(url, location)
            if Origin.of(url).scheme == "https" and Origin.of(target).scheme == "http":
                self._check_downgrade(call, target)
            url = target
        raise RegistryError(f"{call.what}: {endpoint.host} redirects without end")

    def _check_downgrade(self, call: Call, target: str) -> None:
        host = Origin.of(target).netloc
        if call.pinned or self.hosts.origin(host).schemes[0] == "http":
            return
        raise RegistryError(
            f"{call.what}: redirected from https to {redacted(target)}",
            hint=f'if that is meant, configure [registry."{host}"] http = true',
        )

    def _challenged(self, endpoint: Endpoint, call: Call, url: str, home: Origin) -> Exchange:
        origin = Origin.of(url)
        request = Request(call.method, url, call.headers, call.body, self._trust(origin), self.stop)
        if origin != home:
            return Exchange(url, self._transport.send(request), foreign=True)
        authorization = self._authorizer.header(origin, endpoint, call.scopes, self.stop)
        for left in range(_AUTH_ROUNDS, -1, -1):
            headers = dict(call.headers)
            if authorization:
                headers["Authorization"] = authorization
            response = self._transport.send(msgspec.structs.replace(request, headers=headers))
            if response.status != 401 or left == 0:
                break
            challenges = parse_challenges(response.headers.get("www-authenticate", ""))
            try:
                better = self._authorizer.respond(
                    origin,
                    endpoint,
                    call.scopes,
                    challenges=challenges,
                    failed=authorization,
                    stop=self.stop,
                )
            except BaseException:
                response.close()
                raise
            if not better or isinstance(call.body, Upload):
                break
            with contextlib.suppress(RegistryError):
                response.read(_ERROR_LIMIT)
            authorization = better
        return Exchange(url, response)

    def _trust(self, origin: Origin) -> Trust:
        if origin.scheme == "http":
            return VERIFIED
        with self._lock:
            if origin.netloc not in self._trusts:
                self._trusts[origin.netloc] = self.hosts.trust(origin.netloc)
            return self._trusts[origin.netloc]


def _names_port(host: str) -> bool:
    return host.rpartition("]")[2].count(":") == 1
