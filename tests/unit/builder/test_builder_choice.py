"""Which builder is meant: the one named, the one chosen, or the one of Docker's context."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from viaduct.base.errors import NotFound, StoreError, UsageError
from viaduct.engine.builder.edit import Wish
from viaduct.engine.builder.values import Builder
from viaduct.engine.builders import Builders


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"VIADUCT_HOME": str(tmp_path / "state"), "DOCKER_CONFIG": str(tmp_path / "docker")}


def make_context(env: dict[str, str], name: str, host: str = "unix:///nowhere.sock") -> None:
    """A context as `docker context create` writes it."""
    folder = hashlib.sha256(name.encode()).hexdigest()
    meta = Path(env["DOCKER_CONFIG"]) / "contexts/meta" / folder / "meta.json"
    meta.parent.mkdir(parents=True)
    endpoint = {"Host": host, "SkipTLSVerify": False}
    document = {"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}}
    meta.write_text(json.dumps(document))


def listed(builders: Builders) -> list[str]:
    return [one.name if isinstance(one, Builder) else one[0] for one in builders.all()]


def test_default_is_there_and_runs_and_cannot_go(env: dict[str, str]) -> None:
    builders = Builders.of(env)
    assert listed(builders) == ["default"]
    default = builders.find()
    assert (default.name, default.driver) == ("default", "docker")
    assert builders.running(default) == {"default"}
    assert builders.start(default) == frozenset()
    builders.stop("default")
    assert builders.running(default) == {"default"}
    with pytest.raises(UsageError, match="context builder cannot be removed"):
        builders.remove("default")


def test_a_builder_counts_from_when_it_is_chosen(env: dict[str, str]) -> None:
    builders = Builders.of(env)
    builders.create(Wish(name="quiet"), use=False)
    assert builders.current() == "default"
    builders.create(Wish(name="chosen"), use=True)
    assert builders.current() == "chosen"
    builders.use("quiet")
    assert Builders.of(env).find().name == "quiet"
    builders.use("default")
    assert Builders.of(env).current() == "default"


def test_the_environment_overrides_the_choice_even_with_a_name_that_is_gone(
    env: dict[str, str],
) -> None:
    Builders.of(env).create(Wish(name="b"), use=True)
    assert Builders.of({**env, "BUILDX_BUILDER": "default"}).find().name == "default"
    with pytest.raises(NotFound, match='no builder "gone" found'):
        Builders.of({**env, "BUILDX_BUILDER": "gone"}).find()


def test_names_that_are_nearly_right_are_suggested(env: dict[str, str]) -> None:
    builders = Builders.of(env)
    builders.create(Wish(name="multi-builder"), use=False)
    with pytest.raises(NotFound) as caught:
        builders.find("multi-bulider")
    assert caught.value.hint == "did you mean multi-builder?"


@pytest.mark.parametrize("name", ["../current", "a/b", "", "..", "x\n"])
def test_a_name_never_leads_to_another_file(name: str, env: dict[str, str]) -> None:
    builders = Builders.of(env)
    builders.create(Wish(name="b"), use=True)
    if name:
        with pytest.raises(NotFound):
            builders.find(name)
    with pytest.raises((NotFound, UsageError)):
        builders.use(name)
    if name:
        with pytest.raises(NotFound):
            builders.remove(name)
    assert listed(builders) == ["b", "default"]


def test_removing_the_chosen_one_leads_back_to_default(env: dict[str, str]) -> None:
    """S-45."""
    builders = Builders.of(env)
    builders.create(Wish(name="b"), use=True)
    assert builders.remove("") == "b"
    assert builders.current() == "default"


def test_starting_tells_what_did_not_run_and_stopping_makes_it_inactive(
    env: dict[str, str],
) -> None:
    builders = Builders.of(env)
    builders.create(Wish(name="b"), use=False)
    builder = builders.create(Wish(name="b", append=True), use=False)
    assert builders.inactive() == ["b"]
    assert builders.start(builder) == {"b0", "b1"}
    assert builders.start(builder) == frozenset()
    assert builders.inactive() == []
    builders.stop("b")
    assert builders.inactive() == ["b"]
    assert builders.running(builder) == frozenset()


def test_a_builder_that_cannot_be_read_is_listed_with_its_error(env: dict[str, str]) -> None:
    builders = Builders.of(env)
    builders.create(Wish(name="b"), use=False)
    (builders.store.root / "instances/b").write_text("[]")
    name, error = next(one for one in builders.all() if isinstance(one, tuple))
    assert name == "b"
    assert isinstance(error, StoreError)
    assert builders.remove("b") == "b"


def test_the_peers_variable_moves_the_files(env: dict[str, str], tmp_path: Path) -> None:
    Builders.of({**env, "BUILDX_CONFIG": str(tmp_path / "bx")}).create(Wish(name="b"), use=True)
    assert (tmp_path / "bx/instances/b").is_file()
    assert listed(Builders.of(env)) == ["default"]


def test_every_context_of_docker_is_a_builder(env: dict[str, str]) -> None:
    make_context(env, "far")
    builders = Builders.of(env)
    builders.create(Wish(name="b"), use=False)
    assert listed(builders) == ["b", "default", "far"]
    far = builders.find("far")
    assert (far.driver, [node.endpoint for node in far.nodes]) == ("docker", ["far"])
    with pytest.raises(UsageError, match="docker context rm far"):
        builders.remove("far")
    with pytest.raises(UsageError, match='"far" already exists as context builder'):
        builders.create(Wish(name="far"), use=False)


def test_the_context_in_use_is_the_builder_in_use(env: dict[str, str]) -> None:
    make_context(env, "far")
    config = Path(env["DOCKER_CONFIG"]) / "config.json"
    assert Builders.of({**env, "DOCKER_CONTEXT": "far"}).current() == "far"
    config.write_text('{"currentContext": "far"}')
    assert Builders.of(env).current() == "far"
    assert Builders.of({**env, "DOCKER_HOST": "unix:///x"}).current() == "default"
    with pytest.raises(UsageError, match="run `docker context use default`"):
        Builders.of(env).use("default")
    Builders.of(env).use("far")
    config.write_text("{}")
    with pytest.raises(UsageError, match="run `docker context use far` to switch to context far"):
        Builders.of(env).use("far")
