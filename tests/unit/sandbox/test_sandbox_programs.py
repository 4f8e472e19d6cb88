"""Programs that do not start are explained in one way, whichever runtime reported it."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import pytest

from viaduct.base.errors import PlatformError
from viaduct.sandbox import probe
from viaduct.sandbox.failure import Verdict, advice, judge
from viaduct.sandbox.machines import MACHINES, of_uname
from viaduct.sandbox.programs import Program, inspect, lookup
from viaduct.sandbox.runlog import last_error
from viaduct.sandbox.spec import ContainerSpec

if TYPE_CHECKING:
    from pathlib import Path

_MACHINE = os.uname().machine
_OWN = of_uname(_MACHINE)
_FOREIGN = "s390x" if _OWN != "s390x" else "amd64"


def _linked(arch: str, loader: str) -> bytes:
    """A program that asks for a dynamic loader: our smallest one, its segment renamed."""
    machine = MACHINES[arch]
    data = bytearray(probe.program(machine))
    order = ">" if machine.big else "<"
    name = loader.encode() + b"\0"
    struct.pack_into(f"{order}IIQQQQQQ", data, 64, 3, 4, len(data), 0, 0, len(name), len(name), 1)
    return bytes(data) + name


def _write(path: Path, data: bytes, mode: int = 0o755) -> None:
    path.write_bytes(data)
    path.chmod(mode)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "opt").mkdir()
    _write(tmp_path / "bin/own", probe.program(MACHINES[_OWN]))
    _write(tmp_path / "bin/foreign", probe.program(MACHINES[_FOREIGN]))
    _write(tmp_path / "bin/script", b"#! /bin/own -x\necho\n")
    _write(tmp_path / "bin/orphan", b"#!/nowhere/sh\n")
    _write(tmp_path / "bin/bare", b"echo hello\n")
    _write(tmp_path / "bin/data", b"data", 0o644)
    _write(tmp_path / "bin/windows", b"#!/bin/own\r\necho\r\n")
    _write(tmp_path / "bin/tabbed", b"#!\t /bin/own\t-x\n")
    _write(tmp_path / "bin/linked", _linked(_OWN, "/lib/ld-nowhere.so.1"))
    _write(tmp_path / "bin/alien", _linked(_FOREIGN, "/lib/ld-alien.so.1"))
    (tmp_path / "bin/dir").mkdir()
    _write(tmp_path / "opt/wrapped", b"#!/bin/foreign\n")
    return tmp_path


def _step(root: Path, *args: str) -> ContainerSpec:
    return ContainerSpec(args=args, rootfs=root, env=("PATH=/opt:/bin",))


@pytest.mark.parametrize(
    ("path", "program"),
    [
        ("/bin/own", Program("/bin/own", "elf", _OWN)),
        ("/bin/foreign", Program("/bin/foreign", "elf", _FOREIGN)),
        ("/bin/script", Program("/bin/own", "elf", _OWN)),
        ("/opt/wrapped", Program("/bin/foreign", "elf", _FOREIGN)),
        ("/bin/orphan", Program("/nowhere/sh", "missing")),
        ("/bin/bare", Program("/bin/bare", "text")),
        ("/bin/windows", Program("/bin/own\r", "missing")),
        ("/bin/tabbed", Program("/bin/own", "elf", _OWN)),
        ("/bin/linked", Program("/bin/linked", "elf", _OWN, "/lib/ld-nowhere.so.1")),
        ("/bin/none", Program("/bin/none", "missing")),
        ("/bin/dir", Program("/bin/dir", "missing")),
    ],
)
def test_a_file_is_followed_to_the_program_that_runs_it(
    root: Path, path: str, program: Program
) -> None:
    assert inspect(root, path) == program


def test_scripts_that_interpret_each_other_come_to_an_end(root: Path) -> None:
    _write(root / "bin/a", b"#!/bin/b\n")
    _write(root / "bin/b", b"#!/bin/a\n")
    assert inspect(root, "/bin/a").kind == "text"


def test_programs_are_looked_up_as_the_step_would(root: Path) -> None:
    def found(name: str, cwd: str = "/") -> str:
        return lookup(root, name, env=("PATH=/opt:/bin",), cwd=cwd, default_path="")

    assert found("own") == "/bin/own"
    assert found("wrapped") == "/opt/wrapped"
    assert found("./own", "/bin") == "/bin/./own"
    assert found("data") == ""
    assert found("dir") == ""
    assert found("none") == ""


@pytest.mark.parametrize(
    ("name", "said", "verdict"),
    [
        (
            "none",
            'exec: "none": executable file not found in $PATH',
            Verdict(127, 'exec: "none": executable file not found in $PATH'),
        ),
        (
            "none",
            "executable file `none` not found in $PATH: No such file or directory",
            Verdict(127, 'exec: "none": executable file not found in $PATH'),
        ),
        (
            "/bin/none",
            'exec: "/bin/none": stat /bin/none: no such file or directory',
            Verdict(127, 'exec: "/bin/none": stat /bin/none: no such file or directory'),
        ),
        (
            "data",
            "open executable: Permission denied",
            Verdict(127, 'exec: "data": executable file not found in $PATH'),
        ),
        (
            "/bin/data",
            'unable to start container process: exec: "/bin/data": permission denied',
            Verdict(
                126,
                'exec: "/bin/data": permission denied',
                "chmod +x /bin/data, or COPY --chmod=755",
            ),
        ),
        (
            "/bin/dir",
            "open executable: Operation not permitted",
            Verdict(
                126, 'exec: "/bin/dir": permission denied', "chmod +x /bin/dir, or COPY --chmod=755"
            ),
        ),
        (
            "bare",
            "exec /bin/bare: exec format error\n",
            Verdict(
                126,
                "exec /bin/bare: exec format error",
                "begin the script with a line like #!/bin/sh, or run it through its interpreter",
            ),
        ),
        (
            "orphan",
            '{"msg":"exec container process (missing dynamic library?) `/bin/orphan`: '
            'No such file or directory","level":"error"}',
            Verdict(
                127,
                "exec /bin/orphan: no such file or directory",
                "its first line asks for the interpreter /nowhere/sh, which the image has not",
            ),
        ),
        (
            "own",
            "exec /bin/own: no such file or directory\n",
            Verdict(
                127,
                "exec /bin/own: no such file or directory",
                "its dynamic loader is not in the image: it was linked for another C library "
                "(glibc, musl)",
            ),
        ),
    ],
)
def test_a_program_that_does_not_start_has_one_message(
    root: Path, name: str, said: str, verdict: Verdict
) -> None:
    assert judge(_step(root, name), said, machine=_MACHINE) == verdict


def test_a_runtime_that_fails_for_other_reasons_does_not_blame_the_program(root: Path) -> None:
    said = "unable to apply caps: operation not permitted"
    assert judge(_step(root, "own"), said, machine=_MACHINE) is None


@pytest.mark.parametrize("name", ["/bin/foreign", "wrapped"])
def test_a_program_for_another_machine_is_named_with_the_remedy(root: Path, name: str) -> None:
    with pytest.raises(PlatformError) as caught:
        judge(_step(root, name), f"exec {name}: exec format error\n", machine=_MACHINE)
    assert _FOREIGN in caught.value.what
    assert caught.value.hint


@pytest.mark.parametrize(
    "output",
    [
        b"sh: 1: /bin/foreign: Exec format error\n",
        b"bash: line 1: /bin/foreign: cannot execute binary file: Exec format error\n",
        b"fork/exec ./foreign: exec format error\n",
        b"OSError: [Errno 8] Exec format error: './foreign'\nmake: *** [all] Error 1\n",
        b"/bin/foreign: line 1: \x7fELF\x02\x01: not found\n",
    ],
)
def test_a_shell_that_meets_a_foreign_program_is_explained(root: Path, output: bytes) -> None:
    step = ContainerSpec(args=("/bin/sh",), rootfs=root, cwd="/bin")
    assert f"foreign is a program for linux/{_FOREIGN}" in advice(
        step, output, machine=_MACHINE
    ) or f"cannot run {_FOREIGN} programs" in advice(step, output, machine=_MACHINE)


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (
            "/bin/sh: 1: orphan: not found\n",
            "/bin/orphan: its first line asks for the interpreter /nowhere/sh, which the image "
            "has not",
        ),
        (
            "bash: line 1: /bin/orphan: /nowhere/sh: bad interpreter: No such file or directory\n",
            "/bin/orphan: its first line asks for the interpreter /nowhere/sh",
        ),
        (
            "sh: windows: not found\n",
            "save it with Unix line ends (sed -i 's/\\r$//' /bin/windows)",
        ),
        (
            "/bin/sh: 1: linked: not found\nmake: *** [all] Error 127\n",
            "/bin/linked: its dynamic loader /lib/ld-nowhere.so.1 is not in the image",
        ),
        (
            "qemu-aarch64-static: Could not open '/lib/ld-linux-aarch64.so.1': No such file or "
            "directory\n",
            "/lib/ld-linux-aarch64.so.1 is not in the image: it was linked for another C library",
        ),
        ("/bin/foreign: 1: Syntax error: word unexpected\n", f"a program for linux/{_FOREIGN}"),
    ],
)
def test_what_a_program_lacks_is_named(root: Path, output: str, told: str) -> None:
    assert told in advice(_step(root, "/bin/sh"), output.encode(), machine=_MACHINE)


def test_a_program_is_compared_with_the_images_shell(root: Path) -> None:
    """On a machine that runs both, a stray program is not found for want of its loader."""
    (root / "bin/sh").symlink_to("own")
    step = _step(root, "/bin/sh")
    told = advice(step, b"/bin/sh: 1: alien: not found\n", machine=_MACHINE)
    assert told == (
        f"/bin/alien is a program for linux/{_FOREIGN}, and the image is for linux/{_OWN}; "
        "choose what to download, copy or compile by TARGETARCH"
    )


def test_other_failures_have_no_such_advice(root: Path) -> None:
    step = _step(root, "own")
    assert advice(step, b"make: /bin/foreign: Permission denied\n", machine=_MACHINE) == ""
    assert advice(step, b"/bin/own: Exec format error\n", machine=_MACHINE) == ""
    assert advice(step, b"/bin/none: not found\n", machine=_MACHINE) == ""
    assert advice(step, b"/bin/own: data: No such file or directory\n", machine=_MACHINE) == ""
    assert advice(step, b"\0/bin/\0own: not found\n", machine=_MACHINE) == ""


def test_the_last_error_of_a_runtimes_log_counts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_error(log) == ""
    log.write_text(
        '{"level":"warning","msg":"careful"}\n'
        '{"level":"error","msg":"first"}\n'
        "not json\n"
        '{"msg":"second","level":"error","time":"2026"}\n'
        '{"level":"debug","msg":"bye"}\n'
    )
    assert last_error(log) == "second"
