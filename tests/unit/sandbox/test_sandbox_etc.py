from __future__ import annotations

import pytest

from viaduct.base.errors import UsageError
from viaduct.sandbox.etc import extra_hosts, hosts, resolv_conf

_RESOLVED = "# managed\nnameserver 127.0.0.53\nnameserver 10.0.0.2\nsearch corp.example\n"


def test_a_step_on_the_hosts_network_asks_whom_the_host_asks() -> None:
    assert resolv_conf(_RESOLVED, network="host").decode() == _RESOLVED


def test_a_step_without_network_has_no_resolver_on_a_loopback_that_is_not_its_own() -> None:
    assert resolv_conf(_RESOLVED + "nameserver ::1\n", network="none").decode() == (
        "# managed\nnameserver 10.0.0.2\nsearch corp.example\n"
    )


def test_a_host_without_resolver_gives_an_empty_file() -> None:
    assert resolv_conf("", network="host") == b""


def test_hosts_names_the_step_and_what_was_added() -> None:
    assert hosts("builder", [("db", "10.0.0.2"), ("v6", "fe80::1")]).decode() == (
        "127.0.0.1\tlocalhost builder\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "10.0.0.2\tdb\n"
        "fe80::1\tv6\n"
    )


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("db:10.0.0.2", ("db", "10.0.0.2")),
        ("db=10.0.0.2", ("db", "10.0.0.2")),
        ("v6:::1", ("v6", "::1")),
        ("v6=[fe80::1]", ("v6", "fe80::1")),
        ("out:host-gateway", ("out", "127.0.0.1")),
    ],
)
def test_added_hosts_are_read(text: str, pair: tuple[str, str]) -> None:
    assert extra_hosts([text]) == (pair,)


@pytest.mark.parametrize("text", ["", "db", "db:", ":10.0.0.2", "db:nowhere", "a b:10.0.0.2"])
def test_an_added_host_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="invalid host"):
        extra_hosts([text])
