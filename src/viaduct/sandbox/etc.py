"""The files of /etc that a step sees instead of the image's: resolv.conf and hosts. Pure."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from viaduct.base.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: What `docker build` calls the machine that a step runs on.
DEFAULT_HOSTNAME = "buildkitsandbox"
#: The address in `--add-host name:host-gateway`; steps share the host's network.
_GATEWAY = "host-gateway"


def resolv_conf(host: str, *, network: str) -> bytes:
    """The step's resolver configuration, made from the text of the host's.

    A step on the host's network asks whom the host asks, a resolver on loopback included; for a
    step with a loopback of its own that resolver is not there.
    """
    if network == "host":
        return _terminated(host)
    return _terminated("\n".join(line for line in host.splitlines() if not _on_loopback(line)))


def hosts(hostname: str, extra: Iterable[tuple[str, str]] = ()) -> bytes:
    """The step's host table: loopback under the step's own name, then `extra` (name, address)."""
    lines = [
        f"127.0.0.1\tlocalhost {hostname or DEFAULT_HOSTNAME}",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        *(f"{address}\t{name}" for name, address in extra),
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def extra_hosts(texts: Sequence[str], *, gateway: str = "127.0.0.1") -> tuple[tuple[str, str], ...]:
    """(name, address) of each `name:address` or `name=address`; brackets around IPv6 are allowed.

    `host-gateway` is `gateway`. Raises `UsageError` for anything else.
    """
    out = []
    for text in texts:
        at = min((n for n in (text.find("="), text.find(":")) if n > 0), default=-1)
        name, address = (text[:at], text[at + 1 :]) if at > 0 else ("", "")
        if address.startswith("[") and address.endswith("]"):
            address = address[1:-1]
        if address == _GATEWAY:
            address = gateway
        try:
            address = str(ipaddress.ip_address(address))
        except ValueError:
            name = ""
        if not name or any(char.isspace() for char in name):
            raise UsageError(
                f"invalid host {text!r}", hint="write it as name:address, like db:10.0.0.2"
            )
        out.append((name, address))
    return tuple(out)


def _on_loopback(line: str) -> bool:
    words = line.split()
    if len(words) < 2 or words[0] != "nameserver":
        return False
    try:
        return ipaddress.ip_address(words[1].partition("%")[0]).is_loopback
    except ValueError:
        return False


def _terminated(text: str) -> bytes:
    stripped = text.strip("\n")
    return f"{stripped}\n".encode(errors="surrogateescape") if stripped else b""
