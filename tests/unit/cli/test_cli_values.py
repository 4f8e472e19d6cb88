from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from viaduct.base.errors import UsageError
from viaduct.cli import values
from viaduct.engine.request import Annotation, Secret, SSHAgent
from viaduct.graph.ops import Ulimit
from viaduct.oci.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_build_args_come_from_the_line_the_environment_or_not_at_all() -> None:
    env = {"HERE": "yes", "SOURCE_DATE_EPOCH": "7", "HTTP_PROXY": "http://p", "no_proxy": "x"}
    assert values.build_args(["A=1=2", "HERE", "MISSING", "B="], env) == {
        "A": "1=2",
        "HERE": "yes",
        "B": "",
        "SOURCE_DATE_EPOCH": "7",
        "HTTP_PROXY": "http://p",
        "no_proxy": "x",
    }


def test_a_given_proxy_or_epoch_is_not_replaced() -> None:
    env = {"SOURCE_DATE_EPOCH": "7", "HTTP_PROXY": "http://p", "http_proxy": "http://q"}
    given = ["SOURCE_DATE_EPOCH=1", "http_proxy="]
    assert values.build_args(given, env) == {"SOURCE_DATE_EPOCH": "1", "http_proxy": ""}


def test_labels_may_be_empty_but_have_keys() -> None:
    assert values.pairs(["a=b", "c"]) == {"a": "b", "c": ""}
    with pytest.raises(UsageError, match='invalid key-value pair "=1": empty key'):
        values.pairs(["=1"])


def test_annotations_name_levels_and_platforms() -> None:
    made = values.annotated(["k=v", "index,manifest[linux/aarch64]:org.x=a:b=c"])
    assert made == (
        Annotation("k", "v"),
        Annotation("org.x", "a:b=c", "index"),
        Annotation("org.x", "a:b=c", "manifest", Platform("linux", "arm64")),
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("foo", 'invalid annotation "foo", expected key=value'),
        ("nope:a=b", 'unknown annotation type "nope"'),
        ("index[:a=b", 'invalid annotation type "index["'),
    ],
)
def test_bad_annotations(value: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        values.annotated([value])
    assert caught.value.what.startswith(message)


def test_a_secret_is_a_file_or_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("x")
    env = {"TOKEN": "t"}
    made = values.secrets(
        [
            f"id=a,src={file}",
            "id=b,env=TOKEN",
            "id=TOKEN",
            "type=env,id=d,src=OTHER",
            f"type=file,id=e,source={file}",
            "type=env,id=f",
        ],
        env,
    )
    assert made == (
        Secret("a", path=str(file)),
        Secret("b", env="TOKEN"),
        Secret("TOKEN", env="TOKEN"),
        Secret("d", env="OTHER"),
        Secret("e", path=str(file)),
        Secret("f", env="f"),
    )


def test_the_last_secret_of_an_id_counts() -> None:
    assert values.secrets(["id=a,env=X", "id=a,env=Y"], {}) == (Secret("a", env="Y"),)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("foo", "invalid field 'foo' must be a key=value pair"),
        ("ids=a", "unexpected key 'ids' in 'ids=a'"),
        ("type=x,id=a", 'unsupported secret type "x"'),
        ("env=A", "secret missing ID"),
        ("id=a,src=/none", "failed to stat /none: stat /none: no such file or directory"),
        ("id=nowhere", "failed to stat nowhere: stat nowhere: no such file or directory"),
    ],
)
def test_bad_secrets(value: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        values.secrets([value], {})
    assert caught.value.what == message


def test_a_secret_has_a_largest_size(tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(b"x" * (500 * 1024 + 1))
    with pytest.raises(UsageError, match="secret a too big"):
        values.secrets([f"id=a,src={big}"], {})


def test_ssh_agents_and_keys() -> None:
    env = {"SSH_AUTH_SOCK": "/run/agent"}
    made = values.ssh_agents(["default", "k=/a,/b"], env)
    assert made == (SSHAgent(), SSHAgent("k", ("/a", "/b")))
    assert values.ssh_agents(["k=/a"], {}) == (SSHAgent("k", ("/a",)),)


def test_a_context_over_ssh_uses_the_agent() -> None:
    env = {"SSH_AUTH_SOCK": "/run/agent"}
    assert values.ssh_agents([], env, context="git@github.com:a/b.git") == (SSHAgent(),)
    assert values.ssh_agents([], env, context=".") == ()


def test_an_agent_that_does_not_run_is_told_before_the_build() -> None:
    with pytest.raises(UsageError, match="make sure SSH_AUTH_SOCK is set"):
        values.ssh_agents(["default"], {})
    with pytest.raises(UsageError, match='duplicate agent ID "a"'):
        values.ssh_agents(["a=/x", "a=/y"], {})


def test_hosts() -> None:
    given = ["a:1.2.3.4,b=5.6.7.8", "c=[::1]", "d:2001:db8::1"]
    assert values.hosts(given) == ("a=1.2.3.4", "b=5.6.7.8", "c=::1", "d=2001:db8::1")


@pytest.mark.parametrize("value", ["foo", ":1.2.3.4", "a:", "a:1.2.3", "a=b"])
def test_bad_hosts(value: str) -> None:
    with pytest.raises(UsageError, match=f"invalid host {value}"):
        values.hosts([value])


def test_host_gateway_has_a_way_out() -> None:
    with pytest.raises(
        UsageError, match="unable to derive the IP value for host-gateway"
    ) as caught:
        values.hosts(["h:host-gateway"])
    assert caught.value.hint == "use --add-host h:127.0.0.1"


def test_ulimits() -> None:
    assert values.ulimits(["nofile=10:20", "core=-1", "nofile=5"]) == (
        Ulimit(name="nofile", soft=5, hard=5),
        Ulimit(name="core", soft=-1, hard=-1),
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nofile", "invalid ulimit argument: nofile"),
        ("foo=1", "invalid ulimit type: foo"),
        ("nofile=a", "invalid ulimit argument: nofile=a"),
        ("nofile=1:2:3", "invalid ulimit argument: nofile=1:2:3"),
        ("nofile=3:2", "ulimit soft limit must be less than or equal to hard limit: 3 > 2"),
        ("nofile=-1:2", "ulimit soft limit must be less than or equal to hard limit: "
                        "soft: -1 (unlimited), hard: 2"),
    ],
)  # fmt: skip
def test_bad_ulimits(value: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        values.ulimits([value])
    assert caught.value.what == message


def test_named_contexts_are_named_like_images() -> None:
    made = values.named_contexts(
        ["src=../x", "alpine:latest=docker-image://a", "base:1=oci-layout://b"]
    )
    assert made == {"src": "../x", "alpine": "docker-image://a", "base:1": "oci-layout://b"}
    with pytest.raises(UsageError, match="invalid context value: foo, expected key=value"):
        values.named_contexts(["foo"])
    with pytest.raises(UsageError, match="invalid context name A B"):
        values.named_contexts(["A B=x"])


def test_entitlements() -> None:
    given = ["network.host", "device=vendor.com/gpu", "network.host"]
    assert values.entitlements(given) == ("network.host", "device=vendor.com/gpu")
    with pytest.raises(UsageError, match="unknown entitlement foo"):
        values.entitlements(["foo"])


def test_registries() -> None:
    made = values.registries(["a:5000,b"], ["docker.io=https://m1", "docker.io=https://m2"])
    assert made.insecure == ("a:5000", "b")
    assert made.mirrors == {"docker.io": ("https://m1", "https://m2")}
    with pytest.raises(UsageError, match="invalid registry mirror"):
        values.registries([], ["docker.io"])


@pytest.mark.parametrize(
    ("value", "call"),
    [
        ("build", values.Call()),
        ("", values.Call()),
        ("check", values.Call("check")),
        ("lint", values.Call("check")),
        ("subrequests.describe", values.Call("describe")),
        ("outline,format=json", values.Call("outline", json=True)),
        ("check,ignorestatus=true", values.Call("check", ignore_status=True)),
    ],
)
def test_calls(value: str, call: values.Call) -> None:
    assert values.call(value) == call


@pytest.mark.parametrize(
    "value", ["frob", "check,format=xml", "check,foo=1", "check,ignorestatus=x"]
)
def test_bad_calls(value: str) -> None:
    with pytest.raises(UsageError):
        values.call(value)


@pytest.mark.parametrize(
    "read",
    [values.pairs, values.annotated, values.hosts, values.ulimits, values.named_contexts],
)
def test_nothing_given_is_nothing(read: Callable[[list[str]], object]) -> None:
    assert not read([])


@pytest.mark.parametrize(
    ("given", "env", "mode"),
    [
        ("auto", {}, "auto"),
        ("auto", {"BUILDKIT_PROGRESS": "plain"}, "plain"),
        ("tty", {"BUILDKIT_PROGRESS": "plain"}, "tty"),
        ("quiet", {}, "quiet"),
    ],
)
def test_the_environment_decides_an_automatic_progress(
    given: str, env: dict[str, str], mode: str
) -> None:
    assert values.progress_mode(given, env) == mode


def test_an_unknown_progress_is_refused() -> None:
    with pytest.raises(UsageError, match="invalid progress mode fancy"):
        values.progress_mode("auto", {"BUILDKIT_PROGRESS": "fancy"})
