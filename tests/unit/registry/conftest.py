"""Both registries, a client without any configuration of the person who runs the tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from tests.parts.docker_registry import running_docker_registry
from tests.parts.pictures import Blobs
from tests.parts.registry import running_registry

from viaduct.base.tasks import Stop
from viaduct.oci import reference
from viaduct.registry.client import Client
from viaduct.registry.config import Hosts
from viaduct.registry.credentials import Keychain
from viaduct.registry.retry import Patience
from viaduct.registry.session import Session
from viaduct.registry.transport import HTTPTransport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from viaduct.oci.reference import Reference

#: The policy of the product with waits that tests can afford.
HASTE = Patience(first=0.001, longest=0.002)


@dataclass
class Listener:
    """A job that remembers what it was told."""

    stop: Stop = field(default_factory=Stop)
    parts: list[tuple[str, int, int, bool]] = field(default_factory=list)

    def status(self, part: str, current: int = 0, total: int = 0, *, done: bool = False) -> None:
        self.parts.append((part, current, total, done))

    def texts(self) -> list[str]:
        return [part for part, _, _, _ in self.parts]


def make_client(
    env: dict[str, str] | None = None,
    *,
    hosts: Hosts | None = None,
    patience: Patience = HASTE,
    read_timeout: float = 20.0,
) -> Client:
    env = env or {}
    transport = HTTPTransport(env, connect_timeout=5.0, read_timeout=read_timeout)
    return Client(Session(transport, hosts or Hosts(), Keychain(env), patience=patience))


def at(host: str, rest: str) -> Reference:
    return reference.parse(f"{host}/{rest}")


@pytest.fixture
def client() -> Iterator[Client]:
    client = make_client()
    yield client
    client.close()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def requests() -> list[str]:
    """`METHOD path status` of every request that the embedded registry got."""
    return []


@pytest.fixture
def ours(tmp_path: Path, requests: list[str]) -> Iterator[str]:
    """`host:port` of the embedded registry."""
    with running_registry(tmp_path, log=requests.append) as host:
        yield host


@pytest.fixture(scope="module")
def docker_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_docker_registry(tmp_path_factory.mktemp("docker")) as host:
        yield host


@pytest.fixture(params=["embedded", "docker"])
def host(request: pytest.FixtureRequest) -> str:
    """Either registry."""
    name = "ours" if request.param == "embedded" else "docker_host"
    found = request.getfixturevalue(name)
    assert isinstance(found, str)
    return found
