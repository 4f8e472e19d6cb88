"""Which proxy a request goes through, read from the environment as Go programs read it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from viaduct.base.errors import UsageError
from viaduct.registry.discreet import Discreet
from viaduct.registry.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viaduct.registry.urls import Origin


class Proxy(Discreet, frozen=True):
    """An http proxy; `authorization` is the ready header value, or empty."""

    host: str
    port: int
    authorization: str = ""


class Proxies(Discreet, frozen=True):
    """The proxies of an environment: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`,
    each in upper or lower case."""

    http: str = ""
    https: str = ""
    no: tuple[str, ...] = ()

    @classmethod
    def read(cls, env: Mapping[str, str]) -> Proxies:
        def value(name: str) -> str:
            return env.get(name.upper()) or env.get(name) or ""

        every = value("all_proxy")
        names = (part.strip().lower() for part in value("no_proxy").split(","))
        return cls(
            value("http_proxy") or every,
            value("https_proxy") or every,
            tuple(filter(None, names)),
        )

    def between(self, origin: Origin) -> Proxy | None:
        """The proxy in front of `origin`, or None. This machine is never asked for by proxy.

        Raises `UsageError` for a proxy that we cannot speak to.
        """
        text = self.https if origin.scheme == "https" else self.http
        if not text or is_loopback(origin.host) or self._excepted(origin):
            return None
        return _parse(text)

    def _excepted(self, origin: Origin) -> bool:
        for rule in self.no:
            if rule == "*":
                return True
            name, _, port = rule.rpartition(":") if rule.count(":") == 1 else (rule, "", "")
            name = name or rule
            if port.isdigit() and int(port) != origin.port:
                continue
            if "/" in name or name.replace(".", "").isdigit() or ":" in name:
                if _in_network(origin.host, name.strip("[]")):
                    return True
            elif name.startswith((".", "*.")):
                if origin.host.endswith(name.lstrip("*")):
                    return True
            elif origin.host == name or origin.host.endswith(f".{name}"):
                return True
        return False


def _in_network(host: str, rule: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(rule, strict=False)
    except ValueError:
        return False


def _parse(text: str) -> Proxy:
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    if parts.scheme != "http" or not host:
        raise UsageError(
            "the proxy of the environment is not an http proxy",
            hint="set HTTP_PROXY and HTTPS_PROXY to http://host:port",
        )
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    return Proxy(host, port or 80, authorization)
