"""Which files of other machines are mistakes, and which are meant to be there."""

from __future__ import annotations

import pytest
from tests.parts.elffiles import file, library

from viaduct.engine.audit.facts import ElfFile, Program
from viaduct.engine.audit.foreign import allows, is_loader, sort
from viaduct.oci import elf

OWN = file("/bin/sh", "arm64")


def foreign(*files: ElfFile, arch: str = "arm64", allowed: tuple[str, ...] = ()) -> list[str]:
    return [each.path for each in sort((OWN, *files), arch, allowed).foreign]


@pytest.mark.parametrize(
    "stranger",
    [
        file("/usr/bin/app"),
        library("/usr/lib/libapp.so"),
        # A library that was copied from where another machine has it, and nothing else of that.
        library("/usr/lib/x86_64-linux-gnu/libpq.so.5"),
        # One of a set that has none for the machine itself.
        file("/opt/plugins/linux_amd64/plugin"),
        file("/opt/tools/linux_amd64"),
        # Ruby's libraries and QEMU's tools, as a stage for another machine left them.
        library("/usr/local/bundle/extensions/x86_64-linux/3.2.0/a/a.so"),
        library("/opt/app/x86_64-linux-gnu/a.so"),
        file("/usr/bin/qemu-img"),
        file("/usr/bin/app", "riscv64"),
        file("/usr/bin/app", "386"),
        file("/usr/share/doc/arm64/app-for-x86_64"),
    ],
)
def test_programs_and_libraries_of_another_machine_are_foreign(stranger: ElfFile) -> None:
    beside = library("/usr/lib/aarch64-linux-gnu/libc.so.6", "arm64")
    assert foreign(beside, stranger) == [stranger.path]


@pytest.mark.parametrize(
    "stranger",
    [
        file("/usr/lib/modules/6.1/a.ko", kind=elf.RELOCATABLE),
        file("/usr/lib/debug/core", kind=4),
        file("/usr/lib/firmware/qcom/modem.mdt"),
        file("/usr/local/go/src/debug/elf/testdata/gcc-amd64-linux-exec"),
        file("/usr/bin/qemu-aarch64-static"),
        file("/usr/share/program.bin", executable=False),
        library("/usr/x86_64-linux-gnu/lib/libc.so.6"),
        file("/usr/x86_64-linux-gnu/bin/ldconfig"),
        library("/root/.rustup/toolchains/s/lib/rustlib/x86_64-unknown-linux-musl/lib/libstd.so"),
    ],
)
def test_files_that_nobody_runs_here_and_tool_chains_are_in_their_place(stranger: ElfFile) -> None:
    assert foreign(stranger) == []


def test_files_of_no_machine_that_images_are_for_are_in_their_place() -> None:
    header = elf.Header(64, big=False, kind=elf.EXECUTABLE, code=247)
    found = sort((OWN, ElfFile("/lib/bpf/filter", 0, Program(header))), "arm64")
    assert found.foreign == ()
    assert list(found.excused) == ["for no machine that images are made for"]


def test_a_set_with_a_file_for_each_machine_is_meant_to_be_one() -> None:
    prebuilds = "/app/node_modules/x/prebuilds"
    assert not foreign(
        library(f"{prebuilds}/linux-arm64/node.napi.node", "arm64"),
        library(f"{prebuilds}/linux-x64/node.napi.glibc.node"),
        file("/opt/tool-linux-amd64"),
        file("/opt/tool-linux-aarch64", "arm64"),
        library("/app/runtimes/linux-arm64/native/libx.so", "arm64"),
        library("/app/runtimes/tizen-x86/native/libx.so", "386"),
    )


def test_libraries_for_another_machine_with_its_c_library_are_an_installed_system() -> None:
    cross = "/opt/cross/x86_64-linux-musl/lib"
    assert not foreign(library(f"{cross}/libc.so"), library(f"{cross}/libstdc++.so.6"))
    place = "/usr/lib/x86_64-linux-gnu"
    assert not foreign(library(f"{place}/ld-linux-x86-64.so.2"), library(f"{place}/libc.so.6"))


def test_company_is_no_excuse_where_nothing_is_for_the_machine_itself() -> None:
    """Such is a base image of libraries alone."""
    place = "/usr/lib/x86_64-linux-gnu"
    files = (library(f"{place}/ld-linux-x86-64.so.2"), library(f"{place}/libc.so.6"))
    assert sort(files, "arm64").foreign == files


@pytest.mark.parametrize(
    ("arch", "machine", "runs"),
    [
        ("amd64", "386", True),
        ("arm64", "arm", True),
        ("386", "amd64", False),
        ("arm", "arm64", False),
        ("ppc64le", "ppc64", False),
    ],
)
def test_what_a_processor_runs_as_well_is_no_mistake(arch: str, machine: str, runs: bool) -> None:
    program = file("/bin/app", machine)
    found = sort((file("/bin/sh", arch), program), arch)
    assert found.companions == ((program,) if runs else ())
    assert found.foreign == (() if runs else (program,))


@pytest.mark.parametrize(
    ("pattern", "path", "allowed"),
    [
        ("/opt/agent", "/opt/agent/bin/agent", True),
        ("opt/agent/", "/opt/agent/bin/agent", True),
        ("/opt/*/agent", "/opt/a/b/agent", True),
        ("*.node", "/app/node_modules/x.node", True),
        ("/opt/agent", "/opt/agents", False),
        ("/agent", "/opt/agent", False),
        ("*.so", "/usr/lib/a.so.1", False),
    ],
)
def test_files_are_allowed_by_pattern_or_directory(pattern: str, path: str, allowed: bool) -> None:
    assert allows([pattern], path) == allowed
    assert foreign(file(path), allowed=(pattern,)) == ([] if allowed else [path])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ld-linux-x86-64.so.2", True),
        ("ld-linux-aarch64.so.1", True),
        ("ld-musl-x86_64.so.1", True),
        ("ld-2.31.so", True),
        ("ld64.so.2", True),
        ("ld.so.1", True),
        ("libld.so", False),
        ("ld", False),
    ],
)
def test_loaders_are_known_by_name(name: str, expected: bool) -> None:
    assert is_loader(f"/lib/{name}") == expected
