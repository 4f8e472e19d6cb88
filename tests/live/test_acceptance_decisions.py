"""Acceptance: the guide's decisions, and that every statement of it has its test (S-60, S-61)."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from tests.parts import readers
from tests.parts.command import viaduct
from tests.parts.contexts import BOTH, Context


def test_s60_a_docker_container_builder_starts_cold_and_without_a_network() -> None:
    """It is the one for several platforms, and nothing has to be pulled for it."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    alone = ("unshare", *user, "--net")
    driver = ("--driver", "docker-container")
    viaduct("create", "--name", "cold", *driver, "--use", around=alone)
    page = viaduct("inspect", "--bootstrap", around=alone).stdout.decode()
    assert re.search(r"^Status: +running$", page, re.MULTILINE)
    platforms = re.search(r"^Platforms: +(.*)$", page, re.MULTILINE)
    assert platforms is not None
    assert {"linux/amd64", "linux/arm64"} <= set(platforms[1].split(", "))


def test_s61_an_oci_archive_holds_the_digest_that_a_push_leaves(
    context: Context, registry: str, tmp_path: Path
) -> None:
    context.dockerfile("FROM BASE\nRUN uname -m > /machine\n")
    name, archive = f"{registry}/s61:1", tmp_path / "f.tar"
    context.build(*BOTH, "-t", name, "--push")
    context.build(*BOTH, "-o", f"type=oci,dest={archive}")
    pushed = readers.raw(f"docker://{name}")
    assert readers.raw(f"oci-archive:{archive}") == pushed
    context.build(*BOTH, "-o", f"type=oci,tar=false,dest={tmp_path / 'layout'}")
    index = (tmp_path / "layout/index.json").read_text()
    assert hashlib.sha256(pushed).hexdigest() in index


def test_every_statement_has_one_test_named_by_it() -> None:
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    numbers = [int(number) for number in re.findall(r"^def test_s(\d\d)_", text, re.MULTILINE)]
    assert sorted(numbers) == list(range(1, 62))
