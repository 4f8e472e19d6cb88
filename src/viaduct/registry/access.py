"""Whether we could push to a repository, found out without pushing anything."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import RegistryError
from viaduct.registry.auth import scope
from viaduct.registry.failures import Refused
from viaduct.registry.retry import Patience
from viaduct.registry.session import Call
from viaduct.registry.urls import resolved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viaduct.oci.reference import Reference
    from viaduct.registry.client import Client
    from viaduct.registry.config import Endpoint
    from viaduct.registry.credentials import Keychain

# A person waits for the answer, and a registry that is not well is what they want to hear of.
_ONCE = Patience(attempts=1)
# What a registry may answer to "are you one?" before it knows who asks.
_ANSWERS = frozenset({200, 401, 403, 404})
_LIMIT = 1 << 16


class Trouble(msgspec.Struct, frozen=True):
    """What a registry refused or failed at, and the way out."""

    what: str
    hint: str = ""


class Access(msgspec.Struct, frozen=True):
    """What a registry lets us do with one repository.

    `identity` says as whom we asked. `trouble` is set when it could not be reached at all, and
    then nothing else is known. `exists` says that the reference names something there. `skew` is
    by how many seconds its clock is ahead of ours, None when it does not tell the time.
    """

    host: str
    repository: str
    identity: str = ""
    trouble: Trouble | None = None
    pull: Trouble | None = None
    exists: bool = False
    push: Trouble | None = None
    skew: float | None = None


def examine(client: Client, keychain: Keychain, ref: Reference) -> Access:
    """Ask the registry of `ref`: for a sign of life, for the manifest, and for the begin of an
    upload, which is called off at once. Nothing is left there. Raises `Canceled` when stopped."""
    endpoint = client.session.hosts.origin(ref.domain)
    answer = Access(endpoint.host, f"{ref.domain}/{ref.path}")
    try:
        identity = str(keychain.lookup(endpoint.account, endpoint.repository(ref.path)))
        skew = _ping(client, endpoint)
    except RegistryError as error:
        return msgspec.structs.replace(answer, trouble=_told(error))
    exists, pull = _pull(client, endpoint, ref)
    return msgspec.structs.replace(
        answer,
        identity=identity,
        pull=pull,
        exists=exists,
        push=_push(client, endpoint, ref),
        skew=skew,
    )


def _ping(client: Client, endpoint: Endpoint) -> float | None:
    """Reach the registry, and compare the clocks."""
    call = Call("GET", "", f"a question to {endpoint.host}")
    try:
        answer = client.session.fetch(endpoint, call, _ANSWERS, limit=_LIMIT, patience=_ONCE)
    except Refused as error:
        # Wrong credentials: it is there, and will say more about that when it knows what we want.
        if error.status in _ANSWERS:
            return None
        raise
    return _skew(answer.headers)


def _pull(client: Client, endpoint: Endpoint, ref: Reference) -> tuple[bool, Trouble | None]:
    repository = endpoint.repository(ref.path)
    name = ref.digest or ref.with_default_tag().tag
    call = Call(
        "GET",
        f"{repository}/manifests/{name}",
        f"pull of {ref.familiar}",
        (scope(repository, "pull"),),
        {"Accept": "*/*"},
    )
    try:
        exchange = client.session.ask(endpoint, call, {200, 404}, patience=_ONCE)
    except RegistryError as error:
        return False, _told(error)
    exchange.close()
    return exchange.status == 200, None


def _push(client: Client, endpoint: Endpoint, ref: Reference) -> Trouble | None:
    repository = endpoint.repository(ref.path)
    rights = (scope(repository, "pull", "push"),)
    what = f"push to {ref.domain}/{ref.path}"
    begin = Call("POST", f"{repository}/blobs/uploads/", what, rights)
    try:
        exchange = client.session.ask(endpoint, begin, {202}, patience=_ONCE)
        exchange.close()
    except RegistryError as error:
        return _told(error)
    if location := exchange.headers.get("location", ""):
        path = resolved(exchange.url, location)
        try:
            client.session.send(endpoint, Call("DELETE", path, what, rights)).close()
        except RegistryError:
            # Registries forget uploads that nobody continues; some know no other way.
            return None
    return None


def _skew(headers: Mapping[str, str]) -> float | None:
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None


def _told(error: RegistryError) -> Trouble:
    return Trouble(error.what, error.hint)
