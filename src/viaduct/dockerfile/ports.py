"""EXPOSE: `[ip:][host:]port[-port][/protocol]`. Only port and protocol count."""

from __future__ import annotations

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile.gotext import parse_int, quote

_PROTOCOLS = ("tcp", "udp", "sctp")
_LAST_PORT = 65535


def exposed_ports(text: str) -> list[str]:
    """The ports of one word, each as `port/protocol`. Raises `DockerfileError`."""
    address, host, container = _split(text)
    ports, _, protocol = container.partition("/")
    if not ports:
        raise DockerfileError(f"invalid port: {quote(text)}: no port specified")
    protocol = protocol or "tcp"
    if protocol.lower() not in _PROTOCOLS:
        raise DockerfileError(f"invalid port: {quote(text)}: invalid proto: {protocol}")
    _check_address(address)
    try:
        first, last = _range(ports)
    except ValueError:
        raise DockerfileError(f"invalid containerPort: {ports}") from None
    if host:
        try:
            host_first, host_last = _range(host)
        except ValueError:
            raise DockerfileError(f"invalid hostPort: {host}") from None
        if last - first not in (0, host_last - host_first):
            raise DockerfileError(
                f"invalid ranges specified for container and host Ports: {ports} and {host}"
            )
    return [f"{port}/{protocol.lower()}" for port in range(first, last + 1)]


def _split(text: str) -> tuple[str, str, str]:
    *rest, container = text.split(":")
    host = rest.pop() if rest else ""
    return ":".join(rest), host, container


def _range(text: str) -> tuple[int, int]:
    start, dash, end = text.partition("-")
    first = _number(start)
    if not dash or start == end:
        return first, first
    last = _number(end)
    if last < first:
        raise ValueError(text)
    return first, last


def _number(text: str) -> int:
    port = parse_int(text)
    if not 0 <= port <= _LAST_PORT:
        raise ValueError(text)
    return port


def _check_address(address: str) -> None:
    if not address:
        return
    import ipaddress

    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        raise DockerfileError(f"invalid IP address: {bare}") from None
