"""What outputs are refused for before any step runs."""

from __future__ import annotations

import pytest

from viaduct.base.errors import UsageError
from viaduct.engine import exports
from viaduct.engine.request import BuildRequest, Output
from viaduct.export.docker_context import Endpoint
from viaduct.export.docker_engine import DockerEngine

CLASSIC = DockerEngine(Endpoint("unix:///nowhere"), holds_indexes=False)
CONTAINERD = DockerEngine(Endpoint("unix:///nowhere"), holds_indexes=True)
LOAD = Output("image", load=True, names=("docker.io/library/a:1",))
DOCKER = Output("docker", load=True, names=("docker.io/library/a:1",))


def check(*outputs: Output, platforms: int = 2, engine: DockerEngine | None = None) -> None:
    exports.check(BuildRequest(".", outputs=outputs), platforms, engine)


@pytest.mark.parametrize(("output", "engine"), [(LOAD, CLASSIC), (DOCKER, CLASSIC), (DOCKER, None)])
def test_several_platforms_are_not_loaded_where_they_do_not_fit(
    output: Output, engine: DockerEngine | None
) -> None:
    """S-25."""
    with pytest.raises(UsageError) as error:
        check(output, engine=engine)
    words = "docker exporter does not currently support exporting manifest lists"
    assert error.value.what == words
    assert "--push" in error.value.hint
    check(output, platforms=1, engine=engine)


@pytest.mark.parametrize(
    ("output", "engine"), [(LOAD, None), (LOAD, CONTAINERD), (DOCKER, CONTAINERD)]
)
def test_several_platforms_are_loaded_where_they_fit(
    output: Output, engine: DockerEngine | None
) -> None:
    """D7."""
    check(output, engine=engine)


def test_the_load_error_wins_over_the_push() -> None:
    """S-27."""
    pushed = Output("image", push=True, names=("localhost/a:1",))
    with pytest.raises(UsageError, match="exporting manifest lists"):
        check(pushed, LOAD, engine=CLASSIC)
    check(pushed, LOAD, platforms=1, engine=CLASSIC)


def test_an_archive_for_docker_load_holds_one_platform() -> None:
    with pytest.raises(UsageError, match="use the oci exporter instead") as error:
        check(Output("docker", dest="a.tar"))
    assert error.value.hint == "-o type=oci,dest=a.tar"


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ((Output("tar", dest="-"), Output("oci", dest="-")), "multiple outputs configured"),
        ((Output("image", push=True),), "tag is needed when pushing to registry"),
        (
            (Output("image", push=True, push_by_digest=True, names=("a.b/c:1",)),),
            "can't push tagged ref a.b/c:1 by digest",
        ),
        ((Output("image", compression="zstd", oci_mediatypes=False),), "needs OCI media types"),
    ],
)
def test_outputs_that_cannot_work_are_refused(outputs: tuple[Output, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check(*outputs, platforms=1)
