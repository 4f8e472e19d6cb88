"""Answering a registry that asks who we are: challenges, scopes and tokens.

The rules that keep credentials where they belong:

* A secret is sent to the registry itself (Basic), or to the token server that the registry named
  in its own challenge, over a connection no weaker than the one that named it.
* Nothing is sent before a challenge, and a challenge of any other host (one that the registry
  redirected us to) is never answered. The session takes care of the latter.
* Tokens are kept per origin, and are dropped at 90 % of their life.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec

from viaduct.base import decoding
from viaduct.base.errors import RegistryError
from viaduct.registry.discreet import Discreet
from viaduct.registry.failures import refusal
from viaduct.registry.transport import Request
from viaduct.registry.urls import Origin, redacted, with_query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from viaduct.base.tasks import Stop
    from viaduct.registry.config import Endpoint, Hosts
    from viaduct.registry.credentials import Answer, Credentials, Keychain
    from viaduct.registry.transport import Transport

_CLIENT_ID = "viaduct"
_ANSWER_LIMIT = 1 << 20
_SHORTEST_LIFE = 60.0
# Token servers without the POST form answer in any of these ways (ghcr.io 405, others 404, 401,
# 400); the GET form is then tried with the same name and password.
_NO_POST = frozenset({400, 401, 404, 405})

_PART = r"""
    [\s,]* (?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)
    (?: \s*=\s* (?: "(?P<quoted>(?:[^"\\]|\\.)*)" | (?P<bare>[^\s,"]+) ) )?"""


class Challenge(msgspec.Struct, frozen=True):
    """One way in that a server offers; `scheme` and parameter names are in lower case."""

    scheme: str
    parameters: Mapping[str, str] = {}


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """The challenges of a WWW-Authenticate header (RFC 9110, 11.6.1), whatever it contains."""
    found: list[tuple[str, dict[str, str]]] = []
    position = 0
    part = re.compile(_PART, re.VERBOSE)
    while match := part.match(header, position):
        position = match.end()
        name = match["name"].lower()
        if match["quoted"] is None and match["bare"] is None:
            found.append((name, {}))
        elif found:
            value = match["bare"] or re.sub(r"\\(.)", r"\1", match["quoted"] or "")
            found[-1][1].setdefault(name, value)
    return tuple(Challenge(scheme, parameters) for scheme, parameters in found)


def scope(repository: str, *actions: str) -> str:
    """The scope of actions (`pull`, `push`, `delete`) on a repository."""
    return f"repository:{repository}:{','.join(actions)}"


def merged(scopes: Iterable[str]) -> tuple[str, ...]:
    """The same rights with each resource named once, in a fixed order."""
    rights: dict[str, set[str]] = {}
    for text in scopes:
        resource, _, actions = text.rpartition(":")
        rights.setdefault(resource, set()).update(filter(None, actions.split(",")))
    order = ("pull", "push", "delete", "*")
    return tuple(
        f"{resource}:"
        + ",".join(sorted(found, key=lambda a: (order.index(a) if a in order else 9, a)))
        for resource, found in sorted(rights.items())
    )


def covers(have: Iterable[str], need: Iterable[str]) -> bool:
    """Whether every right of `need` is in `have`."""
    union = tuple(have)
    return merged((*union, *need)) == merged(union)


class _Token(Discreet, frozen=True):
    scopes: tuple[str, ...]
    expires: float
    value: str


class _TokenAnswer(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""
    expires_in: float | None = None


class Authorizer:
    """The Authorization header for each request. Safe from threads: of many that need the same
    token, one fetches it."""

    def __init__(
        self,
        transport: Transport,
        hosts: Hosts,
        keychain: Keychain,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._hosts = hosts
        self._keychain = keychain
        self._clock = clock
        self._guard = threading.Lock()
        self._locks: dict[Origin, threading.Lock] = {}
        self._challenges: dict[Origin, Challenge] = {}
        self._tokens: dict[Origin, list[_Token]] = {}

    def header(
        self, origin: Origin, endpoint: Endpoint, scopes: tuple[str, ...], stop: Stop | None
    ) -> str:
        """The header value by what is known of `origin`, or empty before its first challenge."""
        with self._lock(origin):
            challenge = self._challenges.get(origin)
            return self._meet(origin, endpoint, challenge, scopes, stop) if challenge else ""

    def respond(
        self,
        origin: Origin,
        endpoint: Endpoint,
        scopes: tuple[str, ...],
        *,
        challenges: tuple[Challenge, ...],
        failed: str,
        stop: Stop | None,
    ) -> str:
        """The header value after `origin` answered 401 to a request with header `failed`; empty
        when there is nothing better to say. Raises `RegistryError` when the token server does."""
        with self._lock(origin):
            known = {challenge.scheme: challenge for challenge in reversed(challenges)}
            challenge = known.get("bearer") or known.get("basic")
            if challenge is None:
                return ""
            self._challenges[origin] = challenge
            self._tokens[origin] = [
                token for token in self._tokens.get(origin, []) if failed != f"Bearer {token.value}"
            ]
            asked = challenge.parameters.get("scope", "").split()
            needed = (*scopes, *(text for text in asked if text.count(":") >= 2))
            header = self._meet(origin, endpoint, challenge, needed, stop)
            return "" if header == failed else header

    def identity(self, endpoint: Endpoint, scopes: tuple[str, ...]) -> str:
        """As whom we speak to `endpoint`, for messages."""
        try:
            return str(self._lookup(endpoint, scopes))
        except RegistryError as error:
            return f"no credentials; {error.what}"

    def _lock(self, origin: Origin) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(origin, threading.Lock())

    def _lookup(self, endpoint: Endpoint, scopes: tuple[str, ...]) -> Answer:
        kind, _, rest = scopes[0].partition(":") if scopes else ("", "", "")
        return self._keychain.lookup(
            endpoint.account, rest.rpartition(":")[0] if kind == "repository" else ""
        )

    def _meet(
        self,
        origin: Origin,
        endpoint: Endpoint,
        challenge: Challenge,
        scopes: tuple[str, ...],
        stop: Stop | None,
    ) -> str:
        if challenge.scheme == "basic":
            credentials = self._lookup(endpoint, scopes).credentials
            if credentials is None or not credentials.password:
                return ""
            return _basic(credentials)
        needed = merged(scopes)
        now = self._clock()
        live = [token for token in self._tokens.get(origin, []) if token.expires > now]
        for token in live:
            if covers(token.scopes, needed):
                return f"Bearer {token.value}"
        answer = self._lookup(endpoint, scopes)
        if answer.credentials is not None and answer.credentials.registry_token:
            return f"Bearer {answer.credentials.registry_token}"
        token = self._fetch(origin, challenge, needed, answer, stop)
        self._tokens[origin] = [*live, token]
        return f"Bearer {token.value}"

    def _fetch(
        self,
        origin: Origin,
        challenge: Challenge,
        scopes: tuple[str, ...],
        answer: Answer,
        stop: Stop | None,
    ) -> _Token:
        realm = challenge.parameters.get("realm", "")
        server = Origin.of(realm)
        if origin.scheme == "https" and server.scheme != "https":
            raise RegistryError(
                f"{origin.netloc} names a token server without TLS: {redacted(realm)}",
                hint="no credentials were sent; ask the registry's owner to mend its realm",
            )
        service = challenge.parameters.get("service", "")
        credentials = answer.credentials
        trust = self._hosts.trust(server.netloc)
        common = [("service", service)] if service else []

        def by_post(grant: list[tuple[str, str]]) -> Request:
            form = [*grant, *common, ("client_id", _CLIENT_ID), ("scope", " ".join(scopes))]
            return Request(
                "POST",
                realm,
                {"Content-Type": "application/x-www-form-urlencoded"},
                urlencode(form).encode(),
                trust,
                stop,
            )

        def by_get() -> Request:
            query = [*common, *(("scope", text) for text in scopes)]
            headers = {"Accept": "application/json"}
            if credentials is not None and credentials.password:
                query.append(("account", credentials.username))
                headers["Authorization"] = _basic(credentials)
            return Request("GET", with_query(realm, query), headers, b"", trust, stop)

        if credentials is not None and credentials.identity_token:
            grant = [("grant_type", "refresh_token"), ("refresh_token", credentials.identity_token)]
            requests = [by_post(grant)]
        elif credentials is not None and credentials.password:
            grant = [
                ("grant_type", "password"),
                ("username", credentials.username),
                ("password", credentials.password),
            ]
            requests = [by_post(grant), by_get()]
        else:
            requests = [by_get()]
        status, headers, body = 0, {}, b""
        for request in requests:
            with self._transport.send(request) as response:
                status, headers = response.status, dict(response.headers)
                body = response.read(_ANSWER_LIMIT)
            if status not in _NO_POST:
                break
        if status != 200:
            raise refusal(
                f"token for {' '.join(scopes)}",
                host=server.netloc,
                account=origin.netloc,
                status=status,
                headers=headers,
                body=body,
                now=time.time(),
                identity=str(answer),
            )
        return self._read(body, server, scopes)

    def _read(self, body: bytes, server: Origin, scopes: tuple[str, ...]) -> _Token:
        try:
            found = decoding.from_json(body, _TokenAnswer)
        except (msgspec.DecodeError, msgspec.ValidationError):
            found = _TokenAnswer()
        value = found.token or found.access_token
        if not re.fullmatch(r"[\x21-\x7e]+", value):
            raise RegistryError(f"{server.netloc} answered without a token")
        life = max(found.expires_in or 0.0, _SHORTEST_LIFE)
        return _Token(scopes, self._clock() + 0.9 * life, value)


def _basic(credentials: Credentials) -> str:
    pair = f"{credentials.username}:{credentials.password}"
    return "Basic " + base64.b64encode(pair.encode()).decode()
