"""The options of `viaduct run`, from text to what is to be run."""

from __future__ import annotations

from pathlib import Path

import pytest

from viaduct.base.errors import UsageError
from viaduct.cli.run_call import RunFlags, read, volume
from viaduct.engine.container import RunRequest, Volume
from viaduct.oci.platform import Platform

ENV = {"HERE": "value"}


def _read(*args: str, terminal: bool = False, **flags: object) -> RunRequest:
    return read(RunFlags(**flags), args or ("app",), ENV, terminal=terminal)  # type: ignore[arg-type]


def test_what_follows_the_image_is_its_command() -> None:
    assert _read("app", "ls", "-l") == RunRequest("app", ("ls", "-l"))
    assert _read("app").command == ()


def test_the_platform_comes_from_the_option_or_the_environment() -> None:
    assert _read().platform is None
    assert _read(platform="aarch64").platform == Platform("linux", "arm64")
    given = read(RunFlags(), ["app"], {"DOCKER_DEFAULT_PLATFORM": "linux/386"}, terminal=False)
    assert given.platform == Platform("linux", "386")


def test_the_last_entrypoint_counts_and_an_empty_one_is_none_at_all() -> None:
    assert _read().entrypoint is None
    assert _read(entrypoint=("/bin/a", "/bin/b c")).entrypoint == ("/bin/b c",)
    assert _read(entrypoint=("/bin/a", "")).entrypoint == ()


def test_variables_are_given_or_taken_from_here(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("\ufeff# a comment\n\n A=1\nB=two words\nHERE\nUNSET\nC=\n")
    request = _read(env_file=(str(file),), env=("B=3", "HERE", "NOWHERE", "D=a=b"))
    assert request.env == ("A=1", "B=3", "HERE=value", "C=", "D=a=b")
    for wrong in ("=x", "a b=c"):
        with pytest.raises(UsageError, match="invalid environment variable in -e"):
            _read(env=(wrong,))
    file.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="it is not UTF-8"):
        _read(env_file=(str(file),))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a:/b", Volume(Path("/a"), "/b")),
        ("/a:/b:ro", Volume(Path("/a"), "/b", readonly=True)),
        ("/a:/b:rw,z", Volume(Path("/a"), "/b")),
        ("./x:/b", Volume(Path.cwd() / "x", "/b")),
        ("/a/../c:/b", Volume(Path("/c"), "/b")),
    ],
)
def test_volumes_show_paths_of_the_machine(text: str, expected: Volume) -> None:
    assert volume(text) == expected


@pytest.mark.parametrize("text", ["", "/a", ":/b", "/a:", "/a:b", "/a:/b:zz", "/a:/b:ro:x", "n:/b"])
def test_volumes_that_make_no_sense_are_told(text: str) -> None:
    with pytest.raises(UsageError):
        volume(text)


def test_a_terminal_is_given_only_where_there_is_one() -> None:
    assert _read(tty=True, interactive=True, terminal=True).terminal
    assert not _read(tty=True).terminal, "as in a pipe"
    with pytest.raises(UsageError, match="not a TTY"):
        _read(tty=True, interactive=True)


def test_networks_are_the_machines_or_none() -> None:
    assert _read().network == "host"
    assert _read(network="default").network == "host"
    assert _read(network="none").network == "none"
    assert _read(network="none", publish=("80:80",)).network == "none"
    with pytest.raises(UsageError, match="is not supported"):
        _read(network="bridge")
