"""Whose name to give to a registry: Docker's configuration and its credential helpers.

Looked at in this order, first hit wins: `$DOCKER_AUTH_CONFIG` (the file's content itself),
`$REGISTRY_AUTH_FILE`, `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`, and
`$XDG_RUNTIME_DIR/containers/auth.json`, for root without a session `/run/containers/0/auth.json`,
which Podman, Buildah and Skopeo write. In each, a host's own helper (`credHelpers`) comes first,
then the common one (`credsStore`), then `auths`. Nothing is read before a registry asks for it.
"""

from __future__ import annotations

import base64
import binascii
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from viaduct.base import decoding
from viaduct.base.errors import RegistryError, SandboxError
from viaduct.base.home import user_home
from viaduct.oci.reference import DOCKER_HUB
from viaduct.registry.discreet import Discreet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: The key of Docker Hub in every configuration, from the days of the first registry protocol.
HUB_KEY = "https://index.docker.io/v1/"
#: Not to be read by anybody else.
ROOTS_FILE = Path("/run/containers/0/auth.json")
_TOKEN_USER = "<token>"
_LIFETIME = 300.0
_HELPER_TIMEOUT = 30.0


class Credentials(Discreet, frozen=True):
    """What we know for a host; the secrets are never part of its text.

    Either a name and password, an `identity_token` (an OAuth2 refresh token), or a
    `registry_token` to be sent as it is. `source` says where they come from.
    """

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""
    source: str = ""

    def __str__(self) -> str:
        who = f"as {self.username!r}" if self.username else "with a token"
        return f"{who} from {self.source}"


class _Auth(msgspec.Struct, frozen=True):
    auth: str | None = None
    username: str | None = None
    password: str | None = None
    identitytoken: str | None = None
    registrytoken: str | None = None


class _Config(msgspec.Struct, frozen=True):
    auths: dict[str, _Auth] | None = None
    credHelpers: dict[str, str] | None = None
    credsStore: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """`credentials` or None for an anonymous request; `note` says what stood in the way of better
    ones, for the message should the registry refuse us."""

    credentials: Credentials | None = None
    note: str = ""

    def __str__(self) -> str:
        if self.credentials is not None:
            return str(self.credentials)
        return f"no credentials; {self.note}" if self.note else "no credentials"


class Keychain:
    """Credentials by host. Answers are remembered for five minutes. Safe from threads."""

    def __init__(
        self, env: Mapping[str, str], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._env = dict(env)
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], tuple[float, Answer]] = {}

    def lookup(self, account: str, repository: str = "") -> Answer:
        """What to show to `account` (a host, or `docker.io`) for a repository there.

        A helper that is missing, fails or hangs leaves us anonymous, with a note. Raises
        `RegistryError` when a file cannot be read or makes no sense.
        """
        with self._lock:
            now = self._clock()
            known = self._known.get((account, repository))
            if known is None or now - known[0] > _LIFETIME:
                known = (now, self._search(account, repository))
                self._known[account, repository] = known
            return known[1]

    def _search(self, account: str, repository: str) -> Answer:
        note = ""
        for name, config in self._configs():
            keys = _keys(account, repository)
            helpers = config.credHelpers or {}
            helper = next((helpers[key] for key in keys if key in helpers), "")
            helper = helper or config.credsStore or ""
            if helper:
                found = self._ask(helper, HUB_KEY if account == DOCKER_HUB else account, name)
                if found.credentials is not None:
                    return found
                note = note or found.note
            credentials = _from_auths(config.auths or {}, account, keys, name)
            if credentials is not None:
                return Answer(credentials)
        return Answer(note=note)

    def _configs(self) -> Iterator[tuple[str, _Config]]:
        if text := self._env.get("DOCKER_AUTH_CONFIG"):
            yield "DOCKER_AUTH_CONFIG", _decode(text.encode(), "DOCKER_AUTH_CONFIG")
        home = user_home(self._env)
        files = []
        if name := self._env.get("REGISTRY_AUTH_FILE"):
            files.append(Path(name))
        files.append(Path(self._env.get("DOCKER_CONFIG") or home / ".docker") / "config.json")
        if name := self._env.get("XDG_RUNTIME_DIR"):
            files.append(Path(name) / "containers/auth.json")
        elif os.access(ROOTS_FILE, os.R_OK):
            files.append(ROOTS_FILE)
        for file in files:
            try:
                data = file.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise RegistryError(f"cannot read {file}: {error.strerror}") from error
            yield str(file), _decode(data, str(file))

    def _ask(self, helper: str, server: str, config: str) -> Answer:
        from viaduct.base import proc

        program = f"docker-credential-{helper}"
        if "/" in helper:
            return Answer(note=f"{helper!r} in {config} is not the name of a credential helper")
        try:
            done = proc.run(
                [program, "get"],
                input_bytes=server.encode(),
                timeout=_HELPER_TIMEOUT,
                check=False,
            )
        except (SandboxError, OSError) as error:
            return Answer(note=f"{error}, but {config} names it")
        # Its output may hold a secret: only the one well-known sentence is looked for in it.
        if done.returncode != 0:
            if b"credentials not found" in done.stdout + done.stderr:
                return Answer()
            return Answer(note=f"{program}, named in {config}, failed")
        try:
            value: Any = msgspec.json.decode(done.stdout)
            username, secret = value["Username"], value["Secret"]
        except (msgspec.DecodeError, KeyError, TypeError):
            return Answer(note=f"{program}, named in {config}, gave no credentials")
        if not isinstance(username, str) or not isinstance(secret, str) or not secret:
            return Answer()
        if username == _TOKEN_USER:
            return Answer(Credentials(identity_token=secret, source=program))
        return Answer(Credentials(username, secret, source=program))


def _decode(data: bytes, name: str) -> _Config:
    if not data.strip():
        return _Config()
    try:
        return decoding.from_json(data, _Config)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        # The text of the error tells the place and the expected type, never a value.
        raise RegistryError(
            f"{name} is not a Docker configuration: {error}",
            hint="mend it, or log in again with `docker login`",
        ) from error


def _keys(account: str, repository: str) -> list[str]:
    """Keys for an account, the most particular one first (Podman's files name repositories)."""
    if account == DOCKER_HUB:
        names = [HUB_KEY, "docker.io", "index.docker.io", "registry-1.docker.io"]
    else:
        names = [account]
    parts = repository.split("/") if repository else []
    base = names[1] if account == DOCKER_HUB else account
    paths = ["/".join([base, *parts[:count]]) for count in range(len(parts), 0, -1)]
    return [*paths, *names]


def _from_auths(
    auths: Mapping[str, _Auth], account: str, keys: list[str], source: str
) -> Credentials | None:
    for key in keys:
        if key in auths and (found := _credentials(auths[key], key, source)):
            return found
    # Keys of old files are URLs: `https://host/v1/`. Hub's own is among `keys`.
    for key, auth in auths.items():
        bare = key.partition("://")[2]
        if bare and bare.partition("/")[0] == account and bare.partition("/")[2] in _OLD_PATHS:
            return _credentials(auth, key, source)
    return None


_OLD_PATHS = frozenset({"", "v1", "v1/", "v2", "v2/"})


def _credentials(auth: _Auth, key: str, source: str) -> Credentials | None:
    username, password = auth.username or "", auth.password or ""
    if auth.auth:
        try:
            text = base64.b64decode(auth.auth, validate=False).decode()
        except (binascii.Error, UnicodeDecodeError):
            text = ""
        name, colon, secret = text.partition(":")
        if not colon:
            # The cause holds the secret: it is not chained.
            raise RegistryError(
                f"the entry of {key!r} in {source} is malformed",
                hint=f"log in again with `docker login {'' if key == HUB_KEY else key}".rstrip()
                + "`",
            ) from None
        username, password = name, secret.strip("\0")
    if username == _TOKEN_USER:
        return Credentials(identity_token=password, source=source)
    if auth.identitytoken:
        return Credentials(username, password, auth.identitytoken, source=source)
    if auth.registrytoken:
        return Credentials(username, registry_token=auth.registrytoken, source=source)
    if username or password:
        return Credentials(username, password, source=source)
    return None
