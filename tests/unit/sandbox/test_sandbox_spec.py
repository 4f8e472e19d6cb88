from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from viaduct.base.errors import UsageError
from viaduct.graph.ops import Ulimit
from viaduct.sandbox import seccomp
from viaduct.sandbox.spec import (
    BindMount,
    ContainerSpec,
    Surroundings,
    TmpfsMount,
    document,
)
from viaduct.sandbox.users import User

_HERE = Surroundings("x86_64")
_STEP = ContainerSpec(args=("/bin/true",), rootfs=Path("/r"))

#: From Docker's documentation of `--cap-add`, the ones that are granted by default.
_DOCKERS = frozenset(
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP "
    "SETGID SETPCAP SETUID SYS_CHROOT".split()
)


def _document(step: ContainerSpec = _STEP, around: Surroundings = _HERE) -> Any:
    data = document(step, around, resolv_conf=Path("/b/resolv.conf"), hosts=Path("/b/hosts"))
    return json.loads(data)


def _mount(spec: Any, target: str) -> Any:
    return next((m for m in spec["mounts"] if m["destination"] == target), None)


def test_a_step_has_dockers_capabilities_and_none_to_inherit() -> None:
    given = _document()["process"]["capabilities"]
    assert set(given) == {"bounding", "effective", "permitted"}
    for names in given.values():
        assert {name.removeprefix("CAP_") for name in names} == _DOCKERS


def test_a_capability_that_we_have_not_is_not_asked_for() -> None:
    given = _document(around=replace(_HERE, capabilities=0b1))["process"]["capabilities"]
    assert given["bounding"] == ["CAP_CHOWN"]


def test_setuid_programs_may_work() -> None:
    assert _document()["process"]["noNewPrivileges"] is False


def test_path_and_home_are_given_only_where_the_image_has_none() -> None:
    plain = _document()["process"]["env"]
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert plain == [path, "HOME=/root"]
    unknown = _document(replace(_STEP, user=User(5, 6)))["process"]["env"]
    assert unknown == [path, "HOME=/"]
    env = ("A=1", "PATH=/opt/bin", "HOME=/h")
    assert _document(replace(_STEP, env=env))["process"]["env"] == list(env)


def test_the_users_own_group_is_among_the_groups() -> None:
    user = _document(replace(_STEP, user=User(1000, 1001, (10, 29))))["process"]["user"]
    assert user == {"uid": 1000, "gid": 1001, "additionalGids": [1001, 10, 29]}


def test_where_only_one_id_exists_everybody_is_root_and_chown_pretends() -> None:
    spec = _document(replace(_STEP, user=User(1000, 1000, (5,))), replace(_HERE, squashed=True))
    assert spec["process"]["user"] == {"uid": 0, "gid": 0}
    assert "gid=5" not in _mount(spec, "/dev/pts")["options"]
    rules = spec["linux"]["seccomp"]["syscalls"]
    pretended = [rule for rule in rules if rule.get("errnoRet") == 0]
    assert pretended
    assert {"chown", "fchownat"} <= set(pretended[0]["names"])
    allowed = {
        name for rule in rules if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]
    }
    assert not allowed & set(pretended[0]["names"])


def test_a_step_on_the_hosts_network_sees_a_sys_that_is_read_only_to_its_last_mount() -> None:
    spec = _document()
    assert "network" not in {n["type"] for n in spec["linux"]["namespaces"]}
    sys = _mount(spec, "/sys")
    assert sys["source"] == "/sys"
    assert {"rbind", "rro"} <= set(sys["options"])


def test_a_kernel_that_cannot_do_that_gives_no_sys_rather_than_a_writable_one() -> None:
    spec = _document(around=replace(_HERE, recursive_readonly=False))
    assert _mount(spec, "/sys") is None


def test_a_step_without_network_has_a_namespace_and_a_sys_of_its_own() -> None:
    spec = _document(replace(_STEP, network="none"))
    assert "network" in {n["type"] for n in spec["linux"]["namespaces"]}
    assert _mount(spec, "/sys")["type"] == "sysfs"
    assert "ro" in _mount(spec, "/sys")["options"]


def test_the_usual_paths_are_masked_and_read_only() -> None:
    linux = _document()["linux"]
    assert {"/proc/kcore", "/proc/keys", "/sys/firmware"} <= set(linux["maskedPaths"])
    assert {"/proc/sys", "/proc/sysrq-trigger"} <= set(linux["readonlyPaths"])


def test_an_insecure_step_has_everything() -> None:
    spec = _document(replace(_STEP, security="insecure"))
    assert spec["linux"]["maskedPaths"] == spec["linux"]["readonlyPaths"] == []
    assert "seccomp" not in spec["linux"]
    assert "CAP_SYS_ADMIN" in spec["process"]["capabilities"]["ambient"]
    assert "rro" not in _mount(spec, "/sys")["options"]


def test_mounts_come_last_and_in_order() -> None:
    mounts = (
        BindMount(Path("/src"), "/a", readonly=True),
        TmpfsMount("/a/b", size=4096, mode=0o700),
        BindMount(Path("/cache"), "/c"),
    )
    spec = _document(replace(_STEP, mounts=mounts))
    first, second, third = spec["mounts"][-3:]
    assert (first["source"], "ro" in first["options"]) == ("/src", True)
    assert (second["type"], "size=4096" in second["options"]) == ("tmpfs", True)
    assert "mode=700" in second["options"]
    assert (third["source"], "ro" in third["options"]) == ("/cache", False)


def test_shared_memory_has_64_mib_or_what_was_asked_for() -> None:
    assert "size=67108864" in _mount(_document(), "/dev/shm")["options"]
    asked = _document(replace(_STEP, shm_size=1 << 20))
    assert "size=1048576" in _mount(asked, "/dev/shm")["options"]


def test_limits_are_set_only_when_asked_for() -> None:
    assert "rlimits" not in _document()["process"]
    limits = (Ulimit("nofile", 64, 128), Ulimit("core", 0, -1))
    assert _document(replace(_STEP, ulimits=limits))["process"]["rlimits"] == [
        {"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 18446744073709551615},
    ]


def test_an_unknown_limit_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="invalid ulimit type: files") as caught:
        _document(replace(_STEP, ulimits=(Ulimit("files", 1, 1),)))
    assert "nofile" in caught.value.hint


def test_system_calls_are_either_allowed_or_refused() -> None:
    every = [*seccomp.ALLOWED, *seccomp.REFUSED]
    assert len(every) == len(set(every))
    assert {"execve", "openat2", "fchmodat2", "rseq", "ptrace"} <= set(seccomp.ALLOWED)
    assert {"mount", "keyctl", "io_uring_setup", "kexec_load"} <= set(seccomp.REFUSED)


def test_an_unknown_system_call_is_answered_so_that_libraries_fall_back() -> None:
    profile: Any = seccomp.profile("x86_64")
    assert profile["defaultErrnoRet"] == 38
    clone3 = next(rule for rule in profile["syscalls"] if rule["names"] == ["clone3"])
    assert (clone3["action"], clone3["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)


@pytest.mark.parametrize(
    ("machine", "architectures"),
    [
        ("x86_64", ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]),
        ("aarch64", ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]),
        ("riscv64", ["SCMP_ARCH_RISCV64"]),
        ("vax", []),
    ],
)
def test_the_filter_covers_what_the_processor_runs(machine: str, architectures: list[str]) -> None:
    profile: Any = seccomp.profile(machine)
    assert profile["architectures"] == architectures


def test_new_namespaces_are_found_in_the_right_argument_of_clone() -> None:
    def flags_at(machine: str) -> set[int]:
        profile: Any = seccomp.profile(machine)
        rules = [rule for rule in profile["syscalls"] if rule["names"] == ["clone"]]
        return {argument["index"] for rule in rules for argument in rule["args"]}

    assert flags_at("x86_64") == {0}
    assert flags_at("s390x") == {1}


def test_file_systems_below_the_machines_sys_are_hidden_as_in_a_new_one() -> None:
    """Root may read them: traces, crash dumps, the kernel's own settings."""
    masked = _document()["linux"]["maskedPaths"]
    assert {"/sys/kernel/debug", "/sys/kernel/tracing", "/sys/fs/pstore", "/sys/fs/bpf"} <= {
        *masked
    }
