"""Builder instances as a person meets them: made, chosen, started, listed, removed."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from tests.parts import machine
from tests.parts.command import VIADUCT, viaduct
from tests.parts.users import ordinary_user

from viaduct.oci.platform import native

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.parts.contexts import Context

#: What the guide shows for a machine with emulators, and what Debian's emulators run besides.
GUIDE = {f"linux/{arch}" for arch in ("amd64", "arm64", "riscv64", "ppc64le", "s390x")}


def out(*arguments: str, around: Sequence[str] = (), stdin: bytes = b"") -> str:
    """What a command that succeeds prints to standard output."""
    return viaduct(*arguments, around=around, stdin=stdin).stdout.decode()


def failure(*arguments: str) -> str:
    """What a command that fails prints to standard error; it prints nothing else."""
    done = viaduct(*arguments, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    return done.stderr.decode()


def fields(page: str) -> list[tuple[str, str]]:
    """The lines of `inspect` as names and values; lines without a value have an empty one."""
    pairs = (line.partition(":") for line in page.splitlines())
    return [(name, value.strip()) for name, _, value in pairs]


def platforms(page: str) -> list[str]:
    """The platforms of the one node that a page of `inspect` shows."""
    (value,) = [value for name, value in fields(page) if name == "Platforms"]
    return value.split(", ")


def listed(*arguments: str) -> dict[str, dict[str, Any]]:
    """`ls --format json`, by builder."""
    lines = out("ls", "--format", "json", *arguments).splitlines()
    return {document["Name"]: document for document in map(json.loads, lines)}


def test_a_builder_without_a_name_gets_one() -> None:
    name = out("create").strip()
    assert re.fullmatch(r"[a-z]+_[a-z]+", name)
    assert set(listed()) == {name, "default"}


def test_inspect_says_who_serves_a_driver_and_whether_it_started() -> None:
    out("create", "--name", "b", "--driver", "docker-container", "--use")
    done = viaduct("inspect", "--bootstrap")
    assert b"b0 started" in done.stderr
    (engine,) = [value for name, value in fields(done.stdout.decode()) if name == "Engine"]
    assert "serves driver docker-container with no daemon and no container" in engine
    assert viaduct("inspect", "--bootstrap").stderr == b""


def test_where_namespaces_are_forbidden_the_machine_s_own_platform_is_left() -> None:
    found = platforms(out("inspect", around=machine.without_namespaces()))
    assert found[0] == str(native())


def test_ls_shortens_what_it_shows_and_can_be_told_not_to() -> None:
    out("create", "--name", "multi-builder", "--bootstrap")
    rows = [row for row in out("ls").splitlines() if "running" in row]
    assert len(rows) == 2
    for row in rows:
        assert re.search(r", linux/arm64, linux/arm \(\+2\), .*\(\d+ more\)$", row)
    assert "linux/mips64" in out("ls", "--no-trunc")
    lines = out("ls", "--format", "{{.Name}} {{.Status}}").splitlines()
    assert lines == ["multi-builder ", "multi-builder0 running", "default ", "default running"]


def test_the_first_build_starts_its_builder_and_says_so(context: Context) -> None:
    context.dockerfile("FROM scratch\nCOPY a /a\n")
    context.file("a")
    out("create", "--name", "b", "--use")
    first = context.build()
    assert first.log.names[0] == "[internal] booting builder b"
    assert first.log.steps[0].lines[0] == "starting b0 done"
    assert first.stderr.startswith("WARNING: No output specified")
    assert '#0 building with "b" instance using embedded driver\n' in first.stderr
    second = context.build()
    assert not any("booting" in name for name in second.log.names)
    told = listed()["b"]
    assert told["Nodes"] == [{**told["Nodes"][0], "Name": "b0", "Status": "running"}]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]+Z", str(told["LastActivity"]))
    assert re.search(r"^Last Activity: +\d{4}-\d\d-\d\d [\d:]+ \+0000 UTC$", out("inspect"), re.M)


@pytest.mark.parametrize("how", ["option", "before", "variable"])
def test_an_unknown_builder_ends_a_build_before_anything_runs(how: str, context: Context) -> None:
    context.dockerfile("FROM scratch\nCOPY missing /\n")
    out("create", "--name", "multi-builder")
    arguments = ["build", str(context.root)]
    env = dict(os.environ)
    match how:
        case "option":
            arguments.insert(1, "--builder=multi-bilder")
        case "before":
            arguments = ["--builder", "multi-bilder", *arguments]
        case _:
            env["BUILDX_BUILDER"] = "multi-bilder"
    done = viaduct(*arguments, env=env, check=False)
    assert done.returncode == 1
    assert done.stderr.decode() == (
        'ERROR: no builder "multi-bilder" found\nhint: did you mean multi-builder?\n'
    )


def test_who_loads_without_being_asked(context: Context) -> None:
    """On `default` a plain build is a docker build; other builders want `default-load`."""
    context.dockerfile("FROM scratch\nCOPY a /a\n")
    context.file("a")
    out("create", "--name", "plain", "--driver", "docker-container")
    out("create", "--name", "loads", "--driver", "docker-container",
        "--driver-opt", "default-load=true")  # fmt: skip

    def names() -> set[str]:
        return set(out("images", "--format", "{{.Repository}}").split())

    silent = {**os.environ, "BUILDX_NO_DEFAULT_LOAD": "1"}
    assert "No output specified" in context.build("-t", "a", "--builder=plain").stderr
    assert "No output specified" in context.build("-t", "b", env=silent).stderr
    assert names() == set()
    assert "WARNING" not in context.build("-t", "c").stderr
    assert "WARNING" not in context.build("-t", "d", "--builder=loads", env=silent).stderr
    assert names() == {"c", "d"}


def test_removing_tells_of_each_and_fails_for_any() -> None:
    for name in ("a", "b"):
        out("create", "--name", name)
    text = failure("rm", "a", "nope", "b", "default")
    assert text.splitlines()[:5] == [
        "a removed",
        'failed to remove nope: no builder "nope" found',
        "b removed",
        "failed to remove default: context builder cannot be removed, "
        "run `docker context rm default` to remove this context",
        "ERROR: failed to remove one or more builders",
    ]


def test_removing_all_inactive_ones_asks_first() -> None:
    out("create", "--name", "idle")
    out("create", "--name", "busy", "--bootstrap")
    question = out("rm", "--all-inactive", stdin=b"n\n")
    assert question == (
        "WARNING! This will remove all builders that are not in running state. "
        "Are you sure you want to continue? [y/N] "
    )
    out("rm", "--all-inactive")
    assert set(listed()) == {"busy", "default", "idle"}
    assert viaduct("rm", "--all-inactive", stdin=b"y\n").stderr == b"idle removed\n"
    out("stop", "busy")
    assert viaduct("rm", "--all-inactive", "--force").stderr == b"busy removed\n"
    assert "cannot specify builder name" in failure("rm", "--all-inactive", "busy")


def test_nodes_come_change_and_leave() -> None:
    out("create", "--name", "b", "--platform", "linux/amd64")
    done = viaduct(
        "create", "--name", "b", "--append", "--node", "far",
        "--platform", "linux/arm64", "ssh://me@far",
    )  # fmt: skip
    assert b"ssh://me@far is not asked: node far builds on this machine" in done.stderr
    page = out("inspect", "b")
    assert page.index("b0") < page.index("far")
    assert ("Platforms", "linux/arm64*") in fields(page)
    assert [node["Platforms"] for node in listed()["b"]["Nodes"]] == [
        ["linux/amd64"],
        ["linux/arm64"],
    ]
    out("create", "--name", "b", "--leave", "--node", "b0")
    assert "b0" not in out("inspect", "b")
    out("create", "--name", "b", "--leave", "--node", "far")
    assert 'builder "b" has no nodes' in failure("build", "--builder", "b", ".")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("create", "--name", "1x"), "invalid name 1x, name needs to start with a letter"),
        (("create", "--name", "default"), "default is a reserved name"),
        (("create", "--driver", "docker"), 'additional instances of driver "docker" cannot be'),
        (("create", "--driver", "dockr"), 'failed to find driver "dockr"'),
        (("create", "--append"), "append requires a builder name"),
        (("create", "--leave"), "leave requires instance name"),
        (("create", "--leave", "--name", "x"), "leave requires node name"),
        (("create", "--leave", "--name", "x", "--node", "y"), 'failed to find instance "x" for'),
        (("create", "--platform", "a/b/c/d"), '"a/b/c/d": cannot parse platform specifier'),
        (("create", "--buildkitd-config", "/nowhere"), "cannot read --buildkitd-config /nowhere"),
        (("create", "a", "b"), "'viaduct create' requires at most 1 argument"),
        (("inspect", "nope"), 'no builder "nope" found'),
        (("use", "nope"), 'failed to find instance "nope"'),
        (("stop", "nope"), 'no builder "nope" found'),
        (("prune", "--force", "--builder", "nope"), 'no builder "nope" found'),
        (("du", "--builder", "nope"), 'no builder "nope" found'),
        (("ls", "x"), "'viaduct ls' accepts no arguments"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], what: str) -> None:
    assert failure(*arguments).startswith(f"ERROR: {what}")


def test_options_for_a_daemon_are_taken_and_told_to_do_nothing(tmp_path: Path) -> None:
    config = tmp_path / "buildkitd.toml"
    config.write_text("debug = true\n")
    done = viaduct(
        "create", "--name", "b", "--buildkitd-flags", "--debug", "--config", str(config),
        "--timeout", "5s",
    )  # fmt: skip
    told = re.findall(r"^WARNING: --([a-z-]+) has no effect", done.stderr.decode(), re.MULTILINE)
    assert told == ["buildkitd-config", "buildkitd-flags"]
    page = out("inspect", "b")
    assert ("BuildKit daemon flags", "--debug") in fields(page)
    assert "File#buildkitd.toml:\n > debug = true\n" in page


def test_a_builder_that_cannot_be_read_does_not_hide_the_others(clean_env: Path) -> None:
    out("create", "--name", "broken")
    out("create", "--name", "fine")
    (clean_env / "builders/instances/broken").write_text("{")
    done = viaduct("ls")
    assert b"fine" in done.stdout
    assert done.stdout.splitlines()[-1].split() == [b"broken", b"error"]
    assert b"Cannot load builder broken: cannot read" in done.stderr
    out("rm", "broken")


def test_of_many_changes_at_once_none_is_lost() -> None:
    out("create", "--name", "b")
    change = [*VIADUCT, "create", "--name", "b", "--append"]
    running = [subprocess.Popen(change, stdout=subprocess.DEVNULL) for _ in range(8)]
    assert [process.wait() for process in running] == [0] * 8
    assert {node["Name"] for node in listed()["b"]["Nodes"]} == {f"b{at}" for at in range(9)}


def test_an_ordinary_user_has_the_same_platforms() -> None:
    with ordinary_user() as user:
        user.viaduct("create", "--name", "mine", "--use", "--bootstrap")
        page = user.viaduct("inspect").stdout.decode()
    assert set(platforms(page)) >= GUIDE
