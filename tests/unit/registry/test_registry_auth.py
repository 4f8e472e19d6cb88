"""Logging in: tokens and passwords go where they belong, and nowhere else."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme
from tests.parts import pictures
from tests.parts.docker_registry import running_docker_registry
from tests.parts.front import Exchange, Rule, answering, running_front, times
from tests.parts.pictures import Blobs
from tests.parts.token_server import TokenServer, running_token_server
from tests.unit.registry.conftest import at, make_client

from viaduct.base.errors import RegistryError
from viaduct.oci import digest as digests
from viaduct.oci.platform import Platform
from viaduct.registry import auth
from viaduct.registry.auth import Challenge, parse_challenges
from viaduct.registry.config import Hosts
from viaduct.registry.pull import pull
from viaduct.registry.push import push

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from viaduct.registry.client import Client

SECRET = "tr0ub4dor-and-3"


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenServer]:
    with running_token_server(tmp_path) as server:
        server.accounts["alice"] = SECRET
        yield server


@pytest.fixture
def guarded(tmp_path: Path, tokens: TokenServer) -> Iterator[str]:
    """A docker-registry that wants tokens."""
    with running_docker_registry(tmp_path, more=tokens.registry_config()) as host:
        yield host


@contextlib.contextmanager
def logged_in(tmp_path: Path, auths: dict[str, dict[str, str]], **more: object) -> Iterator[Client]:
    """A client whose Docker configuration has these entries."""
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths, **more}))
    client = make_client({"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)})
    yield client
    client.close()


def as_alice(password: str = SECRET) -> dict[str, str]:
    return {"auth": base64.b64encode(f"alice:{password}".encode()).decode()}


def test_a_user_pushes_and_pulls_with_one_token_for_both(
    tmp_path: Path, guarded: str, tokens: TokenServer, blobs: Blobs
) -> None:
    root = pictures.index(blobs)
    with logged_in(tmp_path, {guarded: as_alice()}) as client:
        push(client, [at(guarded, "team/app:1")], root, blobs)
        assert pull(client, at(guarded, "team/app:1"), Blobs(tmp_path / "c")).root == root
    (asked,) = tokens.asked
    assert asked.method == "POST"
    assert asked.fields["scope"] == ["repository:team/app:pull,push"]
    assert asked.fields["grant_type"] == ["password"]
    assert asked.fields["service"] == ["registry.tests"]


def test_a_token_server_without_post_is_asked_by_get(
    tmp_path: Path, guarded: str, tokens: TokenServer, blobs: Blobs
) -> None:
    tokens.post = False
    with logged_in(tmp_path, {guarded: as_alice()}) as client:
        push(client, [at(guarded, "team/app:1")], pictures.image(blobs), blobs)
    post, get = tokens.asked
    assert (post.method, get.method) == ("POST", "GET")
    assert get.fields["account"] == ["alice"]
    assert SECRET not in json.dumps(get.fields)
    assert get.authorization.startswith("Basic ")


def test_an_identity_token_is_exchanged(
    tmp_path: Path, guarded: str, tokens: TokenServer, blobs: Blobs
) -> None:
    tokens.refresh_tokens.add("refresh-me")
    entry = {"identitytoken": "refresh-me"}
    with logged_in(tmp_path, {guarded: entry}) as client:
        push(client, [at(guarded, "team/app:1")], pictures.image(blobs), blobs)
    assert tokens.asked[0].fields["refresh_token"] == ["refresh-me"]


def test_anybody_may_pull_what_is_public(
    tmp_path: Path, guarded: str, tokens: TokenServer, blobs: Blobs
) -> None:
    root = pictures.image(blobs)
    with logged_in(tmp_path, {guarded: as_alice()}) as client:
        push(client, [at(guarded, "public/app:1")], root, blobs)
    tokens.asked.clear()
    with logged_in(tmp_path, {}) as client:
        assert client.resolve(at(guarded, "public/app:1")).descriptor.digest == root.digest
        with pytest.raises(RegistryError) as caught:
            push(client, [at(guarded, "public/app:2")], root, blobs)
    assert caught.value.status == 401
    assert "no credentials" in caught.value.what
    assert caught.value.hint == f"run `docker login {guarded}`"
    assert all(asked.authorization == "" for asked in tokens.asked)


def test_wrong_passwords_name_the_user_and_never_the_password(tmp_path: Path, guarded: str) -> None:
    wrong = {guarded: as_alice("not-the-pa55word")}
    with logged_in(tmp_path, wrong) as client, pytest.raises(RegistryError) as caught:
        client.resolve(at(guarded, "team/app:1"))
    assert caught.value.status == 401
    assert f"as 'alice' from {tmp_path}/config.json" in caught.value.what
    assert "incorrect username or password" in caught.value.what
    error: BaseException | None = caught.value
    while error is not None:
        assert "pa55word" not in f"{error!r} {error.args} {vars(error)}"
        error = error.__cause__ or error.__context__


def test_a_mount_asks_for_both_repositories(
    tmp_path: Path, guarded: str, tokens: TokenServer, blobs: Blobs
) -> None:
    root = pictures.image(blobs)
    with logged_in(tmp_path, {guarded: as_alice()}) as client:
        targets = [at(guarded, "team/one:1"), at(guarded, "team/two:1")]
        push(client, targets, root, blobs)
        assert client.resolve(targets[1]).descriptor.digest == root.digest
    assert ["repository:team/one:pull repository:team/two:pull,push"] in [
        asked.fields["scope"] for asked in tokens.asked
    ]


def test_a_token_is_renewed_before_it_ends(
    tmp_path: Path, tokens: TokenServer, guarded: str
) -> None:
    now = 1000.0
    keychain_dir = {"DOCKER_CONFIG": str(tmp_path)}
    (tmp_path / "config.json").write_text(json.dumps({"auths": {guarded: as_alice()}}))
    tokens.lifetime = 100
    client = make_client(keychain_dir)
    client.session._authorizer._clock = lambda: now
    for at_time, fetched in ((1000.0, 1), (1089.0, 1), (1091.0, 2)):
        now = at_time
        client.has_blob(at(guarded, "team/app"), digests.of(b""))
        assert len(tokens.asked) == fetched
    client.close()


def test_a_token_that_a_registry_forgot_is_replaced(
    tmp_path: Path, tokens: TokenServer, guarded: str, blobs: Blobs
) -> None:
    challenge = (
        f'Bearer realm="{tokens.url}",service="registry.tests",scope="repository:team/app:pull"'
    )
    with (
        running_front(guarded) as front,
        logged_in(tmp_path, {front.address: as_alice()}) as client,
    ):
        ref = at(front.address, "team/app:1")
        push(client, [ref], pictures.image(blobs, seed=1), blobs)
        forgot = answering("PUT", "/uploads/", 401, headers={"WWW-Authenticate": challenge})
        front.rules.append(times(1, forgot))
        push(client, [ref], pictures.image(blobs, seed=2), blobs)


def test_the_first_question_carries_nothing(tmp_path: Path, ours: str) -> None:
    with running_front(ours) as front, logged_in(tmp_path, {front.address: as_alice()}) as client:
        client.has_blob(at(front.address, "app"), digests.of(b""))
        assert "authorization" not in front.seen[0].headers


def with_password(expected: str = f"alice:{SECRET}") -> Rule:
    """A registry that wants a name and password (Basic)."""
    value = "Basic " + base64.b64encode(expected.encode()).decode()

    def rule(exchange: Exchange) -> bool:
        if exchange.headers.get("Authorization") == value:
            return False
        exchange.answer(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return True

    return rule


def test_basic_authentication(tmp_path: Path, ours: str, blobs: Blobs) -> None:
    with running_front(ours, with_password()) as front:
        with logged_in(tmp_path, {front.address: as_alice()}) as client:
            push(client, [at(front.address, "app:1")], pictures.image(blobs), blobs)
        with logged_in(tmp_path, {}) as client, pytest.raises(RegistryError) as caught:
            client.resolve(at(front.address, "app:1"))
    assert "wants other credentials (no credentials)" in caught.value.what


def test_docker_registry_with_a_password_file(tmp_path: Path, blobs: Blobs) -> None:
    users = tmp_path / "htpasswd"
    users.write_text("bob:$2y$05$abcdefghijklmnopqrstuu9OFqWWOzfDAA/IR5v44xt6jSW30z88K\n")
    config = f"auth:\n  htpasswd:\n    realm: tests\n    path: {users}\n"
    with running_docker_registry(tmp_path, more=config) as host:
        entry = {"username": "bob", "password": "passw0rd"}
        with logged_in(tmp_path, {host: entry}) as client:
            push(client, [at(host, "app:1")], pictures.image(blobs), blobs)


def test_a_ready_token_is_sent_as_it_is(tmp_path: Path, ours: str) -> None:
    def rule(exchange: Exchange) -> bool:
        if exchange.headers.get("Authorization") == "Bearer ready-made":
            return False
        exchange.answer(401, headers={"WWW-Authenticate": 'Bearer realm="http://127.0.0.1:1/"'})
        return True

    with running_front(ours, rule) as front:
        entry = {"registrytoken": "ready-made"}
        with logged_in(tmp_path, {front.address: entry}) as client:
            assert not client.has_blob(at(front.address, "app"), digests.of(b""))


# --- leaks


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_another_host_never_sees_our_authorization(
    tmp_path: Path, ours: str, blobs: Blobs, status: int
) -> None:
    root = pictures.image(blobs)
    with running_front(ours, with_password()) as registry, running_front(ours) as storage:

        def away(exchange: Exchange) -> bool:
            if not exchange.matches("GET", "/blobs/"):
                return False
            exchange.answer(
                status, headers={"Location": f"http://{storage.address}{exchange.path}?sig=1"}
            )
            return True

        registry.rules.append(away)
        with logged_in(
            tmp_path, {registry.address: as_alice(), storage.address: as_alice()}
        ) as client:
            push(client, [at(registry.address, "app:1")], root, blobs)
            pull(client, at(registry.address, "app:1"), Blobs(tmp_path / "copy"))
        assert len(storage.seen) == 3
        assert not any("authorization" in seen.headers for seen in storage.seen)


def test_the_challenge_of_another_host_is_not_answered(
    tmp_path: Path, ours: str, tokens: TokenServer
) -> None:
    challenge = {"WWW-Authenticate": f'Bearer realm="{tokens.url}",service="s"'}
    thief = answering("GET HEAD", "/", 401, b'{"details":"give me all"}', challenge)
    with running_front(ours, thief) as storage, running_front(ours) as registry:
        registry.rules.append(
            answering("GET HEAD", "/", 307, headers={"Location": f"http://{storage.address}/x"})
        )
        entries = {registry.address: as_alice(), storage.address: as_alice()}
        with logged_in(tmp_path, entries) as client, pytest.raises(RegistryError) as caught:
            client.resolve(at(registry.address, "app:1"))
    assert tokens.asked == []
    assert "give me all" not in caught.value.what
    assert storage.address in caught.value.what


def test_an_upload_elsewhere_carries_no_authorization(
    tmp_path: Path, ours: str, blobs: Blobs
) -> None:
    with running_front(ours, with_password()) as registry, running_front(ours) as storage:

        def elsewhere(exchange: Exchange) -> bool:
            if exchange.command != "POST":
                return False
            location = f"http://{storage.address}/v2/app/blobs/uploads/x?state=1"
            exchange.answer(202, headers={"Location": location})
            return True

        registry.rules.append(elsewhere)
        storage.rules.append(answering("PUT", "/uploads/", 201))
        with logged_in(tmp_path, {registry.address: as_alice()}) as client:
            blob = blobs.add(b"content", "a/b")
            client.upload_blob(at(registry.address, "app"), blob, lambda: blobs.open(blob.digest))
        (put,) = storage.seen
        assert put.path == f"/v2/app/blobs/uploads/x?state=1&digest={blob.digest}"
        assert "authorization" not in put.headers


def test_credentials_of_one_host_are_not_tried_at_another(
    tmp_path: Path, ours: str, tokens: TokenServer
) -> None:
    with running_front(ours, with_password()) as front:
        others = {"127.0.0.1:1": as_alice(), "127.0.0.1": as_alice()}
        with logged_in(tmp_path, others) as client, pytest.raises(RegistryError):
            client.resolve(at(front.address, "app:1"))
        assert not any("authorization" in seen.headers for seen in front.seen)


def test_a_mirror_gets_its_own_credentials_only(tmp_path: Path, ours: str, blobs: Blobs) -> None:
    root = pictures.image(blobs)
    with (
        running_front(ours, with_password()) as origin,
        running_front(ours, with_password("carol:hers")) as mirror,
    ):
        carol = {"username": "carol", "password": "hers"}
        hosts = Hosts.read(mirrors={origin.address: [mirror.address]})
        auths = {origin.address: as_alice(), mirror.address: carol}
        (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
        client = make_client({"DOCKER_CONFIG": str(tmp_path)}, hosts=hosts)
        push(client, [at(origin.address, "app:1")], root, blobs)
        assert mirror.seen == []  # what is written never goes to a mirror
        origin.seen.clear()
        pull(client, at(origin.address, "app:1"), Blobs(tmp_path / "copy"))
        assert origin.seen == []
        sent = {seen.headers.get("authorization", "") for seen in mirror.seen}
        assert sent == {"", "Basic " + base64.b64encode(b"carol:hers").decode()}
        client.close()


def test_a_token_server_without_tls_gets_nothing_from_a_registry_with_tls(
    tmp_path: Path, ours: str, tokens: TokenServer
) -> None:
    authority = trustme.CA()
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(served)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    challenge = {"WWW-Authenticate": f'Bearer realm="{tokens.url}",service="s"'}
    with running_front(ours, answering("HEAD GET", "/", 401, b"", challenge), tls=served) as front:
        config = tmp_path / "hosts.toml"
        config.write_text(f'[registry."{front.address}"]\nca = ["{tmp_path}/ca.pem"]\n')
        (tmp_path / "config.json").write_text(json.dumps({"auths": {front.address: as_alice()}}))
        client = make_client({"DOCKER_CONFIG": str(tmp_path)}, hosts=Hosts.read(config))
        with pytest.raises(RegistryError, match="names a token server without TLS"):
            client.resolve(at(front.address, "app:1"))
        client.close()
    assert tokens.asked == []


def test_many_threads_fetch_one_token(
    tmp_path: Path, guarded: str, tokens: TokenServer, blobs: Blobs
) -> None:
    root = pictures.index(
        blobs,
        platforms=tuple(Platform("linux", arch) for arch in ("amd64", "arm64", "s390x", "ppc64le")),
    )
    with logged_in(tmp_path, {guarded: as_alice()}) as client:
        push(client, [at(guarded, f"team/app:{n}") for n in range(4)], root, blobs)
    assert len(tokens.asked) == 1


# --- challenges and scopes


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        (
            'Bearer realm="https://auth.example.com/token",service="s",scope="repository:a:pull"',
            [("bearer", {"realm": "https://auth.example.com/token", "service": "s",
                         "scope": "repository:a:pull"})],
        ),
        ('Basic realm="a, b"', [("basic", {"realm": "a, b"})]),
        (
            'Basic realm="r", Bearer realm = "x" , error=insufficient_scope',
            [("basic", {"realm": "r"}),
             ("bearer", {"realm": "x", "error": "insufficient_scope"})],
        ),
        ('BEARER REALM="q\\"uoted"', [("bearer", {"realm": 'q"uoted'})]),
        ("Negotiate", [("negotiate", {})]),
        ("", []),
        ('realm="no scheme"', []),
        ("\x00\xff,,,", []),
        ('Bearer realm="unfinished', [("bearer", {}), ("realm", {})]),
    ],
)  # fmt: skip
def test_challenges_are_read(header: str, challenges: list[tuple[str, dict[str, str]]]) -> None:
    found = parse_challenges(header)
    assert [(c.scheme, dict(c.parameters)) for c in found] == challenges


def test_scopes_are_merged_and_compared() -> None:
    assert auth.merged(
        ["repository:b:push", "repository:a:pull", "repository:b:pull", "registry:catalog:*"]
    ) == ("registry:catalog:*", "repository:a:pull", "repository:b:pull,push")
    assert auth.covers(["repository:a:pull,push"], ["repository:a:pull"])
    assert not auth.covers(["repository:a:pull"], ["repository:a:pull,push"])
    assert not auth.covers([], ["repository:a:pull"])


def test_no_secret_shows_in_the_text_of_a_value() -> None:
    from viaduct.registry.auth import _Token
    from viaduct.registry.credentials import Credentials
    from viaduct.registry.transport import Request

    values = [
        Credentials("u", SECRET, SECRET, SECRET, "file"),
        _Token((), 0.0, SECRET),
        Request("GET", f"https://u:{SECRET}@h/?sig={SECRET}", {"Authorization": SECRET}),
    ]
    for value in values:
        assert SECRET not in f"{value!r} {value} {value.__rich_repr__()}"
    assert Challenge("bearer") == Challenge("bearer")
