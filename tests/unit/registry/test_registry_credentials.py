"""Credentials are found where Docker and Podman leave them."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING

import pytest

from viaduct.base.errors import RegistryError
from viaduct.registry import credentials
from viaduct.registry.credentials import Credentials, Keychain

if TYPE_CHECKING:
    from pathlib import Path

HUB = "https://index.docker.io/v1/"


def entry(text: str = "bob:pass:word") -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def config(directory: Path, **fields: object) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "config.json"
    file.write_text(json.dumps(fields))
    return file


def found(env: dict[str, str], account: str, repository: str = "") -> Credentials:
    known = Keychain(env).lookup(account, repository).credentials
    assert known is not None
    return known


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A credential helper named `tests`; its answer for SERVER is the file `answers/SERVER`, and
    it notes what it was asked in `asked`."""
    program = tmp_path / "bin" / "docker-credential-tests"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\nread -r server\n"
        f'echo "$1 $server" >> {tmp_path}/asked\n'
        f'name="{tmp_path}/answers/$(echo "$server" | tr / _)"\n'
        '[ -f "$name" ] && cat "$name" && exit 0\n'
        'echo "credentials not found in native keychain"; exit 1\n'
    )
    program.chmod(0o755)
    (tmp_path / "answers").mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path


def test_without_any_file_there_are_none(tmp_path: Path) -> None:
    answer = Keychain({"HOME": str(tmp_path)}).lookup("ghcr.io")
    assert answer.credentials is None
    assert str(answer) == "no credentials"


def test_home_and_docker_config_are_read(tmp_path: Path) -> None:
    config(tmp_path / ".docker", auths={"ghcr.io": entry("home:1")})
    config(tmp_path / "other", auths={"ghcr.io": entry("other:2")})
    assert found({"HOME": str(tmp_path)}, "ghcr.io").username == "home"
    env = {"HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path / "other")}
    assert found(env, "ghcr.io").username == "other"


def test_a_password_may_hold_colons(tmp_path: Path) -> None:
    config(tmp_path, auths={"ghcr.io": entry()})
    credentials = found({"DOCKER_CONFIG": str(tmp_path)}, "ghcr.io")
    assert (credentials.username, credentials.password) == ("bob", "pass:word")
    assert str(credentials) == f"as 'bob' from {tmp_path}/config.json"


@pytest.mark.parametrize("key", [HUB, "docker.io", "index.docker.io", "registry-1.docker.io"])
def test_hub_has_many_names(tmp_path: Path, key: str) -> None:
    config(tmp_path, auths={key: entry()})
    assert found({"DOCKER_CONFIG": str(tmp_path)}, "docker.io").username == "bob"


@pytest.mark.parametrize(
    "key", ["ghcr.io", "https://ghcr.io", "https://ghcr.io/v2/", "http://ghcr.io/v1/"]
)
def test_keys_may_be_addresses(tmp_path: Path, key: str) -> None:
    config(tmp_path, auths={key: entry()})
    assert found({"DOCKER_CONFIG": str(tmp_path)}, "ghcr.io").username == "bob"


@pytest.mark.parametrize(
    "key",
    ["evil-ghcr.io", "ghcr.io.evil.com", "https://evil.com/ghcr.io", "ghcr.io:444", "xghcr.io"],
)
def test_names_that_only_look_alike_do_not_count(tmp_path: Path, key: str) -> None:
    config(tmp_path, auths={key: entry()})
    assert Keychain({"DOCKER_CONFIG": str(tmp_path)}).lookup("ghcr.io").credentials is None


def test_podman_files_name_repositories(tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    config(runtime / "containers", auths={}).rename(runtime / "containers/auth.json")
    (runtime / "containers/auth.json").write_text(
        json.dumps(
            {
                "auths": {
                    "quay.io": entry("all:1"),
                    "quay.io/team": entry("team:2"),
                    "quay.io/team/app": entry("app:3"),
                }
            }
        )
    )
    env = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(runtime)}
    assert found(env, "quay.io", "team/app").username == "app"
    assert found(env, "quay.io", "team/other").username == "team"
    assert found(env, "quay.io", "else").username == "all"


def test_roots_login_with_podman_counts_where_there_is_no_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "auth.json"
    monkeypatch.setattr(credentials, "ROOTS_FILE", file)
    env = {"HOME": str(tmp_path)}
    assert Keychain(env).lookup("quay.io").credentials is None
    file.write_text(json.dumps({"auths": {"quay.io": entry("root:1")}}))
    assert found(env, "quay.io").username == "root"
    session = {**env, "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    assert Keychain(session).lookup("quay.io").credentials is None


def test_the_most_particular_source_wins(tmp_path: Path) -> None:
    config(tmp_path / ".docker", auths={"h": entry("docker:1")})
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {"h": entry("file:2")}}))
    env = {"HOME": str(tmp_path), "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
    assert found(env, "h").username == "file"
    env["DOCKER_AUTH_CONFIG"] = json.dumps({"auths": {"h": entry("env:3")}})
    assert found(env, "h").username == "env"


def test_tokens_are_read(tmp_path: Path) -> None:
    config(
        tmp_path,
        auths={
            "i": {"identitytoken": "it", **entry("u:")},
            "r": {"registrytoken": "rt"},
            "t": entry("<token>:it2"),
            "p": {"username": "u", "password": "p"},
        },
    )
    env = {"DOCKER_CONFIG": str(tmp_path)}
    assert found(env, "i").identity_token == "it"
    assert found(env, "r").registry_token == "rt"
    assert found(env, "t").identity_token == "it2"
    assert (found(env, "p").username, found(env, "p").password) == ("u", "p")


def test_the_common_helper_is_asked(helper: Path) -> None:
    config(helper, credsStore="tests")
    (helper / "answers/ghcr.io").write_text(
        '{"ServerURL":"ghcr.io","Username":"carol","Secret":"s"}'
    )
    credentials = found({"DOCKER_CONFIG": str(helper)}, "ghcr.io")
    assert (credentials.username, credentials.password) == ("carol", "s")
    assert (helper / "asked").read_text() == "get ghcr.io\n"


def test_a_hosts_own_helper_comes_first(helper: Path) -> None:
    config(helper, credsStore="missing", credHelpers={"ghcr.io": "tests"})
    (helper / "answers/ghcr.io").write_text('{"Username":"<token>","Secret":"refresh"}')
    assert found({"DOCKER_CONFIG": str(helper)}, "ghcr.io").identity_token == "refresh"


def test_a_helper_knows_hub_by_its_old_name(helper: Path) -> None:
    config(helper, credsStore="tests")
    Keychain({"DOCKER_CONFIG": str(helper)}).lookup("docker.io", "library/alpine")
    assert (helper / "asked").read_text() == f"get {HUB}\n"


def test_a_helper_that_knows_nothing_leaves_us_anonymous(helper: Path) -> None:
    config(helper, credsStore="tests")
    answer = Keychain({"DOCKER_CONFIG": str(helper)}).lookup("quay.io")
    assert str(answer) == "no credentials"


def test_a_helper_is_asked_once_in_five_minutes(helper: Path) -> None:
    config(helper, credsStore="tests")
    now = 0.0
    keychain = Keychain({"DOCKER_CONFIG": str(helper)}, clock=lambda: now)
    for moment, asked in ((0.0, 1), (299.0, 1), (301.0, 2)):
        now = moment
        keychain.lookup("quay.io")
        assert len((helper / "asked").read_text().splitlines()) == asked


@pytest.mark.parametrize(
    ("script", "note"),
    [
        ("#!/bin/sh\necho s3cret; exit 3\n", "docker-credential-odd, named in {}, failed"),
        ("#!/bin/sh\necho '{{'\n", "docker-credential-odd, named in {}, gave no credentials"),
        ("#!/bin/sh\necho '[]'\n", "docker-credential-odd, named in {}, gave no credentials"),
        ("not a script", "docker-credential-odd"),
    ],
)
def test_a_broken_helper_is_a_note_and_no_failure(helper: Path, script: str, note: str) -> None:
    program = helper / "bin/docker-credential-odd"
    program.write_text(script)
    program.chmod(0o755)
    file = config(helper, credsStore="odd")
    answer = Keychain({"DOCKER_CONFIG": str(helper)}).lookup("quay.io")
    assert answer.credentials is None
    assert note.format(file) in str(answer)
    assert "s3cret" not in str(answer)


def test_a_missing_helper_is_a_note(tmp_path: Path) -> None:
    file = config(tmp_path, credsStore="desktop")
    answer = Keychain({"DOCKER_CONFIG": str(tmp_path)}).lookup("quay.io")
    assert str(answer) == (
        f"no credentials; docker-credential-desktop is not installed, but {file} names it"
    )


def test_a_helper_is_a_name_and_no_path(tmp_path: Path) -> None:
    config(tmp_path, credsStore="../../bin/sh")
    answer = Keychain({"DOCKER_CONFIG": str(tmp_path)}).lookup("quay.io")
    assert "not the name of a credential helper" in answer.note


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": 3}', '{"credsStore": {}}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RegistryError, match=r"config\.json is not a Docker configuration"):
        Keychain({"DOCKER_CONFIG": str(tmp_path)}).lookup("quay.io")


@pytest.mark.parametrize("auth", ["!!!", base64.b64encode(b"no-colon-s3cret").decode()])
def test_a_damaged_entry_is_named_without_its_content(tmp_path: Path, auth: str) -> None:
    config(tmp_path, auths={"quay.io": {"auth": auth}})
    with pytest.raises(RegistryError, match=r"entry of 'quay\.io'") as caught:
        Keychain({"DOCKER_CONFIG": str(tmp_path)}).lookup("quay.io")
    assert auth not in caught.value.what
    assert "s3cret" not in caught.value.what
    assert caught.value.hint == "log in again with `docker login quay.io`"


def test_an_empty_file_and_unknown_fields_are_fine(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("")
    env = {"DOCKER_CONFIG": str(tmp_path)}
    assert Keychain(env).lookup("h").credentials is None
    config(tmp_path, auths={"h": {**entry(), "email": "x"}}, HttpHeaders={}, detachKeys="x")
    assert found(env, "h").username == "bob"
