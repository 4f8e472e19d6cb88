"""Arithmetic on the URLs that registries hand out: origins, relative locations, queries."""

from __future__ import annotations

import re
from urllib.parse import quote, urlencode, urljoin, urlsplit

import msgspec

from viaduct.base.errors import RegistryError

_PORTS = {"http": 80, "https": 443}
# What may stand in a URL as it is; anything else that a server wrote raw is escaped.
_LEGAL = "%/:=&?~#+!$,;'@()*[]-._"
_IPV4_LOOPBACK = re.compile(r"127\.\d{1,3}\.\d{1,3}\.\d{1,3}")


class Origin(msgspec.Struct, frozen=True):
    """Scheme, host and port: the unit that credentials belong to (RFC 6454)."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """Raises `RegistryError` for anything but an absolute http(s) URL."""
        try:
            parts = urlsplit(url)
            scheme, host, port = parts.scheme.lower(), parts.hostname or "", parts.port
        except ValueError as error:
            raise RegistryError(f"malformed URL {redacted(url)!r}: {error}") from error
        if scheme not in _PORTS or not host:
            raise RegistryError(f"{redacted(url)!r} is not an http or https URL")
        return cls(scheme, host, _PORTS[scheme] if port is None else port)

    @property
    def netloc(self) -> str:
        """`host[:port]` as a Host header has it: no port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}"


def is_loopback(host: str) -> bool:
    """Whether `host` (with or without port) can only be this machine: localhost, 127/8, ::1."""
    name = host_name(host)
    return name in ("localhost", "::1") or bool(_IPV4_LOOPBACK.fullmatch(name))


def host_name(netloc: str) -> str:
    """The host of `host[:port]` in lower case, without the brackets of an IPv6 address."""
    if netloc.startswith("["):
        return netloc[1:].partition("]")[0].lower()
    # More than one colon without brackets: an IPv6 address, as URL parsers hand it out.
    return (netloc if netloc.count(":") > 1 else netloc.partition(":")[0]).lower()


def resolved(base: str, location: str) -> str:
    """`location` as met in a response to `base`, absolute and safe to send.

    A registry behind a proxy that ends TLS often writes `http://` and its own name; that location
    keeps the scheme of `base`, so that an upload never leaves the encrypted connection.
    """
    try:
        target = urljoin(base, quote(location.strip(), safe=_LEGAL))
    except ValueError as error:
        raise RegistryError(f"malformed location {redacted(location)!r}: {error}") from error
    before, after = Origin.of(base), Origin.of(target)
    if (
        before.scheme == "https"
        and after.scheme == "http"
        and before.host == after.host
        and after.port in (80, before.port)
    ):
        split = urlsplit(target)
        return split._replace(scheme="https", netloc=before.netloc).geturl()
    return target


def decimal(text: str) -> int | None:
    """The number in a header field, None for what is no number or beyond 64 bits."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    return number if 0 <= number < 1 << 63 else None


def with_query(url: str, parameters: dict[str, str] | list[tuple[str, str]]) -> str:
    """`url` with more query parameters; those that it has are kept as they are."""
    bare, _, fragment = url.partition("#")
    joint = "&" if "?" in bare else "?"
    return f"{bare}{joint}{urlencode(parameters, safe='/:,')}" + (
        f"#{fragment}" if fragment else ""
    )


def redacted(url: str) -> str:
    """`url` for messages: signatures in queries and passwords are secrets."""
    bare = re.split(r"[?#]", url, maxsplit=1)[0]
    return re.sub(r"//[^/@]*@", "//", bare)[:300]


def next_page(url: str, link: str) -> str:
    """The URL of the next page from a Link header (RFC 8288), or empty.

    A link that leaves the origin is not followed: it would carry our token elsewhere.
    """
    for entry in re.finditer(r"<([^>]*)>\s*((?:;[^,]*)*)", link):
        if re.search(r';\s*rel\s*=\s*"?(?:[^"]*\s)?next(?:\s[^"]*)?"?', entry[2], re.IGNORECASE):
            target = resolved(url, entry[1])
            return target if Origin.of(target) == Origin.of(url) else ""
    return ""
