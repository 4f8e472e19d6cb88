"""Opening the connection under an exchange: addresses, TLS, and the proxy's tunnel."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import Canceled, RegistryError
from viaduct.registry import http1
from viaduct.registry.failures import Broken

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from viaduct.base.tasks import Stop
    from viaduct.registry.proxy import Proxy
    from viaduct.registry.urls import Origin

#: With more addresses to come, one that does not answer is left after this many seconds.
_NEXT_ADDRESS = 3.0


class Trust(msgspec.Struct, frozen=True):
    """How the other end of a TLS connection proves itself, and how we do.

    `authorities` are PEM files that count beside the system's; `identities` are pairs of a
    certificate file and its key.
    """

    verify: bool = True
    authorities: tuple[str, ...] = ()
    identities: tuple[tuple[str, str], ...] = ()


#: The system's authorities, and no certificate of our own.
VERIFIED = Trust()


class Contexts:
    """TLS contexts by trust. Loading the system's authorities takes 15 ms, so: once, and only when
    a TLS connection is really made. Safe from threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[Trust, ssl.SSLContext] = {}

    def get(self, trust: Trust) -> ssl.SSLContext:
        with self._lock:
            if trust not in self._made:
                self._made[trust] = _context(trust)
            return self._made[trust]


def _context(trust: Trust) -> ssl.SSLContext:
    import ssl

    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if not trust.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    name = ""
    try:
        for name in trust.authorities:
            context.load_verify_locations(cafile=name)
        for name, key in trust.identities:
            context.load_cert_chain(name, key)
    except OSError as error:
        raise RegistryError(
            f"cannot read the certificate or key {name}: {error.strerror or error}",
            hint="it must be in PEM form, and readable",
        ) from error
    return context


@contextlib.contextmanager
def interruptible(sock: socket.socket, stop: Stop | None) -> Iterator[None]:
    """Make every wait on `sock` inside of the block end when `stop` is set."""
    if stop is None:
        yield
        return
    key = stop.on_stop(lambda: cut(sock))
    try:
        yield
    finally:
        stop.forget(key)


def cut(sock: socket.socket) -> None:
    """End the connection under a thread that waits on it."""
    # The plain method: that of a TLS socket drops the session under the thread that reads.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def open_socket(
    origin: Origin,
    *,
    trust: Trust,
    contexts: Contexts,
    proxy: Proxy | None,
    connect_timeout: float,
    read_timeout: float,
    stop: Stop | None,
) -> socket.socket:
    """A connected socket, through the proxy and TLS where they are asked for.

    Raises `Broken` with the kind of trouble, `Canceled` when stopped.
    """
    host, port = (proxy.host, proxy.port) if proxy else (origin.host, origin.port)
    sock = _connect(host, port, connect_timeout, stop)
    try:
        if origin.scheme == "https":
            if proxy:
                with interruptible(sock, stop):
                    _tunnel(sock, origin, proxy)
            # Wrapping moves the descriptor to a new object; only that one can be interrupted.
            sock = contexts.get(trust).wrap_socket(
                sock, server_hostname=origin.host, do_handshake_on_connect=False
            )
            with interruptible(sock, stop):
                _shake_hands(sock, origin)
        sock.settimeout(read_timeout)
    except BaseException as error:
        sock.close()
        if stop is not None and stop.is_set():
            raise Canceled from error
        if isinstance(error, TimeoutError):
            raise Broken(
                f"{origin.netloc} did not complete the TLS handshake within {connect_timeout:g} s",
                kind="timeout",
            ) from error
        if isinstance(error, OSError):
            raise Broken(
                f"{origin.netloc} closed the connection during the handshake", kind="reset"
            ) from error
        raise
    return sock


def _connect(host: str, port: int, timeout: float, stop: Stop | None) -> socket.socket:
    if not 0 < port < 65536:
        raise RegistryError(f"{port} is not a port")
    # As text, even a name in ASCII would bring in the codec of international names.
    name = host.encode() if host.isascii() else host
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        again = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
        raise Broken(
            f"cannot find the host {host!r}",
            kind="dns-again" if again else "dns",
            hint="check the spelling, the network and the name server",
        ) from error
    failure: OSError | None = None
    for number, (family, kind, protocol, _, address) in enumerate(found, 1):
        if stop is not None:
            stop.check()
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(timeout if number == len(found) else min(timeout, _NEXT_ADDRESS))
            with interruptible(sock, stop):
                sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(timeout)
        except OSError as error:
            sock.close()
            failure = error
            continue
        except BaseException:
            sock.close()
            raise
        return sock
    if stop is not None:
        stop.check()
    raise _cannot_connect(f"{host}:{port}", failure) from failure


def _cannot_connect(where: str, error: OSError | None) -> Broken:
    if isinstance(error, ConnectionRefusedError):
        return Broken(
            f"cannot connect to {where}: connection refused",
            kind="refused",
            hint="is the registry running, and is this its port?",
        )
    if isinstance(error, TimeoutError):
        return Broken(
            f"cannot connect to {where}: no answer",
            kind="timeout",
            hint="check the network, the firewall and the proxy settings",
        )
    reason = (error.strerror if error else "") or "no address"
    kind = "reset" if isinstance(error, ConnectionResetError) else "unreachable"
    return Broken(f"cannot connect to {where}: {reason}", kind=kind)


def _tunnel(sock: socket.socket, origin: Origin, proxy: Proxy) -> None:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    lines = [f"CONNECT {host}:{origin.port} HTTP/1.1", f"Host: {host}:{origin.port}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    # Nothing beyond the answer may get lost in a buffer: what comes next is TLS.
    with sock.makefile("rb", buffering=1) as stream:
        try:
            status = http1.read(stream, "CONNECT").status
        except http1.Malformed as error:
            raise Broken(
                f"the proxy {proxy.host}:{proxy.port} does not answer in HTTP", kind="protocol"
            ) from error
    if status != 200:
        raise Broken(
            f"the proxy {proxy.host}:{proxy.port} refuses to reach {origin.netloc}: "
            f"status {status}",
            kind="unreachable",
            hint="check HTTPS_PROXY and NO_PROXY",
        )


def _shake_hands(sock: ssl.SSLSocket, origin: Origin) -> None:
    import ssl

    try:
        sock.do_handshake()
    except ssl.SSLCertVerificationError as error:
        raise Broken(
            f"the certificate of {origin.netloc} is not trusted: {error.verify_message}",
            kind="tls",
            hint=f"name its authority in the configuration: "
            f'[registry."{origin.netloc}"] ca = ["/path/ca.pem"]',
        ) from error
    except ssl.SSLEOFError as error:
        raise Broken(
            f"{origin.netloc} closed the connection during the TLS handshake", kind="not-tls"
        ) from error
    except ssl.SSLError as error:
        plain = error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
        raise Broken(
            f"no TLS connection to {origin.netloc}: "
            + ("it does not speak TLS" if plain else (error.reason or "handshake failed")),
            kind="not-tls" if plain else "tls",
            hint=f'for a registry without TLS, configure: [registry."{origin.netloc}"] http = true'
            if plain
            else "",
        ) from error
