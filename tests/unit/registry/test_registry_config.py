"""How hosts are reached: configuration, certificates, mirrors, proxies."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest
import trustme
from tests.parts import pictures
from tests.parts.front import Exchange, answering, running_front
from tests.parts.pictures import Blobs
from tests.unit.registry.conftest import Listener, at, make_client

from viaduct.base.errors import RegistryError, UsageError
from viaduct.oci import digest as digests
from viaduct.registry import client as registry_client
from viaduct.registry.config import HostEntry, Hosts, certificate_roots, config_file
from viaduct.registry.proxy import Proxies
from viaduct.registry.pull import pull
from viaduct.registry.push import push
from viaduct.registry.sockets import VERIFIED, Trust
from viaduct.registry.urls import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from viaduct.registry.client import Client

NOTHING = digests.of(b"")


@contextlib.contextmanager
def reaching(hosts: Hosts, **env: str) -> Iterator[Client]:
    client = make_client(env, hosts=hosts)
    yield client
    client.close()


# --- the file


def test_defaults_are_dockers() -> None:
    hosts = Hosts()
    hub = hosts.origin("docker.io")
    assert (hub.host, hub.schemes, hub.account) == ("registry-1.docker.io", ("https",), "docker.io")
    assert hosts.origin("ghcr.io").schemes == ("https",)
    for host in ("localhost", "localhost:5000", "127.1.2.3:80", "[::1]:5000"):
        assert hosts.origin(host).schemes == ("http", "https")
    for host in ("localhost.evil.com", "127.0.0.1.evil.com", "128.0.0.1", "[::2]:1"):
        assert hosts.origin(host).schemes == ("https",)
    assert hosts.trust("ghcr.io") == VERIFIED


def test_every_key_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        """
        [worker]
        other = "rooms"
        [registry."docker.io"]
        mirrors = ["mirror.example.com", "http://cache:5000/v2/proxy/hub/", "m.example/v2"]
        [registry."plain.example.com"]
        http = true
        [registry."self.example.com:5000"]
        insecure = true
        ca = ["/ca.pem"]
        [[registry."self.example.com:5000".keypair]]
        key = "/k"
        cert = "/c"
        """
    )
    hosts = Hosts.read(file)
    mirrors = hosts.mirrors("docker.io")
    assert [(m.host, m.schemes, m.repository("library/a")) for m in mirrors] == [
        ("mirror.example.com", ("https",), "library/a"),
        ("cache:5000", ("http",), "proxy/hub/library/a"),
        ("m.example", ("https",), "library/a"),
    ]
    assert hosts.origin("plain.example.com").schemes == ("http",)
    assert hosts.origin("self.example.com:5000").schemes == ("https", "http")
    trust = hosts.trust("self.example.com:5000")
    assert trust == Trust(False, ("/ca.pem",), (("/c", "/k"),))


@pytest.mark.parametrize(
    "text",
    ["[", '[registry."h"]\nhtpp = true', '[registry."h"]\nmirrors = "m"', 'registry = "x"'],
)
def test_a_file_that_makes_no_sense_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"config\.toml") as caught:
        Hosts.read(file)
    assert "insecure" in caught.value.hint


def test_a_missing_file_is_no_file(tmp_path: Path) -> None:
    assert Hosts.read(tmp_path / "none.toml").entries == {}


def test_a_mirror_that_is_no_host_is_refused() -> None:
    for text in ("", "ftp://x", "/path"):
        with pytest.raises(UsageError, match="is not a host"):
            Hosts.read(mirrors={"docker.io": [text]}).mirrors("docker.io")


def test_a_call_adds_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[registry."docker.io"]\nmirrors = ["one"]\n[registry."h:1"]\nca = ["/a"]\n')
    hosts = Hosts.read(file, insecure=["h:1"], mirrors={"docker.io": ["two", "one"]})
    assert [m.host for m in hosts.mirrors("docker.io")] == ["two", "one"]
    assert hosts.trust("h:1") == Trust(False, ("/a",))


def test_certificates_lie_in_directories_by_host(tmp_path: Path) -> None:
    directory = tmp_path / "registry.example.com:5000"
    directory.mkdir()
    for name in ("ca.crt", "client.cert", "client.key", "README"):
        (directory / name).touch()
    hosts = Hosts(certificates=(tmp_path, tmp_path / "missing"))
    assert hosts.trust("registry.example.com:5000") == Trust(
        True,
        (str(directory / "ca.crt"),),
        ((str(directory / "client.cert"), str(directory / "client.key")),),
    )
    assert hosts.trust("registry.example.com") == VERIFIED
    (directory / "client.key").unlink()
    with pytest.raises(UsageError, match="has no key beside it"):
        hosts.trust("registry.example.com:5000")


def test_where_the_files_are() -> None:
    env = {"HOME": "/h"}
    assert str(config_file(env)) == "/h/.config/viaduct/config.toml"
    assert str(config_file({**env, "XDG_CONFIG_HOME": "/x"})) == "/x/viaduct/config.toml"
    assert "/etc/docker/certs.d" in map(str, certificate_roots(env))


def test_connect_reads_all_of_it(tmp_path: Path, ours: str) -> None:
    (tmp_path / "viaduct").mkdir()
    (tmp_path / "viaduct/config.toml").write_text('[registry."h"]\nhttp = true\n')
    env = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
    client = registry_client.connect(env, insecure=["i"], mirrors={"h": ["m"]})
    hosts = client.session.hosts
    assert hosts.origin("h").schemes == ("http",)
    assert hosts.origin("i").schemes == ("https", "http")
    assert hosts.mirrors("h")[0].host == "m"
    assert not client.has_blob(at(ours, "app"), NOTHING)
    client.close()


# --- TLS


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def test_a_certificate_of_nobody_is_refused_with_the_remedy(ours: str, tls: ssl.SSLContext) -> None:
    with running_front(ours, tls=tls) as front, reaching(Hosts()) as client:
        with pytest.raises(RegistryError) as caught:
            client.has_blob(at(front.address, "app"), NOTHING)
        assert f"certificate of {front.address} is not trusted" in caught.value.what
        assert f'[registry."{front.address}"] ca = ' in caught.value.hint
        assert front.seen == []


def test_a_configured_authority_is_trusted(
    ours: str, tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path, blobs: Blobs
) -> None:
    pem = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(pem))
    root = pictures.index(blobs, size=200_000)
    with running_front(ours, tls=tls) as front:
        file = tmp_path / "c.toml"
        file.write_text(f'[registry."{front.address}"]\nca = ["{pem}"]\n')
        with reaching(Hosts.read(file)) as client:
            push(client, [at(front.address, "app:1")], root, blobs)
            copy = Blobs(tmp_path / "copy")
            pull(client, at(front.address, "app:1"), copy)
            assert copy.all() == blobs.all()


def test_the_certificate_must_be_for_the_host(
    ours: str, authority: trustme.CA, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example.com").configure_cert(context)
    directory = tmp_path / "certs"
    with running_front(ours, tls=context) as front:
        (directory / front.address).mkdir(parents=True)
        authority.cert_pem.write_to_path(str(directory / front.address / "ca.crt"))
        with (
            reaching(Hosts(certificates=(directory,))) as client,
            pytest.raises(RegistryError, match="not trusted: IP address mismatch"),
        ):
            client.has_blob(at(front.address, "app"), NOTHING)


def test_insecure_means_insecure(ours: str, tls: ssl.SSLContext) -> None:
    with (
        running_front(ours, tls=tls) as front,
        reaching(Hosts.read(insecure=[front.address])) as client,
    ):
        assert not client.has_blob(at(front.address, "app"), NOTHING)


def test_a_client_certificate_is_shown(
    ours: str, tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path
) -> None:
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(tls)
    with running_front(ours, tls=tls) as front:
        directory = tmp_path / front.address
        directory.mkdir()
        authority.cert_pem.write_to_path(str(directory / "ca.crt"))
        known = Hosts(certificates=(tmp_path,))
        with reaching(known) as client, pytest.raises(RegistryError):
            client.has_blob(at(front.address, "app"), NOTHING)
        mine = authority.issue_cert("somebody@example.com")
        mine.private_key_and_cert_chain_pem.write_to_path(str(directory / "me.cert"))
        mine.private_key_pem.write_to_path(str(directory / "me.key"))
        with reaching(Hosts(certificates=(tmp_path,))) as client:
            assert not client.has_blob(at(front.address, "app"), NOTHING)


def test_an_unreadable_authority_is_named(ours: str, tls: ssl.SSLContext, tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("not a certificate")
    for name in ("bad.pem", "none.pem"):
        with running_front(ours, tls=tls) as front:
            file = tmp_path / "c.toml"
            file.write_text(f'[registry."{front.address}"]\nca = ["{tmp_path}/{name}"]\n')
            with reaching(Hosts.read(file)) as client, pytest.raises(RegistryError, match=name):
                client.has_blob(at(front.address, "app"), NOTHING)


def test_plain_http_on_a_tls_port_is_found_out(
    ours: str, tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path
) -> None:
    """Go's servers answer plain http on a TLS port with status 400; ours just hang up."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with running_front(ours, tls=tls) as secure, socket.create_server(("127.0.0.1", 0)) as both:
        port = both.getsockname()[1]

        def serve() -> None:
            for _ in range(2):
                connection, _ = both.accept()
                with connection:
                    if connection.recv(1, socket.MSG_PEEK) != b"\x16":
                        connection.recv(4096)
                        connection.sendall(
                            b"HTTP/1.0 400 Bad Request\r\n\r\n"
                            b"Client sent an HTTP request to an HTTPS server.\n"
                        )
                        continue
                    host, _, upstream = secure.address.rpartition(":")
                    with socket.create_connection((host, int(upstream))) as other:
                        _pipe_both(connection, other)

        thread = threading.Thread(target=serve)
        thread.start()
        file = tmp_path / "c.toml"
        file.write_text(f'[registry."127.0.0.1:{port}"]\nca = ["{tmp_path}/ca.pem"]\n')
        with reaching(Hosts.read(file)) as client:
            assert not client.has_blob(at(f"127.0.0.1:{port}", "app"), NOTHING)
        thread.join()


def _pipe_both(one: socket.socket, other: socket.socket) -> None:
    def pipe(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=pipe, args=(other, one))
    thread.start()
    pipe(one, other)
    thread.join()


def test_a_redirect_from_tls_to_plain_is_only_for_what_a_digest_proves(
    ours: str, tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path, blobs: Blobs
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    root = pictures.image(blobs)
    config = blobs.add(b"some blob", "a/b")
    name = "storage.internal:1234"  # resolved by a proxy: not a host of this machine
    with running_front(ours, tls=tls) as front, running_front(ours) as proxy:

        def plain(exchange: Exchange) -> bool:
            exchange.path = exchange.path.removeprefix(f"http://{name}")
            return False

        proxy.rules.append(plain)
        file = tmp_path / "c.toml"
        file.write_text(f'[registry."{front.address}"]\nca = ["{tmp_path}/ca.pem"]\n')
        env = {"http_proxy": f"http://{proxy.address}"}
        with reaching(Hosts.read(file), **env) as client:
            ref = at(front.address, "app:1")
            push(client, [ref], root, blobs)
            client.upload_blob(ref, config, lambda: blobs.open(config.digest))

            def away(exchange: Exchange) -> bool:
                if exchange.command not in ("GET", "HEAD"):
                    return False
                exchange.answer(307, headers={"Location": f"http://{name}{exchange.path}"})
                return True

            front.rules.append(away)
            assert client.blob(ref, config).read() == b"some blob"
            assert client.manifest(ref.with_digest(root.digest)).digest == root.digest
            with pytest.raises(RegistryError, match="redirected from https to http://storage"):
                client.resolve(ref)


# --- mirrors


def test_a_mirror_is_read_first_and_the_registry_after_it(
    ours: str, tmp_path: Path, blobs: Blobs
) -> None:
    root = pictures.index(blobs)
    with running_front(ours) as mirror, running_front(ours) as origin:
        hosts = Hosts.read(mirrors={origin.address: [mirror.address]})
        with reaching(hosts) as client:
            push(client, [at(origin.address, "app:1")], root, blobs)
            origin.seen.clear()
            pull(client, at(origin.address, "app:1"), Blobs(tmp_path / "one"))
            assert origin.seen == []
            assert all(s.path.endswith(f"?ns={origin.address}") for s in mirror.seen)
            mirror.rules.append(answering("GET HEAD", "/", 404))
            heard = Listener()
            pull(client, at(origin.address, "app:1"), Blobs(tmp_path / "two"), job=heard)
            assert any("asking elsewhere" in text for text in heard.texts())
        assert Blobs(tmp_path / "one").all() == Blobs(tmp_path / "two").all() == blobs.all()


def test_a_mirror_that_lies_is_passed_over(ours: str, tmp_path: Path, blobs: Blobs) -> None:
    root = pictures.image(blobs)
    with running_front(ours, answering("GET", "/manifests/", 200, b"{}")) as mirror:
        hosts = Hosts.read(mirrors={ours: [mirror.address]})
        with reaching(hosts) as client:
            push(client, [at(ours, "app:1")], root, blobs)
            assert pull(client, at(ours, "app:1"), Blobs(tmp_path / "copy")).root == root


def test_a_mirror_that_is_down_is_passed_over(ours: str, blobs: Blobs) -> None:
    with reaching(Hosts.read(mirrors={ours: ["127.0.0.1:1"]})) as client:
        root = pictures.image(blobs)
        push(client, [at(ours, "app:1")], root, blobs)
        assert client.resolve(at(ours, "app:1")).descriptor == root


# --- proxies


def via(url: str, **env: str) -> str:
    proxy = Proxies.read(env).between(Origin.of(url))
    return f"{proxy.host}:{proxy.port}" if proxy else ""


def test_proxies_are_chosen_as_go_programs_choose_them() -> None:
    env = {"http_proxy": "http://plain:1", "HTTPS_PROXY": "secure:2"}
    assert via("http://example.com", **env) == "plain:1"
    assert via("https://example.com", **env) == "secure:2"
    assert via("https://example.com", ALL_PROXY="http://all") == "all:80"
    assert via("https://example.com") == ""
    for url in ("http://localhost:5000", "http://127.0.0.1", "https://[::1]:1"):
        assert via(url, **env) == ""


@pytest.mark.parametrize(
    ("no", "url", "proxied"),
    [
        ("example.com", "http://example.com", False),
        ("example.com", "http://sub.example.com", False),
        ("example.com", "http://notexample.com", True),
        (".example.com", "http://example.com", True),
        (".example.com", "http://sub.example.com", False),
        ("*.example.com", "http://sub.example.com", False),
        ("EXAMPLE.com", "http://example.com", False),
        ("example.com:81", "http://example.com", True),
        ("example.com:80", "http://example.com", False),
        ("10.0.0.0/8", "http://10.1.2.3", False),
        ("10.0.0.0/8", "http://11.1.2.3", True),
        ("10.1.2.3", "http://10.1.2.3:8080", False),
        ("2001:db8::/32", "http://[2001:db8::1]", False),
        ("[2001:db8::1]", "http://[2001:db8::1]", False),
        ("*", "http://example.com", False),
        (" a , example.com ", "http://example.com", False),
        ("", "http://example.com", True),
        ("10.0.0.0/99", "http://10.1.2.3", True),
    ],
)
def test_no_proxy(no: str, url: str, proxied: bool) -> None:
    assert bool(via(url, http_proxy="http://p", no_proxy=no)) is proxied


@pytest.mark.parametrize("text", ["socks5://x:1", "https://x", "http://", "http://x:port"])
def test_a_proxy_that_we_cannot_speak_to_is_told_without_its_password(text: str) -> None:
    with pytest.raises(UsageError, match="not an http proxy") as caught:
        via("http://example.com", http_proxy=text.replace("//", "//u:s3cret@"))
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"
    assert "s3cret" not in repr(Proxies.read({"http_proxy": "http://u:s3cret@x"}))


def test_a_plain_request_goes_through_the_proxy_with_its_password(ours: str) -> None:
    with running_front(ours) as proxy:

        def absolute(exchange: Exchange) -> bool:
            exchange.path = exchange.path.removeprefix("http://registry.internal")
            return False

        proxy.rules.append(absolute)
        hosts = Hosts(entries={"registry.internal": HostEntry(http=True)})
        with reaching(hosts, HTTP_PROXY=f"http://u:p%40ss@{proxy.address}") as client:
            assert not client.has_blob(at("registry.internal", "app"), NOTHING)
        (seen,) = proxy.seen
        assert seen.path == f"http://registry.internal/v2/app/blobs/{NOTHING}"
        assert seen.headers["host"] == "registry.internal"
        assert seen.headers["proxy-authorization"] == "Basic dTpwQHNz"


def test_tls_is_tunnelled_and_the_proxy_sees_no_secret(
    ours: str, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("registry.internal").configure_cert(context)
    heads: list[bytes] = []
    with running_front(ours, tls=context) as secure, socket.create_server(("127.0.0.1", 0)) as s:

        def tunnel() -> None:
            connection, _ = s.accept()
            with connection:
                heads.append(connection.recv(4096))
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                host, _, port = secure.address.rpartition(":")
                with socket.create_connection((host, int(port))) as other:
                    _pipe_both(connection, other)

        thread = threading.Thread(target=tunnel)
        thread.start()
        file = tmp_path / "c.toml"
        file.write_text(f'[registry."registry.internal"]\nca = ["{tmp_path}/ca.pem"]\n')
        proxy = f"http://127.0.0.1:{s.getsockname()[1]}"
        with reaching(Hosts.read(file), https_proxy=proxy) as client:
            assert not client.has_blob(at("registry.internal", "app"), NOTHING)
        thread.join()
    assert heads[0].startswith(b"CONNECT registry.internal:443 HTTP/1.1\r\n")
    assert b"app" not in heads[0]


def test_a_proxy_that_refuses_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as s:

        def refuse() -> None:
            connection, _ = s.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        proxy = f"127.0.0.1:{s.getsockname()[1]}"
        with (
            reaching(Hosts(), https_proxy=f"http://{proxy}") as client,
            pytest.raises(RegistryError, match=f"proxy {proxy} refuses to reach registry"),
        ):
            client.resolve(at("registry.internal", "app:1"))
        thread.join()
