"""What a RUN step finds around it, and how its end is reported."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from typing import TYPE_CHECKING

import pytest
from tests.parts.command import VIADUCT
from tests.parts.site import meeting

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parts.contexts import Context

_RUNTIMES = ("runc", "crun")

#: What Docker leaves to containers, as the bit mask of /proc/self/status.
_CAPABILITIES = "00000000a80425fb"


@pytest.mark.parametrize("runtime", _RUNTIMES)
def test_a_step_finds_the_environment_that_the_peers_give(context: Context, runtime: str) -> None:
    context.dockerfile(
        "FROM BASE\n"
        "RUN cat /etc/resolv.conf\n"
        "RUN cat /etc/hosts\n"
        "RUN hostname; pwd; umask; id\n"
        "RUN env | sort\n"
        "RUN df -P /dev/shm | tail -1 | awk '{print $2}'; touch /dev/shm/x; ls -ld /dev/shm\n"
        "RUN grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr '\\t' ' '\n"
        "RUN ls -1 /dev\n"
    )
    log = context.build(env={**os.environ, "VIADUCT_RUNTIME": runtime}).log
    with open("/etc/resolv.conf", encoding="utf-8") as host:
        assert log.step("resolv.conf").output == host.read().splitlines()
    hosts = log.step("cat /etc/hosts").output
    assert hosts[0].split() == ["127.0.0.1", "localhost", "buildkitsandbox"]
    assert hosts[1].split()[:2] == ["::1", "localhost"]
    assert log.step("hostname").output == [
        "buildkitsandbox",
        "/",
        "0022",
        "uid=0(root) gid=0(root) groups=0(root)",
    ]
    assert log.step("env | sort").output == [
        "HOME=/root",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PWD=/",
        "SHLVL=1",
    ]
    blocks, directory = log.step("/dev/shm").output
    assert blocks == str(64 << 10)
    assert directory.startswith("drwxrwxrwt ")
    assert log.step("NoNewPrivs").output == [
        "CapInh: 0000000000000000",
        f"CapPrm: {_CAPABILITIES}",
        f"CapEff: {_CAPABILITIES}",
        f"CapBnd: {_CAPABILITIES}",
        "CapAmb: 0000000000000000",
        "NoNewPrivs: 0",
        "Seccomp: 2",
    ]
    # Making it is left to the runtime, and crun leaves it out.
    assert [name for name in log.step("ls -1 /dev").output if name != "core"] == (
        "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero".split()
    )


@pytest.mark.parametrize("runtime", _RUNTIMES)
def test_a_step_cannot_reach_the_machine(context: Context, runtime: str) -> None:
    """Mounting, the kernel's settings, and what tells about the hardware are out of reach."""
    attempts = (
        "mount -t tmpfs none /mnt",
        "unshare -m true",
        "unshare -U true",
        "echo 1 > /proc/sys/kernel/printk",
        "echo h > /proc/sysrq-trigger",
        "mkdir /sys/fs/cgroup/mine",
        "mknod /disk b 8 0",
        "cat /proc/kcore | grep -q .",
        "grep -q . /proc/keys",
        "grep -q . /proc/timer_list",
        "ls /sys/firmware | grep -q .",
        "ls /proc/acpi | grep -q .",
        "chmod 600 /dev/null",
        "hostname other",
        "dmesg | grep -q .",
    )
    lines = [f"RUN if ( {attempt} ); then echo got through; fi" for attempt in attempts]
    context.dockerfile("FROM BASE\n" + "\n".join(lines) + "\n")
    log = context.build(env={**os.environ, "VIADUCT_RUNTIME": runtime}).log
    assert [step.name for step in log.steps if "got through" in step.output] == []
    assert len([step for step in log.steps if "got through" in step.name]) == len(attempts)


def test_mount_points_of_a_step_leave_nothing_in_the_image(context: Context) -> None:
    context.dockerfile(
        "FROM BASE AS base\nRUN rm -rf /etc/hosts /etc/resolv.conf; find / -xdev > /dev/shm/x\n"
        "FROM scratch\nCOPY --from=base / /\nCOPY --from=base /bin/busybox /bin/ls\n"
        'RUN ["/bin/ls", "-lA", "/etc/", "/dev/"]\n'
        "FROM base\n"
        "COPY --from=base /etc/ /copied/\n"
        "RUN ls -A /copied | grep -E '^(hosts|resolv.conf)$' || echo none\n"
    )
    assert context.build().log.step("ls -A /copied").output == ["none"]


def test_without_network_there_is_only_a_loopback(context: Context) -> None:
    context.dockerfile(
        "FROM BASE\nRUN --network=none ls /sys/class/net\nRUN ls -1 /sys/class/net | wc -l\n"
    )
    log = context.build().log
    assert log.step("RUN --network=none").output == ["lo"]
    everywhere = context.build("--network", "none", "--no-cache").log
    assert everywhere.step("wc -l").output == ["1"]
    refused = context.build("--network", "bridge", check=False)
    assert refused.status == 1
    assert 'network mode "bridge" not supported' in refused.stderr


def test_network_host_of_an_instruction_needs_to_be_allowed(context: Context) -> None:
    context.dockerfile("FROM BASE\nRUN --network=host true\n")
    refused = context.build(check=False)
    assert refused.status == 1
    assert "network.host" in refused.stderr
    assert "--allow" in refused.stderr
    context.build("--allow", "network.host")


@pytest.mark.parametrize(
    ("command", "status", "hint"),
    [
        ("exit 3", 3, "marked line"),
        ("sh -c 'kill -9 $$'; exit $?", 137, "memory"),
        ("sh -c 'kill -TERM $$'; exit $?", 143, "marked line"),
        ("nonexistent-program", 127, "not found"),
        ("/etc/passwd", 126, "cannot be executed"),
    ],
)
def test_exit_codes_and_signals_are_reported(
    context: Context, command: str, status: int, hint: str
) -> None:
    context.dockerfile(f"FROM BASE\nRUN {command}\n")
    failed = context.build(check=False)
    assert failed.status == 1
    said = f'process "/bin/sh -c {command}" did not complete successfully: exit code: {status}'
    assert f"ERROR: failed to build: failed to solve: {said}" in failed.stderr
    (line,) = [line for line in failed.stderr.splitlines() if line.startswith("hint: ")]
    assert hint in line


@pytest.mark.parametrize("runtime", _RUNTIMES)
def test_the_state_may_be_in_a_directory_of_any_name(
    context: Context, runtime: str, tmp_path: Path
) -> None:
    context.dockerfile(
        "FROM BASE\nRUN echo one\nRUN --mount=type=cache,target=/c echo two > /c/x\n"
    )
    for name in ("a:b", "ü ö", "c,d", "e\\f", "g\nh", '"%s$i'):
        state = str(tmp_path / name)
        log = context.build(
            env={**os.environ, "VIADUCT_RUNTIME": runtime, "VIADUCT_HOME": state}
        ).log
        assert log.outcomes("RUN") == {"DONE"}, name


@pytest.mark.parametrize("runtime", _RUNTIMES)
def test_a_program_that_does_not_exist_is_named(context: Context, runtime: str) -> None:
    context.dockerfile('FROM BASE\nRUN ["/no/such/program", "x"]\n')
    failed = context.build(env={**os.environ, "VIADUCT_RUNTIME": runtime}, check=False)
    assert failed.status == 1
    assert "stat /no/such/program: no such file or directory" in failed.stderr
    assert 'process "/no/such/program x" did not complete successfully: exit code: 127' in (
        failed.stderr
    )


def test_output_arrives_while_the_step_is_running(context: Context) -> None:
    """The step waits for us, and we wait for its line: it must come before the step ends."""
    with meeting(2) as url:
        context.dockerfile(
            f"FROM BASE\nRUN echo first line; wget -q -O /dev/null {url}; echo end\n"
        )
        command = [*VIADUCT, "build", "--progress", "plain", str(context.root)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as build:
            assert build.stderr is not None
            for line in build.stderr:
                if line.rstrip().endswith(" first line"):
                    break
            urllib.request.urlopen(url).close()
            rest = build.stderr.read()
    assert build.returncode == 0
    assert rest.rstrip().splitlines()[0].endswith(" end")


def test_lines_of_output_stay_whole_and_in_order(context: Context) -> None:
    context.dockerfile(
        "FROM BASE\n"
        'RUN for i in $(seq 300); do echo "out $i"; echo "err $i" >&2; done; printf unfinished\n'
    )
    output = context.build().log.step("RUN").output
    assert [line for line in output if line.startswith("out")] == [
        f"out {i + 1}" for i in range(300)
    ]
    assert [line for line in output if line.startswith("err")] == [
        f"err {i + 1}" for i in range(300)
    ]
    assert output[-1] == "unfinished"


@pytest.mark.parametrize("runtime", _RUNTIMES)
def test_steps_run_as_the_user_and_in_the_directory_that_were_set(
    context: Context, runtime: str
) -> None:
    context.dockerfile(
        "FROM BASE\n"
        "RUN echo worker:x:1234:1234::/home/worker:/bin/sh >> /etc/passwd && "
        "echo worker:x:1234: >> /etc/group && echo tools:x:77:worker >> /etc/group\n"
        "USER worker\nWORKDIR /home/worker/deep\n"
        "RUN id; pwd; touch mine; stat -c '%u:%g' mine; echo $HOME\n"
        "USER 5:6\nRUN id && echo $HOME\n"
        "USER root\nRUN id -u; stat -c '%u:%g' /home/worker/deep\n"
    )
    log = context.build(env={**os.environ, "VIADUCT_RUNTIME": runtime}).log
    assert log.step("touch mine").output == [
        "uid=1234(worker) gid=1234(worker) groups=77(tools),1234(worker)",
        "/home/worker/deep",
        "1234:1234",
        "/home/worker",
    ]
    assert log.step("id && echo").output == ["uid=5 gid=6 groups=6", "/"]
    assert log.step("stat -c '%u:%g' /home").output == ["0", "1234:1234"]


def test_proxies_reach_steps_and_leave_the_cache_alone(context: Context) -> None:
    context.dockerfile("FROM BASE\nRUN echo proxy=$http_proxy\n")
    first = context.build("--build-arg", "http_proxy=http://proxy.example:1").log
    assert first.step("RUN").output == ["proxy=http://proxy.example:1"]
    second = context.build("--build-arg", "http_proxy=http://proxy.example:2").log
    assert second.step("RUN").outcome == "CACHED"


def test_hosts_shm_and_ulimits_of_the_command_line_reach_steps(context: Context) -> None:
    context.dockerfile(
        "FROM BASE\n"
        "RUN tail -n 1 /etc/hosts; df -P /dev/shm | tail -1 | awk '{print $2}'; ulimit -n\n"
    )
    options = ["--add-host", "db:10.0.0.2", "--shm-size", "1m", "--ulimit", "nofile=333:444"]
    output = context.build(*options).log.step("RUN").output
    assert [output[0].split(), *output[1:]] == [["10.0.0.2", "db"], "1024", "333"]
