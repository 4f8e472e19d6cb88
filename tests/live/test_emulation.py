"""Steps of other machines: what runs, how, and that the machine is left as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.parts import images, machine, rootfs
from tests.parts.command import VIADUCT, viaduct
from tests.parts.contexts import BOTH, Context
from tests.parts.site import serving_once_both_came
from tests.parts.users import ordinary_user

from viaduct.sandbox import probe
from viaduct.sandbox.machines import MACHINES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.parts.users import User

_ARM64 = ("--platform", "linux/arm64")


@pytest.fixture(scope="module")
def debian(registry: str) -> str:
    """A base image with glibc, bash, perl and set-uid programs."""
    reference = f"{registry}/debian:emulation"
    images.push(images.debian_layout(), reference)
    return reference


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The state of builds that share what they unpacked of that image."""
    return {"VIADUCT_HOME": str(tmp_path_factory.mktemp("warm"))}


@pytest.fixture(scope="module")
def bob() -> Iterator[User]:
    """A user whom nobody gave subordinate ids."""
    with ordinary_user(subids=False) as user:
        yield user


@pytest.fixture(scope="module", autouse=True)
def _machines_own_table() -> Iterator[None]:
    """Whatever a build registers, it registers where nobody else sees it."""
    before = viaduct("binfmt", "--json").stdout
    yield
    assert viaduct("binfmt", "--json").stdout == before


def test_programs_of_every_kind_run_under_emulation(
    context: Context, debian: str, warm: dict[str, str]
) -> None:
    """S-02: dynamic and static ones, scripts with any interpreter, and the children of all."""
    context.file("hello.pl", "#!/usr/bin/perl\nprint 'perl ', `uname -m`;\n", mode=0o755)
    context.file("nested", "#!/usr/local/bin/hello.pl\n", mode=0o755)
    context.file("sheet", "#!/usr/local/bin/busybox sh\nuname -m\n", mode=0o755)
    context.dockerfile(
        "FROM BASE AS tools\n"
        f"FROM {debian}\n"
        "COPY --from=tools /bin/busybox /usr/local/bin/\n"
        "COPY hello.pl nested sheet /usr/local/bin/\n"
        "RUN echo dynamic; /usr/bin/uname -m\n"
        "RUN echo static; busybox uname -m\n"
        "RUN echo script; hello.pl; sheet; nested\n"
        "RUN echo children; (sh -c 'perl -e \"exec qw(bash -c), q(uname -m; true)\"' | cat)\n"
        "RUN echo environment; env -i A=b /usr/bin/env; xargs -n1 echo < /usr/local/bin/sheet\n"
        'RUN ["/usr/bin/perl", "-e", "print qq(exec form\\\\n)"]\n'
    )
    log = context.build(*_ARM64, env={**os.environ, **warm}).log
    assert log.step("echo dynamic").output == ["dynamic", "aarch64"]
    assert log.step("echo static").output == ["static", "aarch64"]
    assert log.step("echo script").output == [
        "script",
        *("perl aarch64", "aarch64", "perl aarch64"),
    ]
    assert log.step("echo children").output == ["children", "aarch64"]
    assert log.step("echo environment").output[:2] == ["environment", "A=b"]
    assert log.step('"/usr/bin/perl"').output == ["exec form"]


def test_set_uid_programs_gain_their_owners_rights_and_argv0_is_kept(
    context: Context, debian: str, warm: dict[str, str]
) -> None:
    """Flags C and P of the registration; without C, sudo and su do not work."""
    context.dockerfile(
        f"FROM {debian}\n"
        "RUN cp /usr/bin/id /id && chmod 4755 /id\n"
        "RUN echo name; bash -c 'exec -a called cat /proc/self/cmdline' | tr '\\0' ' '; echo\n"
        "USER nobody\n"
        "RUN echo rights; /id -ru; /id -u\n"
    )
    log = context.build(*_ARM64, env={**os.environ, **warm}).log
    assert log.step("echo rights").output == ["rights", "65534", "0"]
    assert log.step("echo name").output == ["name", "called /proc/self/cmdline "]


def test_a_native_helper_runs_inside_of_an_emulated_image(context: Context) -> None:
    """The processor's own programs stay its own, whatever else the image holds."""
    native = rootfs.busybox_tree("amd64") / "bin/busybox"
    context.file("native/busybox", native.read_bytes(), mode=0o755)
    context.dockerfile(
        "FROM BASE\nCOPY native/busybox /native/\n"
        "RUN uname -m; /native/busybox uname -m; /native/busybox sh -c '/bin/busybox uname -m'\n"
    )
    log = context.build(*_ARM64).log
    assert log.step("RUN uname").output == ["aarch64", "x86_64", "aarch64"]


def test_every_machine_that_can_be_emulated_runs_a_step(context: Context) -> None:
    """One build for all of them; each has a program of 150 bytes that has to succeed."""
    arches = [arch for arch in MACHINES if arch != "amd64"]
    for arch in arches:
        context.file(f"bin/{arch}", probe.program(MACHINES[arch]), mode=0o755)
    context.dockerfile(
        'FROM scratch\nARG TARGETARCH\nCOPY bin/$TARGETARCH /probe\nRUN ["/probe"]\n'
    )
    platforms = ",".join(f"linux/{arch}" for arch in arches)
    log = context.build("--platform", platforms).log
    assert len([step for step in log.steps if "RUN" in step.name]) == len(arches)
    assert log.outcomes("RUN") == {"DONE"}


def test_the_native_leg_has_no_emulator_in_its_tree(context: Context) -> None:
    """S-48: seen from outside, while a step of each leg runs."""
    seen: dict[str, set[str]] = {}
    with serving_once_both_came(lambda: seen.update(_programs_by_root())) as address:
        context.dockerfile(
            "FROM BASE\nRUN touch /leg-$(uname -m) && wget -q -O /dev/null "
            f"http://{address}/$(uname -m)\n"
        )
        context.build(*BOTH)
    assert seen["aarch64"] == {"qemu-aarch64-static"}
    assert seen["x86_64"] == {"busybox"}


def _programs_by_root() -> dict[str, set[str]]:
    """What the processes of each leg's step are to the kernel, by the file in their root."""
    found: dict[str, set[str]] = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            legs = [name[4:] for name in os.listdir(process / "root") if name.startswith("leg-")]
            program = os.readlink(process / "exe")
        except OSError:
            continue
        for leg in legs:
            found.setdefault(leg, set()).add(program.rpartition("/")[2])
    return found


def test_emulation_needs_no_rights_and_no_subids(bob: User, busybox: str) -> None:
    """S-30: an ordinary user, one id, no registration; and the build says what one id means."""
    (bob.home / "Dockerfile").write_text(f"FROM {busybox}\nRUN uname -m; id -u; touch /x\n")
    bob.own(bob.home)
    done = bob.viaduct("build", "--progress", "plain", *_ARM64, ".")
    printed = done.stderr.decode()
    assert " aarch64\n" in printed
    assert (
        "WARNING: every file in the image will belong to root; to keep owners: sudo usermod "
        f"--add-subuids 100000-165535 --add-subgids 100000-165535 {bob.name}\n"
    ) in printed


def _with_machines_table(
    context: Context, register: str, *, old_kernel: bool = True
) -> subprocess.CompletedProcess[str]:
    """A build for arm64 where the machine's table is all there is: as before Linux 6.7, or on a
    kernel that refuses another one. `register` fills the table first."""
    ours = " ".join(VIADUCT)
    around = machine.with_own_table(register.replace("viaduct", ours), old_kernel=old_kernel)
    program = VIADUCT if old_kernel else (sys.executable, "-c", _REFUSED)
    context.dockerfile("FROM BASE\nRUN uname -m; uname -r | cut -c1\n")
    return subprocess.run(
        [*around, *program, "build", "--progress=plain", *_ARM64, str(context.root)],
        capture_output=True,
        text=True,
        check=False,
    )


#: Viaduct under a security module that forbids to mount binfmt_misc; no kernel here has one.
_REFUSED = """
from viaduct.sandbox import binfmt
def refuse():
    raise PermissionError(1, "Operation not permitted")
binfmt.open_private = refuse
from viaduct.cli.main import main
main()
"""


def test_before_linux_6_7_the_machines_handlers_run_steps(context: Context) -> None:
    done = _with_machines_table(context, "viaduct binfmt --install arm64")
    assert done.returncode == 0, done.stderr
    assert " aarch64\n" in done.stderr


def test_handlers_of_the_machine_serve_where_no_emulator_is_installed(context: Context) -> None:
    """As with Docker Desktop, which registers an emulator that nobody else sees."""
    context.dockerfile("FROM BASE\nRUN uname -m\n")
    ours = " ".join(VIADUCT)
    hide = "mount --bind /dev/null /usr/bin/qemu-aarch64-static"
    around = machine.with_own_table(f"{ours} binfmt --install arm64 2>/dev/null; {hide}")
    assert context.build(*_ARM64, around=around).log.step("RUN").output == ["aarch64"]


def test_before_linux_6_7_an_empty_table_is_told_before_any_step(context: Context) -> None:
    """S-34, S-35: what a reboot or another tool took away is found out at once."""
    done = _with_machines_table(context, "")
    assert done.returncode == 1
    assert "cannot run arm64 programs: no emulator is registered\n" in done.stderr
    assert "hint: sudo viaduct binfmt --install arm64\n" in done.stderr
    assert "RUN" not in done.stderr
    assert "exec format error" not in done.stderr


def test_before_linux_6_7_a_handler_without_flag_f_is_told_before_any_step(
    context: Context,
) -> None:
    done = _with_machines_table(context, machine.REGISTER_WITHOUT_FLAG_F)
    assert done.returncode == 1
    assert "the handler qemu-aarch64 was registered without flag F" in done.stderr
    assert "sudo viaduct binfmt --uninstall qemu-aarch64 --install arm64" in done.stderr
    assert "RUN" not in done.stderr


def test_where_the_kernel_refuses_another_table_the_machines_counts(context: Context) -> None:
    done = _with_machines_table(context, "viaduct binfmt --install arm64", old_kernel=False)
    assert done.returncode == 0, done.stderr
    assert " aarch64\n" in done.stderr
    done = _with_machines_table(context, "", old_kernel=False)
    assert done.returncode == 1
    assert "hint: sudo viaduct binfmt --install arm64\n" in done.stderr
    assert "RUN" not in done.stderr
