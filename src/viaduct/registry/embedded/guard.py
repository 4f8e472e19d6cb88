"""Web pages kept out of a registry that trusts whoever can reach it.

Any page in a browser on this machine may send requests to its loopback interface. What comes from
another site says so in `Origin`; a site that has its name lead to 127.0.0.1 (DNS rebinding) is
known by that name in `Host`. Programs that pull and push send neither.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from viaduct.registry.embedded.wire import Problem
from viaduct.registry.urls import host_name

if TYPE_CHECKING:
    from viaduct.registry.embedded.wire import Headers

# Names that nobody can register: RFC 6761, and ICANN's reservation of 2024.
_RESERVED = (".localhost", ".internal")


def refuse_web_pages(headers: Headers) -> None:
    """Raises `Problem` 403 for a request that a web page may have sent."""
    if headers.get("Origin"):
        raise Problem(403, "DENIED", "this registry does not answer web pages")
    name = host_name((headers.get("Host") or "localhost").strip()).rstrip(".")
    if "." not in name or name.endswith(_RESERVED) or _is_address(name):
        return
    raise Problem(
        403,
        "DENIED",
        f"this registry is for this machine: call it by its address, not {name[:100]!r}, "
        "or start it with --allow-remote",
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
