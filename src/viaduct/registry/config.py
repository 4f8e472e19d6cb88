"""How registry hosts are reached: mirrors, plain http, authorities, client certificates.

The file has BuildKit's shape:

    [registry."docker.io"]
    mirrors = ["mirror.example.com", "cache.example.com:5000/proxy"]

    [registry."registry.example.com:5000"]
    http = true            # never TLS
    insecure = true        # TLS without verification, then plain http
    ca = ["/etc/ssl/example.pem"]
    [[registry."registry.example.com:5000".keypair]]
    key = "/etc/ssl/client.key"
    cert = "/etc/ssl/client.cert"

Beside it, Docker's `certs.d/HOST/` directories are read: `*.crt` are authorities, `*.cert` with
the `*.key` of the same name are client certificates.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from viaduct.base import decoding
from viaduct.base.errors import UsageError
from viaduct.base.home import user_home
from viaduct.oci.reference import DOCKER_HUB
from viaduct.registry.sockets import VERIFIED, Trust
from viaduct.registry.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Where the content of `docker.io` is served.
HUB_HOST = "registry-1.docker.io"
_HUB_NAMES = frozenset({DOCKER_HUB, HUB_HOST, "index.docker.io"})


class _Keypair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: str
    cert: str


class HostEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the configuration says about one host."""

    mirrors: tuple[str, ...] = ()
    http: bool = False
    insecure: bool = False
    ca: tuple[str, ...] = ()
    keypair: tuple[_Keypair, ...] = ()


class _File(msgspec.Struct, frozen=True):
    # Other tables of the file belong to other rooms.
    registry: dict[str, HostEntry] = {}


class Endpoint(msgspec.Struct, frozen=True):
    """A place that serves the content of the registry `domain`.

    `host` is what we connect to; `schemes` are tried in turn until one answers; `prefix` stands
    between `/v2/` and the repository. A `mirror` is asked with our own credentials for its host,
    never with those of `domain`.
    """

    domain: str
    host: str
    schemes: tuple[str, ...]
    prefix: str = ""
    mirror: bool = False

    @property
    def account(self) -> str:
        """The name under which credentials for this host are kept."""
        return DOCKER_HUB if self.host in _HUB_NAMES else self.host

    def repository(self, path: str) -> str:
        """The name of repository `path` on this host."""
        return f"{self.prefix}{path}"


class Hosts(msgspec.Struct, frozen=True):
    """The configuration of all hosts; what it does not name has Docker's defaults."""

    entries: Mapping[str, HostEntry] = {}
    certificates: tuple[Path, ...] = ()

    @classmethod
    def read(
        cls,
        file: Path | None = None,
        *,
        certificates: Iterable[Path] = (),
        insecure: Iterable[str] = (),
        mirrors: Mapping[str, Sequence[str]] | None = None,
    ) -> Hosts:
        """The file (it may be missing) with a call's additions on top.

        `insecure` hosts are reached without verified TLS or over http; `mirrors` come before those
        of the file. Raises `UsageError` when the file makes no sense.
        """
        entries = dict(_read(file)) if file is not None else {}
        for host in insecure:
            entries[host] = msgspec.structs.replace(entries.get(host, HostEntry()), insecure=True)
        for host, more in (mirrors or {}).items():
            entry = entries.get(host, HostEntry())
            both = dict.fromkeys((*more, *entry.mirrors))
            entries[host] = msgspec.structs.replace(entry, mirrors=tuple(both))
        return cls(entries, tuple(certificates))

    def origin(self, domain: str) -> Endpoint:
        """Where `domain` itself is served."""
        host = HUB_HOST if domain in _HUB_NAMES else domain
        entry = self._entry(domain) if domain in self.entries else self._entry(host)
        return Endpoint(domain, host, _schemes(host, entry))

    def mirrors(self, domain: str) -> tuple[Endpoint, ...]:
        """The mirrors of `domain`, in the order to ask them."""
        out = []
        for text in self._entry(domain).mirrors:
            scheme, mark, rest = text.rpartition("://")
            host, _, path = rest.rstrip("/").partition("/")
            if not host or (mark and scheme not in ("http", "https")):
                raise UsageError(
                    f"mirror {text!r} of {domain} is not a host",
                    hint="write it as host[:port][/path]",
                )
            schemes = (scheme,) if mark else _schemes(host, self._entry(host))
            prefix = f"{path.removeprefix('v2/')}/" if path and path != "v2" else ""
            out.append(Endpoint(domain, host, schemes, prefix, mirror=True))
        return tuple(out)

    def trust(self, host: str) -> Trust:
        """How TLS to `host[:port]` is verified. Looks into the certificate directories."""
        entry = self._entry(host)
        authorities, identities = list(entry.ca), [(pair.cert, pair.key) for pair in entry.keypair]
        for root in self.certificates:
            found = _directory(root / host)
            authorities += found[0]
            identities += found[1]
        if not authorities and not identities and not entry.insecure:
            return VERIFIED
        return Trust(not entry.insecure, tuple(authorities), tuple(identities))

    def _entry(self, host: str) -> HostEntry:
        found = self.entries.get(host)
        if found is None and host == HUB_HOST:
            found = self.entries.get(DOCKER_HUB)
        return found or HostEntry()


def _schemes(host: str, entry: HostEntry) -> tuple[str, ...]:
    if entry.http:
        return ("http",)
    if is_loopback(host):
        # A registry on this machine almost always speaks plain http: asked first, it answers at
        # once, and nothing leaves the machine. TLS is tried when the answer is not HTTP.
        return ("http", "https")
    return ("https", "http") if entry.insecure else ("https",)


def _read(file: Path) -> Mapping[str, HostEntry]:
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    import tomllib

    try:
        return decoding.from_plain(tomllib.loads(data.decode()), _File).registry
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise UsageError(
            f"{file}: {error}",
            hint='known keys of [registry."HOST"]: mirrors, http, insecure, ca, keypair',
        ) from error


def _directory(path: Path) -> tuple[list[str], list[tuple[str, str]]]:
    try:
        names = sorted(entry.name for entry in path.iterdir())
    except OSError:
        return [], []
    authorities = [str(path / name) for name in names if name.endswith(".crt")]
    identities = []
    for name in names:
        if name.endswith(".cert"):
            key = name.removesuffix(".cert") + ".key"
            if key not in names:
                raise UsageError(f"{path / name} has no key beside it", hint=f"add {path / key}")
            identities.append((str(path / name), str(path / key)))
    return authorities, identities


def config_file(env: Mapping[str, str]) -> Path:
    """`$XDG_CONFIG_HOME/viaduct/config.toml`, by default below `~/.config`."""
    root = env.get("XDG_CONFIG_HOME") or str(user_home(env) / ".config")
    return Path(root) / "viaduct" / "config.toml"


def certificate_roots(env: Mapping[str, str]) -> tuple[Path, ...]:
    """Directories that hold a `HOST/` directory of certificates: ours, Docker's, and Podman's."""
    home = user_home(env)
    return (
        config_file(env).parent / "certs.d",
        home / ".config/docker/certs.d",
        Path("/etc/docker/certs.d"),
        Path("/etc/containers/certs.d"),
    )
