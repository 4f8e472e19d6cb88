"""Symptoms of the troubleshooting page, brought about and answered with their cause and remedy."""

from __future__ import annotations

import os
import tarfile
from typing import TYPE_CHECKING

import pytest
from tests.parts import rootfs

from viaduct.sandbox import probe
from viaduct.sandbox.machines import MACHINES

if TYPE_CHECKING:
    from tests.parts.contexts import Built, Context

_PATH = "/usr/local/bin"


def _failed(context: Context, platform: str, run: str) -> Built:
    """A build whose one step is `run`, and which fails in it."""
    context.dockerfile(f"FROM BASE\nCOPY tools/ {_PATH}/\nRUN {run}\n")
    done = context.build("--platform", platform, check=False)
    assert done.status == 1
    assert "Traceback" not in done.stderr
    return done


def _hint(done: Built) -> str:
    """What is said last: what went wrong, as far as it says more than the step, and what to do."""
    return done.stderr[done.stderr.index("ERROR: failed to build") :]


@pytest.fixture
def tools(context: Context) -> Context:
    """A context with programs that do not start, each for its own reason."""
    context.file("tools/orphan", "#!/opt/none\n", mode=0o755)
    context.file("tools/windows", "#!/bin/sh\r\necho hi\r\n", mode=0o755)
    context.file("tools/bare", "echo no first line\n", mode=0o755)
    context.file("tools/closed", "#!/bin/sh\n", mode=0o644)
    context.file("tools/third", probe.program(MACHINES["riscv64"]), mode=0o755)
    # A program for amd64 with a dynamic loader, as a download for the wrong machine is.
    loader = "/lib64/ld-linux-x86-64.so.2"
    with open("/bin/true", "rb") as true:
        data = true.read()
    assert loader.encode() in data[:4096]
    context.file("tools/glibc", data, mode=0o755)
    return context


@pytest.mark.parametrize(("platform", "form"), [("linux/amd64", "exec"), ("linux/arm64", "shell")])
@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("orphan", "its first line asks for the interpreter /opt/none, which the image has not"),
        ("windows", f"save it with Unix line ends (sed -i 's/\\r$//' {_PATH}/windows)"),
        ("third", f"{_PATH}/third is a program for linux/riscv64, and the image is for PLATFORM"),
    ],
)
def test_a_program_that_does_not_start_is_explained(
    tools: Context, platform: str, program: str, told: str, form: str
) -> None:
    run = program if form == "shell" else f'["{_PATH}/{program}"]'
    done = _failed(tools, platform, run)
    assert told.replace("PLATFORM", platform) in _hint(done)
    assert "exec format error" not in _hint(done).lower()


def test_a_script_without_first_line_is_told_to_have_one(tools: Context) -> None:
    hint = _hint(_failed(tools, "linux/arm64", f'["{_PATH}/bare"]'))
    assert "begin the script with a line like #!/bin/sh" in hint


def test_a_program_that_may_not_be_executed_is_told_its_mode(tools: Context) -> None:
    hint = _hint(_failed(tools, "linux/amd64", f'["{_PATH}/closed"]'))
    assert "--chmod=755" in hint


def test_a_missing_loader_is_told_from_a_missing_program(tools: Context) -> None:
    hint = _hint(_failed(tools, "linux/amd64", "glibc"))
    assert f"{_PATH}/glibc: its dynamic loader /lib64/ld-linux-x86-64.so.2 is not in the" in hint
    assert "another C library (glibc, musl)" in hint
    hint = _hint(_failed(tools, "linux/amd64", "gcc"))
    assert "the command was not found in the image" in hint


def test_a_program_for_the_builders_own_machine_in_an_emulated_step_is_found_out(
    tools: Context,
) -> None:
    """The processor would run it, so that there is no exec format error: only `not found`."""
    hint = _hint(_failed(tools, "linux/arm64", "glibc"))
    assert f"{_PATH}/glibc is a program for linux/amd64, and the image is for linux/arm64" in hint
    assert "TARGETARCH" in hint


def test_a_missing_loader_of_an_emulated_program_is_named(tools: Context) -> None:
    with tarfile.open(rootfs.debian("arm64")) as archive:
        file = archive.extractfile("usr/bin/true")
        assert file is not None
        tools.file("tools/linked", file.read(), mode=0o755)
    hint = _hint(_failed(tools, "linux/arm64", "linked"))
    assert "/lib/ld-linux-aarch64.so.1 is not in the image" in hint


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ("kill -SEGV $$", "crashed under emulation"),
        ("sh -c 'kill -SEGV $$' || exit 100", "crashed under emulation"),
        ("kill -ILL $$", "does not know an instruction"),
    ],
)
def test_a_crash_under_emulation_is_not_taken_for_the_programs_own(
    tools: Context, run: str, told: str
) -> None:
    """As the first process of a step too, where an emulator that kills itself does not die."""
    hint = _hint(_failed(tools, "linux/arm64", run))
    assert told in hint
    assert "$BUILDPLATFORM" in hint
    assert "viaduct doctor" in hint


@pytest.mark.parametrize("runtime", ["runc", "crun"])
@pytest.mark.parametrize(
    ("arch", "fault"), [("amd64", b"\x0f\x0b"), ("arm64", bytes(4))], ids=["native", "emulated"]
)
def test_a_program_with_an_illegal_instruction_ends_its_step(
    context: Context, arch: str, fault: bytes, runtime: str
) -> None:
    """The same status, whether the processor or an emulator met it."""
    # The code of our smallest program is behind an ELF header and one program header.
    program = bytearray(probe.program(MACHINES[arch]))
    program[120 : 120 + len(fault)] = fault
    context.file("faulty", bytes(program), mode=0o755)
    context.dockerfile('FROM scratch\nCOPY faulty /\nRUN ["/faulty"]\n')
    env = {**os.environ, "VIADUCT_RUNTIME": runtime}
    done = context.build("--platform", f"linux/{arch}", check=False, env=env)
    assert 'process "/faulty" did not complete successfully: exit code: 132' in done.stderr
    assert ("$BUILDPLATFORM" in _hint(done)) == (arch == "arm64")


def test_a_crash_without_emulation_says_nothing_of_it(tools: Context) -> None:
    hint = _hint(_failed(tools, "linux/amd64", "sh -c 'kill -SEGV $$' || exit 139"))
    assert "segmentation fault" in hint
    assert "emulation" not in hint
