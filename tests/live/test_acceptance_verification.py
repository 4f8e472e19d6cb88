"""Acceptance: what was pushed is looked at, pulled and run (S-53 to S-59)."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

from tests.parts import machine, readers
from tests.parts.command import VIADUCT, viaduct
from tests.parts.published import MACHINES, Published

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parts.contexts import Context

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"

#: Viaduct on a machine that says of itself what an arm64 one says.
_AS_ARM64 = (
    "import os; there = os.uname(); "
    "os.uname = lambda: os.uname_result((*there[:4], 'aarch64')); "
    "from viaduct.cli.main import main; main()"
)


def inspected(name: str) -> str:
    return viaduct("imagetools", "inspect", name).stdout.decode()


def test_s53_inspect_prints_the_guides_page(published: Published) -> None:
    """Blanks at the ends of lines aside, which the peer's columns leave."""
    name, children = published.name, readers.document(published.reference)["manifests"]
    digest = hashlib.sha256(readers.raw(published.reference)).hexdigest()
    entries = [
        f"  Name:      {name}@{child['digest']}\n"
        f"  MediaType: {MANIFEST}\n"
        f"  Platform:  linux/{child['platform']['architecture']}\n"
        for child in children
    ]
    page = "".join(f"{line.rstrip()}\n" for line in inspected(name).splitlines())
    assert page == (
        f"Name:      {name}\n"
        f"MediaType: {INDEX}\n"
        f"Digest:    sha256:{digest}\n"
        "\n"
        "Manifests:\n" + "\n".join(entries)
    )


def test_s54_index_and_children_have_oci_types(published: Published) -> None:
    index = readers.document(published.reference)
    assert index["mediaType"] == INDEX
    repository = published.reference.rpartition(":")[0]
    for child in index["manifests"]:
        assert child["mediaType"] == MANIFEST
        assert readers.document(f"{repository}@{child['digest']}")["mediaType"] == MANIFEST


def test_s55_two_platforms_have_two_entries_in_the_order_asked(
    published: Published, context: Context, registry: str
) -> None:
    assert readers.platforms(published.reference) == ["linux/amd64", "linux/arm64"]
    context.dockerfile("FROM BASE\n")
    name = f"{registry}/s55:1"
    reversed_order = ("--platform", "linux/arm64,linux/amd64")
    # Nor does provenance, which CI asks for by default, add an `unknown/unknown` one.
    context.build(*reversed_order, "--provenance=true", "-t", name, "--push")
    assert readers.platforms(f"docker://{name}") == ["linux/arm64", "linux/amd64"]


def test_s56_the_digest_shown_is_that_of_the_bytes_and_of_the_registry(
    published: Published,
) -> None:
    shown = re.search(r"^Digest: +(\S+)$", inspected(published.name), re.MULTILINE)
    assert shown is not None
    host, _, rest = published.name.partition("/")
    repository, _, tag = rest.rpartition(":")
    request = urllib.request.Request(
        f"http://{host}/v2/{repository}/manifests/{tag}", headers={"Accept": INDEX}
    )
    with urllib.request.urlopen(request) as answer:
        assert shown[1] == f"sha256:{hashlib.sha256(answer.read()).hexdigest()}"
        assert shown[1] == answer.headers["Docker-Content-Digest"]


def test_s57_an_image_of_one_platform_is_told_with_its_probable_cause(
    context: Context, registry: str
) -> None:
    """And a script that expects another platform fails, knowing which there are."""
    context.dockerfile("FROM BASE\n")
    name = f"{registry}/s57:1"
    context.build("--load", "-t", name)
    viaduct("push", name)
    viaduct("imagetools", "create", "-t", f"{name}-list", name)
    for each in (name, f"{name}-list"):
        told = viaduct("imagetools", "inspect", each).stderr.decode()
        assert "one platform only" in told
        assert "--load" in told
        for command in (["imagetools", "create", "--dry-run"], ["pull"]):
            lacking = viaduct(*command, "--platform", "linux/arm64", each, check=False)
            assert lacking.returncode != 0
            assert "linux/amd64" in lacking.stderr.decode()
        assert "one platform only" in viaduct("verify", each).stdout.decode()
        lacking = viaduct("verify", "--platform", "linux/amd64,linux/arm64", each, check=False)
        assert lacking.returncode != 0
        assert "linux/arm64 is missing; there are: linux/amd64" in lacking.stdout.decode()
        assert "--load" in lacking.stdout.decode()


def test_s58_each_variant_is_pulled_and_runs_as_what_it_is(published: Published) -> None:
    for arch, said in MACHINES.items():
        platform = ("--platform", f"linux/{arch}")
        viaduct("pull", *platform, published.name)
        ran = viaduct("run", "--rm", *platform, "--pull=never", published.name, "uname", "-m")
        assert ran.stdout.decode() == f"{said}\n"
        # What the step of the build saw is what the program now sees.
        ran = viaduct("run", "--rm", *platform, "--pull=never", published.name)
        assert ran.stdout.decode() == f"{said}\n"


def test_s59_a_host_runs_its_own_variant_without_being_told(
    published: Published, tmp_path: Path
) -> None:
    """This host does; and one that is arm64 to whoever asks: its `uname` says so, and its kernel
    runs arm64 programs."""
    here = viaduct("run", "--rm", published.name, "uname", "-m")
    assert here.stdout.decode() == f"{os.uname().machine}\n"
    register = f"{' '.join(VIADUCT)} binfmt --install arm64 2>/dev/null"
    arm64 = (*machine.with_own_table(register), sys.executable, "-c", _AS_ARM64)
    there = subprocess.run(
        [*arm64, "run", "--rm", published.name, "uname", "-m"],
        env={**os.environ, "VIADUCT_HOME": str(tmp_path / "arm64")},
        check=False,
        capture_output=True,
        text=True,
    )
    assert there.stdout == "aarch64\n", there.stderr
