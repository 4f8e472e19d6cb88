"""Acceptance: the life of a builder, typed to Docker's own command line (S-37 to S-45)."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

import pytest
from tests.parts import machine, tools
from tests.parts.command import viaduct
from tests.parts.shells import Shell, docker_shell

import viaduct as package

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parts.contexts import Context

CREATE = "docker buildx create --name multi-builder --driver docker-container --use"
#: The guide's list on a machine for amd64 with emulators.
GUIDE = (
    "linux/amd64, linux/amd64/v2, linux/arm64, linux/riscv64, linux/ppc64le, linux/s390x"
).split(", ")


@pytest.fixture
def shell(tmp_path: Path, context: Context) -> Shell:
    """A shell in the build context in which `docker buildx` is Viaduct."""
    made = docker_shell(tmp_path / "bin", tools.docker(), context.root)
    made("viaduct install")
    return made


def field(page: str, name: str) -> str:
    """The value of a name that stands once in a page of `inspect`."""
    values: list[str] = re.findall(rf"^{name}: +(.*)$", page, re.MULTILINE)
    assert len(values) == 1, page
    return values[0]


def current(shell: Shell) -> str:
    """The name of the builder that commands use."""
    head = shell("docker buildx inspect").partition("\n")[0]
    return head.removeprefix("Name:").strip()


def test_s37_version_is_one_line_of_name_version_and_platform(shell: Shell) -> None:
    line = shell("docker buildx version")
    assert re.fullmatch(rf"viaduct v{re.escape(package.__version__)} linux/\w+\n", line)
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", package.__version__)


def test_s38_create_prints_the_name_and_nothing_else(shell: Shell) -> None:
    command = (
        "docker buildx create \\\n  --name multi-builder \\\n  --driver docker-container \\\n"
        "  --use"
    )
    assert shell(command, check=False) == "multi-builder\n0"


def test_s39_use_makes_it_the_builder_of_what_follows(shell: Shell) -> None:
    shell("docker buildx create --name quiet")
    assert current(shell) == "default"
    shell(CREATE)
    assert current(shell) == "multi-builder"
    shell("docker buildx create --name later")
    assert current(shell) == "multi-builder"
    assert field(shell("docker buildx inspect", BUILDX_BUILDER="quiet"), "Status") == "inactive"


def test_s40_bootstrap_starts_it_and_else_the_first_build_does_and_says_so(
    shell: Shell, context: Context
) -> None:
    shell(CREATE)
    assert field(shell("docker buildx inspect"), "Status") == "inactive"
    assert field(shell("docker buildx inspect --bootstrap"), "Status") == "running"
    shell("docker buildx create --name other --use")
    context.dockerfile("FROM scratch\nCOPY a /a\n")
    context.file("a")
    said = shell("docker buildx build --progress plain .", check=False)
    assert "[internal] booting builder other" in said
    assert "starting other0 done" in said
    assert field(shell("docker buildx inspect"), "Status") == "running"
    assert "booting" not in shell("docker buildx build --progress plain .", check=False)


def test_s41_inspect_shows_the_guides_fields_in_the_guides_order(shell: Shell) -> None:
    shell(CREATE)
    page = shell("docker buildx inspect --bootstrap")
    wanted = ("Name", "Driver", "", "Nodes", "Name", "Status", "Platforms")
    pairs = (line.partition(":") for line in page.splitlines())
    shown = [(name, value.strip()) for name, _, value in pairs if name in wanted]
    assert shown[:6] == [
        ("Name", "multi-builder"),
        ("Driver", "docker-container"),
        ("", ""),
        ("Nodes", ""),
        ("Name", "multi-builder0"),
        ("Status", "running"),
    ]
    assert shown[6][0] == "Platforms"


def test_s42_the_platforms_of_the_guide_are_listed(shell: Shell) -> None:
    shell(CREATE)
    found = field(shell("docker buildx inspect --bootstrap"), "Platforms").split(", ")
    wanted = set(GUIDE) - (set() if os.uname().machine == "x86_64" else {"linux/amd64/v2"})
    assert wanted - set(found) == set()


def test_s43_a_platform_that_does_not_run_is_not_listed() -> None:
    """A table could say that an emulator is registered; only running something tells."""

    def found(*around: str) -> list[str]:
        page = viaduct("inspect", "--bootstrap", around=around).stdout.decode()
        return field(page, "Platforms").split(", ")

    missing = found(*machine.without("qemu-riscv64-static", "qemu-s390x-static"))
    assert {"linux/riscv64", "linux/s390x"} & set(missing) == set()
    assert "linux/ppc64le" in missing
    emulator = shutil.which("qemu-riscv64-static")
    broken = found(*machine.after(f"mount --bind /bin/false {emulator}"))
    assert "linux/riscv64" not in broken
    assert {"linux/riscv64", "linux/s390x"} <= set(found())


def test_s44_ls_has_the_guides_columns_and_marks_the_current_builder(shell: Shell) -> None:
    """`default` is of driver docker, and limited to nothing: it can do what the others can."""
    shell(f"{CREATE} --bootstrap")
    head, *rows = shell("docker buildx ls").splitlines()
    columns = ("NAME/NODE", "DRIVER/ENDPOINT", "STATUS", "PLATFORMS")
    assert head.split() == list(columns)
    at = [head.index(column) for column in columns]
    cells = [[row[a:b].strip() for a, b in zip(at, [*at[1:], None], strict=True)] for row in rows]
    assert cells[0][:3] == ["multi-builder *", "docker-container", ""]
    assert rows[1].startswith("  multi-builder0 ")
    assert cells[1][2] == "running"
    assert "linux/arm64" in cells[1][3]
    assert cells[2][:3] == ["default", "docker", ""]
    assert rows[3].startswith("  default ")
    assert cells[3][2] == "running"
    assert cells[3][3].startswith("linux/")


def test_s45_an_inactive_builder_is_mended_with_the_guides_three_commands(shell: Shell) -> None:
    shell(f"{CREATE} --bootstrap")
    shell("docker buildx stop multi-builder")
    assert re.search(r"^  multi-builder0 .* inactive", shell("docker buildx ls"), re.MULTILINE)
    shell("docker buildx rm multi-builder")
    assert current(shell) == "default"
    assert shell(CREATE) == "multi-builder\n"
    assert field(shell("docker buildx inspect --bootstrap"), "Status") == "running"
    assert current(shell) == "multi-builder"
