"""Names, drivers, options and endpoints of builders, and the form in which they are kept."""

from __future__ import annotations

import random

import msgspec
import pytest

from viaduct.base.errors import UsageError
from viaduct.engine.builder import names, values
from viaduct.engine.builder.values import Builder, Node
from viaduct.oci.models import PlatformSpec
from viaduct.oci.platform import parse


@pytest.mark.parametrize("name", ["a", "multi-builder", "B2", "my_builder.v1"])
def test_names_begin_with_a_letter(name: str) -> None:
    assert values.check_name(name) == name
    assert values.is_name(name)


@pytest.mark.parametrize("name", ["", "1x", "-x", "a/b", "a b", "ä", "..", "a\n"])
def test_other_names_are_refused_in_the_words_of_the_peers(name: str) -> None:
    with pytest.raises(UsageError, match=r"name needs to start with a letter"):
        values.check_name(name)
    assert not values.is_name(name)


@pytest.mark.parametrize("name", ["default", "Default"])
def test_the_name_of_the_builder_that_is_always_there_is_reserved(name: str) -> None:
    with pytest.raises(UsageError, match="is a reserved name"):
        values.check_name(name)
    assert not values.is_name(name)


def test_drivers_that_can_be_asked_for() -> None:
    for driver in ("docker-container", "embedded", "kubernetes"):
        assert values.check_driver(driver) == driver


@pytest.mark.parametrize(
    ("driver", "what"),
    [
        ("docker", 'additional instances of driver "docker" cannot be created'),
        ("foo", 'failed to find driver "foo"'),
        ("remote", 'driver "remote" is not available'),
    ],
)
def test_other_drivers_are_refused(driver: str, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        values.check_driver(driver)
    assert caught.value.what.startswith(what)
    assert caught.value.hint


def test_driver_options_are_a_list_of_pairs_with_quotes_around_commas() -> None:
    given = ("image=moby/buildkit:master,network=host", '"env.no_proxy=a,b",default-load=true')
    assert values.options("docker-container", given) == {
        "image": "moby/buildkit:master",
        "network": "host",
        "env.no_proxy": "a,b",
        "default-load": "true",
    }
    assert values.options("embedded", ("network=host",)) == {"network": "host"}
    assert values.options("kubernetes", ()) is None


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("foo", 'invalid value "foo", expecting k=v'),
        ("foo=bar", "invalid driver option foo for docker-container driver"),
        ("replicas=2", "invalid driver option replicas for docker-container driver"),
    ],
)
def test_options_that_the_driver_lacks_are_refused(given: str, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        values.options("docker-container", (given,))
    assert caught.value.what == what


@pytest.mark.parametrize("endpoint", ["", "far", "unix:///run/x.sock", "tcp://h:1", "ssh://u@h"])
def test_an_endpoint_is_a_context_or_an_address(endpoint: str) -> None:
    assert values.check_endpoint(endpoint) == endpoint


def test_an_address_of_no_known_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="failed to parse endpoint foo://x"):
        values.check_endpoint("foo://x")


def test_only_addresses_of_other_machines_are_elsewhere() -> None:
    ends = ["embedded", "default", "unix:///run/x.sock", "tcp://h:1", "ssh://u@h"]
    assert [Node(name="n", endpoint=end).elsewhere for end in ends] == [False] * 3 + [True] * 2


@pytest.mark.parametrize(
    ("driver", "option", "loads"),
    [
        ("docker-container", None, False),
        ("docker-container", "true", True),
        ("docker-container", "1", True),
        ("docker-container", "false", False),
        ("docker", None, True),
    ],
)
def test_who_loads_images_without_being_asked(driver: str, option: str | None, loads: bool) -> None:
    opts = {"default-load": option} if option else None
    assert (
        Builder(name="b", driver=driver, nodes=(Node(name="n", driver_opts=opts),)).default_load
        is loads
    )


def test_builders_are_kept_in_the_form_of_buildx() -> None:
    builder = Builder(
        name="b",
        driver="docker-container",
        nodes=(Node(name="b0", platforms=(PlatformSpec.of(parse("linux/arm/v7")),)),),
    )
    document = msgspec.json.decode(msgspec.json.encode(builder))
    assert document == {
        "Name": "b",
        "Driver": "docker-container",
        "Nodes": [
            {
                "Name": "b0",
                "Endpoint": "embedded",
                "Platforms": [{"architecture": "arm", "os": "linux", "variant": "v7"}],
                "DriverOpts": None,
                "Flags": None,
                "Files": None,
            }
        ],
        "Dynamic": False,
    }
    assert builder.nodes[0].fixed == ("linux/arm/v7",)


def test_generated_names_can_name_a_builder_and_are_free() -> None:
    rng = random.Random(1)
    taken: set[str] = set()
    for _ in range(300):
        name = names.generate(taken, rng)
        assert values.is_name(name)
        assert name not in taken
        taken.add(name)


def test_when_most_names_are_taken_a_number_makes_the_difference() -> None:
    class Everything:
        """All names without a number."""

        def __contains__(self, name: object) -> bool:
            return not str(name)[-1].isdigit()

    assert names.generate(Everything(), random.Random(1))[-1].isdigit()
