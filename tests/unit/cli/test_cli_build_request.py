from __future__ import annotations

from typing import Any

import pytest

from viaduct.base.errors import PlatformError, UsageError
from viaduct.cli.build_request import (
    NO_OUTPUT,
    NO_PROVENANCE,
    NO_REMOTE_CACHE,
    NO_TAG,
    BuildCall,
    BuildFlags,
    read,
)
from viaduct.engine.request import BuildRequest, Output
from viaduct.oci.platform import Platform

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
BOTH = ("linux/amd64,linux/arm64",)


def call(context: str = ".", *, env: dict[str, str] | None = None, **flags: Any) -> BuildCall:
    return read(BuildFlags(**flags), context, env or {})


def refused(**flags: Any) -> UsageError:
    with pytest.raises(UsageError) as caught:
        call(**flags)
    return caught.value


def test_the_command_of_the_migration_guide() -> None:
    made = call(platform=BOTH, tag=("localhost:5000/app:1",), push=True)
    assert made.request == BuildRequest(
        context=".",
        platforms=(AMD64, ARM64),
        tags=("localhost:5000/app:1",),
        outputs=(Output("image", push=True, names=("localhost:5000/app:1",)),),
    )
    assert made.notices == ()


def test_platforms_as_a_list_or_repeated_are_the_same_and_normal() -> None:
    repeated = call(platform=("linux/x86_64", "linux/aarch64", "linux/arm64/v8"))
    assert repeated.request.platforms == call(platform=BOTH).request.platforms


def test_the_default_platform_comes_from_the_environment() -> None:
    env = {"DOCKER_DEFAULT_PLATFORM": "linux/arm64"}
    assert call(env=env).request.platforms == (ARM64,)
    assert call(env=env, platform=("linux/amd64",)).request.platforms == (AMD64,)
    assert call().request.platforms == ()


def test_a_platform_that_is_none_is_refused() -> None:
    with pytest.raises(PlatformError):
        call(platform=("foo/bar/baz/qux",))


def test_without_an_output_a_notice_says_where_the_result_stays() -> None:
    made = call(tag=("app",))
    assert made.request.outputs == ()
    assert made.request.tags == ("docker.io/library/app:latest",)
    assert made.notices == (NO_OUTPUT,)
    assert NO_OUTPUT.startswith("No output specified")


def test_a_builder_may_load_what_has_no_output() -> None:
    def loaded(**flags: Any) -> BuildCall:
        return read(BuildFlags(**flags), ".", {}, default_load=True)

    names = ("docker.io/library/app:latest",)
    one = loaded(tag=("app",))
    assert one.request.outputs == (Output("image", load=True, names=names),)
    assert one.notices == ()
    # A Docker engine may not hold several platforms under one name; our own store does.
    assert loaded(tag=("app",), platform=BOTH).request.outputs == (Output("image", names=names),)
    assert loaded().notices == (NO_TAG,)
    assert loaded(quiet=True).notices == ()
    assert loaded(output=("type=cacheonly",)).request.outputs == (Output("cacheonly"),)
    assert loaded(check=True).request.outputs == ()


@pytest.mark.parametrize("flags", [{"cache_from": ("type=gha",)}, {"cache_to": ("a/b",)}])
def test_a_script_that_shares_its_cache_builds_and_is_told(flags: dict[str, Any]) -> None:
    assert call(push=True, tag=("app",), **flags).notices == (NO_REMOTE_CACHE,)


@pytest.mark.parametrize("flags", [{"output": ("type=cacheonly",)}, {"check": True}])
def test_who_asks_for_no_image_gets_no_notice(flags: dict[str, Any]) -> None:
    assert call(**flags).notices == ()


@pytest.mark.parametrize("flags", [{"quiet": True}, {"iidfile": "id"}])
def test_an_id_needs_an_image(flags: dict[str, Any]) -> None:
    assert call(**flags).request.outputs == (Output("image"),)


def test_load_fills_our_own_store_with_any_number_of_platforms() -> None:
    made = call(platform=BOTH, load=True, tag=("app",))
    names = ("docker.io/library/app:latest",)
    assert made.request.outputs == (Output("image", load=True, names=names),)


def test_push_and_load_together() -> None:
    made = call(push=True, load=True, tag=("a/b",))
    pushed, loaded = made.request.outputs
    assert (pushed.push, loaded.load) == (True, True)


def test_the_docker_exporter_takes_one_platform() -> None:
    error = refused(platform=BOTH, output=("type=docker,dest=f.tar",))
    assert error.what == (
        "docker exporter does not support exporting manifest lists, use the oci exporter instead"
    )
    assert call(platform=("linux/arm64",), output=("type=docker",)).request.outputs[0].load


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"push": True}, "tag is needed when pushing to registry"),
        ({"tag": ("A B",)}, 'invalid tag "A B": invalid reference format'),
        ({"context": "-", "file": "-"},
         "invalid argument: can't use stdin for both build context and dockerfile"),
        ({"no_cache": True, "no_cache_filter": ("a",)},
         "--no-cache and --no-cache-filter cannot currently be used together"),
        ({"iidfile": "x", "output": ("out",)},
         "local and tar exporters are incompatible with image ID file"),
        ({"progress": "foo"}, "invalid progress mode foo"),
        ({"progress": "plain", "quiet": True}, "progress=plain and quiet cannot be used together"),
        ({"network": "foo"}, 'network mode "foo" not supported'),
        ({"shm_size": "foo"}, "invalid size: 'foo'"),
        ({"sbom": "1"}, "--sbom=1 is not available yet"),
        ({"attest": ("type=sbom",)}, "--attest type=sbom is not available yet"),
        ({"provenance": "true", "sbom": "generator=x"}, "--sbom=generator=x is not available yet"),
        ({"attest": ("mode=max",)}, "attestation type not specified"),
        ({"provenance": "max"}, "invalid value max"),
        ({"sbom": "disabled=perhaps"}, "invalid value disabled=perhaps"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(flags: dict[str, Any], message: str) -> None:
    assert refused(**flags).what == message


def test_scripts_may_turn_off_what_is_not_there() -> None:
    off = call(provenance="false", sbom="0", attest=("type=provenance,disabled=true",))
    assert off.notices == (NO_OUTPUT,)
    assert call(attest=("type=sbom,disabled=0", "type=sbom,disabled=1")).notices == (NO_OUTPUT,)


@pytest.mark.parametrize(
    "flags",
    [
        {"provenance": "true"},
        {"provenance": "mode=max,builder-id=https://ci.example.com/1"},
        {"attest": ("type=provenance,mode=min,inline-only=true",)},
        {"attest": ("type=provenance,disabled=true",), "provenance": "1"},
    ],
)
def test_provenance_that_ci_asks_for_is_left_out_with_a_notice(flags: dict[str, Any]) -> None:
    assert call(**flags).notices == (NO_PROVENANCE, NO_OUTPUT)


@pytest.mark.parametrize(
    ("flags", "env", "mode", "print_id"),
    [
        ({}, {}, "auto", False),
        ({}, {"BUILDKIT_PROGRESS": "plain"}, "plain", False),
        ({"progress": "tty"}, {"BUILDKIT_PROGRESS": "plain"}, "tty", False),
        ({"quiet": True}, {}, "quiet", True),
        ({"quiet": True}, {"BUILDKIT_PROGRESS": "plain"}, "quiet", True),
        ({"progress": "quiet"}, {}, "quiet", True),
        ({"progress": "none"}, {}, "none", False),
        ({"progress": "rawjson"}, {}, "rawjson", False),
    ],
)
def test_progress_modes(
    flags: dict[str, Any], env: dict[str, str], mode: str, *, print_id: bool
) -> None:
    made = call(env=env, **flags)
    assert (made.mode, made.print_id) == (mode, print_id)


def test_everything_else_reaches_the_request() -> None:
    request = call(
        "https://github.com/a/b.git#main",
        env={"SOURCE_DATE_EPOCH": "9"},
        file="docker/Dockerfile",
        target="final",
        build_arg=("A=1",),
        label=("l=v",),
        annotation=("index:a=b",),
        no_cache_filter=("one,two", "three"),
        pull=True,
        network="host",
        add_host=("h:1.2.3.4",),
        shm_size="64m",
        ulimit=("nofile=5",),
        build_context=("src=./x",),
        registry_insecure=("r:5000",),
        output=("type=oci,dest=x.tar",),
    ).request
    assert request.dockerfile == "docker/Dockerfile"
    assert request.target == "final"
    assert request.build_args == {"A": "1", "SOURCE_DATE_EPOCH": "9"}
    assert request.labels == {"l": "v"}
    assert request.annotations[0].level == "index"
    assert request.no_cache_filter == ("one", "two", "three")
    assert not request.no_cache
    assert request.pull
    assert request.network == "host"
    assert request.allow == ("network.host",)
    assert request.add_hosts == ("h=1.2.3.4",)
    assert request.shm_size == 64 << 20
    assert request.ulimits[0].hard == 5
    assert request.named_contexts == {"src": "./x"}
    assert request.registries.insecure == ("r:5000",)
    assert request.outputs == (Output("oci", dest="x.tar"),)


def test_check_is_a_call() -> None:
    made = call(check=True, quiet=True)
    assert (made.request.call, made.print_id) == ("check", False)
    assert call(call="outline,format=json").call.json


def test_a_cache_filter_that_names_no_stage_is_for_all() -> None:
    request = call(no_cache_filter=("",)).request
    assert request.no_cache
    assert request.no_cache_filter == ()
