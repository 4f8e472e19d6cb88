"""Whether we could push is found out without pushing, from real registries."""

from __future__ import annotations

import base64
import json
from email.utils import formatdate
from typing import TYPE_CHECKING

from tests.parts.docker_registry import free_port, running_docker_registry
from tests.parts.front import answering, running_front
from tests.parts.token_server import running_token_server
from tests.unit.registry.conftest import at, make_client

from viaduct.registry.access import Access, examine
from viaduct.registry.credentials import Keychain

if TYPE_CHECKING:
    from pathlib import Path


def _examine(host: str, rest: str, env: dict[str, str] | None = None) -> Access:
    client = make_client(env)
    try:
        return examine(client, Keychain(env or {}), at(host, rest))
    finally:
        client.close()


def test_a_registry_without_accounts_may_be_pushed_to(host: str) -> None:
    access = _examine(host, "access/app:1")
    assert (access.trouble, access.pull, access.push) == (None, None, None)
    assert not access.exists
    assert access.identity == "no credentials"
    assert access.repository == f"{host}/access/app"


def test_nothing_is_left_of_the_question(ours: str, requests: list[str], tmp_path: Path) -> None:
    _examine(ours, "access/app:1")
    methods = [line.split()[0] for line in requests]
    assert methods == ["GET", "GET", "POST", "DELETE"]
    assert [path for path in (tmp_path / "registry").rglob("*") if "upload" in path.parts] == []


def test_rights_are_those_of_the_account(tmp_path: Path) -> None:
    with running_token_server(tmp_path) as tokens:
        tokens.accounts["ann"] = "secret"
        with running_docker_registry(tmp_path, more=tokens.registry_config()) as host:
            stranger = _examine(host, "public/app:1")
            assert stranger.pull is None
            assert stranger.push is not None
            assert f"docker login {host}" in stranger.push.hint
            env = _docker_config(tmp_path, host, "ann:secret")
            ann = _examine(host, "public/app:1", env)
            assert (ann.pull, ann.push) == (None, None)
            assert "ann" in ann.identity
            wrong = _examine(host, "private/app:1", _docker_config(tmp_path, host, "ann:guess"))
            assert wrong.trouble is None
            assert wrong.push is not None
            assert "docker login" in wrong.push.hint
            assert "guess" not in repr(wrong)


def test_a_registry_that_is_not_there_is_said_to_be_so() -> None:
    access = _examine(f"127.0.0.1:{free_port()}", "app:1")
    assert access.trouble is not None
    assert "connection refused" in access.trouble.what


def test_a_registry_that_forbids_uploads_is_quoted(ours: str) -> None:
    body = json.dumps({"errors": [{"code": "DENIED", "message": "quota exceeded"}]}).encode()
    headers = {"Content-Type": "application/json"}
    with running_front(ours, answering("POST", "/uploads/", 403, body, headers)) as front:
        access = _examine(front.address, "app:1")
    assert access.pull is None
    assert access.push is not None
    assert "quota exceeded" in access.push.what


def test_clocks_are_compared(ours: str) -> None:
    said = {"Date": formatdate(1_000_000_000, usegmt=True)}
    with running_front(ours, answering("GET", "/v2/$", 200, b"{}", said)) as front:
        access = _examine(front.address, "app:1")
    assert access.skew is not None
    assert access.skew < -500_000_000
    with running_front(ours, answering("GET", "/v2/$", 200, b"{}", {"Date": "soon"})) as front:
        assert _examine(front.address, "app:1").skew is None


def _docker_config(tmp_path: Path, host: str, pair: str) -> dict[str, str]:
    place = tmp_path / f"docker-{len(list(tmp_path.iterdir()))}"
    place.mkdir()
    auth = base64.b64encode(pair.encode()).decode()
    (place / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return {"DOCKER_CONFIG": str(place)}
