"""A token server as registries use them: accounts in, signed tokens out (distribution's scheme).

Debian's `docker-registry` accepts its tokens, so that the whole exchange is between real parts.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

_ISSUER = "tests"
SERVICE = "registry.tests"


@dataclass(frozen=True)
class Asked:
    """One request for a token; `fields` are those of the query or the form."""

    method: str
    fields: dict[str, list[str]]
    authorization: str


@dataclass
class TokenServer:
    """The running server. Everybody may pull `public/…`; users may do everything."""

    url: str
    certificate: Path
    accounts: dict[str, str] = field(default_factory=dict)
    refresh_tokens: set[str] = field(default_factory=set)
    lifetime: int | None = 300
    post: bool = True
    asked: list[Asked] = field(default_factory=list)

    def registry_config(self) -> str:
        """What a docker-registry needs to know."""
        return (
            f"auth:\n  token:\n    realm: {self.url}\n    service: {SERVICE}\n"
            f"    issuer: {_ISSUER}\n    rootcertbundle: {self.certificate}\n"
        )


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16

    def do_GET(self) -> None:
        fields = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        self._answer(fields)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(urllib.parse.parse_qs(body.decode()))

    def _answer(self, fields: dict[str, list[str]]) -> None:
        tokens, authorization = self.server.tokens, self.headers.get("Authorization", "")
        tokens.asked.append(Asked(self.command, fields, authorization))
        if self.command == "POST" and not tokens.post:
            self._send(405, {"errors": [{"code": "UNSUPPORTED"}]})
            return
        known = self._user(fields, authorization)
        if known is None:
            self._send(401, {"details": "incorrect username or password"})
            return
        # Clients send scopes as repeated fields (GET) or as one with spaces (POST).
        scopes = [scope for text in fields.get("scope", []) for scope in text.split()]
        access: list[dict[str, object]] = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            granted = [
                action
                for action in actions.split(",")
                if known or (action == "pull" and name.startswith("public/"))
            ]
            access.append({"type": kind, "name": name, "actions": granted})
        answer: dict[str, object] = {"token": self.server.sign(known, access)}
        if tokens.lifetime is not None:
            answer["expires_in"] = tokens.lifetime
        self._send(200, answer)

    def _user(self, fields: dict[str, list[str]], authorization: str) -> str | None:
        """The user's name, empty for anybody, None when the credentials are wrong."""
        tokens = self.server.tokens
        if self.command == "POST" and fields["grant_type"] == ["refresh_token"]:
            return "holder" if fields["refresh_token"][0] in tokens.refresh_tokens else None
        if self.command == "POST":
            name, password = fields["username"][0], fields["password"][0]
        elif authorization:
            pair = base64.b64decode(authorization.removeprefix("Basic ")).decode()
            name, _, password = pair.partition(":")
        else:
            return ""
        return name if tokens.accounts.get(name) == password else None

    def _send(self, status: int, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Tests look at `asked`."""


class _Server(http.server.ThreadingHTTPServer):
    tokens: TokenServer

    def __init__(self, key: rsa.RSAPrivateKey, certificate: bytes) -> None:
        self._key = key
        self._certificate = certificate
        super().__init__(("127.0.0.1", 0), _Handler)

    def sign(self, subject: str, access: list[dict[str, object]]) -> str:
        """A JSON web token in the form of the distribution project."""
        now = int(time.time())
        header = {
            "typ": "JWT",
            "alg": "RS256",
            "x5c": [base64.b64encode(self._certificate).decode()],
        }
        claims = {
            "iss": _ISSUER,
            "sub": subject,
            "aud": SERVICE,
            "exp": now + 600,
            "nbf": now - 60,
            "iat": now,
            "jti": str(time.monotonic_ns()),
            "access": access,
        }
        text = ".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
        signature = self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{_base64(signature)}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@contextlib.contextmanager
def running_token_server(
    tmp_path: Path, *, tls: ssl.SSLContext | None = None
) -> Iterator[TokenServer]:
    """A token server on a free loopback port."""
    authority = trustme.CA(key_type=trustme.KeyType.RSA)
    certificate = tmp_path / "token-authority.pem"
    authority.cert_pem.write_to_path(str(certificate))
    key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    public = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    with _Server(key, public.public_bytes(serialization.Encoding.DER)) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        scheme = "https" if tls else "http"
        url = f"{scheme}://127.0.0.1:{server.server_address[1]}/token"
        server.tokens = TokenServer(url, certificate)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.tokens
        finally:
            server.shutdown()
            thread.join()
