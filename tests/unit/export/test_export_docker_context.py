"""Docker's own files say where its engine is; nothing breaks when they are odd."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from viaduct.export import docker_context
from viaduct.export.docker_context import Endpoint


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"DOCKER_CONFIG": str(tmp_path)}


def make_context(env: dict[str, str], name: str, **endpoint: object) -> Path:
    """A context as `docker context create` writes it; returns where its certificates would be."""
    root = Path(env["DOCKER_CONFIG"]) / "contexts"
    folder = hashlib.sha256(name.encode()).hexdigest()
    meta = root / "meta" / folder / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}}))
    return root / "tls" / folder / "docker"


def test_the_configuration_is_in_the_home_directory_unless_told_otherwise() -> None:
    assert docker_context.configuration({"HOME": "/home/me"}) == Path("/home/me/.docker")
    assert docker_context.configuration({"HOME": "/x", "DOCKER_CONFIG": "/y"}) == Path("/y")


def test_without_contexts_the_engine_is_at_the_usual_socket(env: dict[str, str]) -> None:
    assert docker_context.names(env) == []
    assert docker_context.current(env) == "default"
    assert docker_context.exists(env, "default")
    assert docker_context.endpoint(env) == Endpoint("unix:///var/run/docker.sock")
    env["DOCKER_HOST"] = "tcp://far:2375"
    assert docker_context.endpoint(env) == Endpoint("tcp://far:2375")


def test_a_context_says_where_its_engine_is(env: dict[str, str]) -> None:
    make_context(env, "far", Host="tcp://far:2376", SkipTLSVerify=True).mkdir(parents=True)
    make_context(env, "near", Host="unix:///run/near.sock", SkipTLSVerify=False)
    assert docker_context.names(env) == ["far", "near"]
    near = docker_context.endpoint({**env, "DOCKER_CONTEXT": "near"})
    assert near == Endpoint("unix:///run/near.sock")
    far = docker_context.endpoint({**env, "DOCKER_CONTEXT": "far"})
    assert far is not None
    assert (far.host, far.verify) == ("tcp://far:2376", False)
    assert far.certificates is not None
    assert far.certificates.is_dir()


def test_certificates_come_from_the_environment_too(env: dict[str, str]) -> None:
    env |= {"DOCKER_HOST": "tcp://far:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/c"}
    assert docker_context.endpoint(env) == Endpoint("tcp://far:2376", Path("/c"))
    del env["DOCKER_TLS_VERIFY"]
    env["DOCKER_TLS"] = "1"
    assert docker_context.endpoint(env) == Endpoint("tcp://far:2376", Path("/c"), verify=False)


def test_the_environment_overrides_what_was_chosen(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"currentContext": "a", "auths": {}}')
    assert docker_context.current(env) == "a"
    assert docker_context.current({**env, "DOCKER_CONTEXT": "b"}) == "b"
    both = {**env, "DOCKER_CONTEXT": "b", "DOCKER_HOST": "unix:///x"}
    assert docker_context.current(both) == "default"


def test_a_context_that_is_gone_has_no_engine(env: dict[str, str]) -> None:
    assert docker_context.endpoint({**env, "DOCKER_CONTEXT": "gone"}) is None
    assert not docker_context.exists(env, "gone")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"currentContext": 7}', "\x00"])
def test_files_that_make_no_sense_count_as_absent(
    text: str, env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(text)
    meta = make_context(env, "far", Host="x").parents[2] / "meta"
    next(meta.iterdir()).joinpath("meta.json").write_text(text)
    assert docker_context.current(env) == "default"
    assert docker_context.names(env) == []
    assert docker_context.endpoint({**env, "DOCKER_CONTEXT": "far"}) is None
