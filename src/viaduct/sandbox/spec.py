"""A step as an OCI runtime specification. Pure: values in, one JSON document out.

What a step sees is what it sees under BuildKit: the same capabilities, system calls, masked paths,
devices and mounts. The differences come from living in a user namespace: /sys is the host's, bound
and read-only to its last mount, when the step shares the host's network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from viaduct.base.errors import UsageError
from viaduct.base.values import Value
from viaduct.sandbox import capabilities, seccomp
from viaduct.sandbox.etc import DEFAULT_HOSTNAME
from viaduct.sandbox.users import ROOT, User

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from viaduct.graph.ops import Ulimit
    from viaduct.sandbox.seccomp import Json

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHM_SIZE = 64 << 20

#: Paths that tell about, or reach, the machine rather than the step.
MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    # File systems of their own, which come along where /sys is the machine's; a new sysfs has
    # nothing there. What they show (crash dumps, traces, programs of the kernel) root may read.
    "/sys/fs/bpf",
    "/sys/fs/fuse/connections",
    "/sys/fs/pstore",
    "/sys/fs/resctrl",
    "/sys/fs/selinux",
    "/sys/kernel/config",
    "/sys/kernel/debug",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_RLIMITS = frozenset(
    "as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending "
    "stack".split()
)

Network: TypeAlias = Literal["host", "none"]
Security: TypeAlias = Literal["sandbox", "insecure"]


class BindMount(Value):
    """A file or directory outside of the root file system, shown at `target` inside."""

    source: Path
    target: str
    readonly: bool = False


class TmpfsMount(Value):
    """An empty directory in memory at `target`; `size` in bytes, 0 for the kernel's default."""

    target: str
    size: int = 0
    mode: int = 0o1777
    readonly: bool = False


class ContainerSpec(Value):
    """One program in one root file system.

    `args` is what is executed, without a shell unless it names one; `env` are `K=V`; PATH and HOME
    are added when absent. `cwd` is made, owned by `user`, when it is missing. `rootfs` is a mounted
    tree. `mounts` come on top of the usual ones, in order. `extra_hosts` are (name, address).
    `shm_size` is in bytes, 0 for 64 MiB.
    """

    args: tuple[str, ...]
    rootfs: Path
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: User = ROOT
    mounts: tuple[BindMount | TmpfsMount, ...] = ()
    network: Network = "host"
    security: Security = "sandbox"
    hostname: str = DEFAULT_HOSTNAME
    extra_hosts: tuple[tuple[str, str], ...] = ()
    readonly_rootfs: bool = False
    terminal: bool = False
    ulimits: tuple[Ulimit, ...] = ()
    shm_size: int = 0


class Surroundings(Value):
    """What the document needs to know of the machine and of the namespace we are in.

    `machine` is `uname -m`; `squashed` says that only id 0 exists; `capabilities` is the bit mask
    of those we hold; `recursive_readonly` that a mount can be made read-only with all below it.
    `columns` and `rows` are the size of our terminal, 0 where there is none.
    """

    machine: str
    squashed: bool = False
    capabilities: int = msgspec.field(default=(1 << len(capabilities.NAMES)) - 1)
    recursive_readonly: bool = True
    columns: int = 0
    rows: int = 0


def document(
    container: ContainerSpec, around: Surroundings, *, resolv_conf: Path, hosts: Path
) -> bytes:
    """`config.json` for `container`; `resolv_conf` and `hosts` are the files of its /etc.

    Raises `UsageError` for an unknown ulimit.
    """
    sandboxed = container.security == "sandbox"
    linux: dict[str, Json] = {
        "namespaces": [{"type": kind} for kind in _namespaces(container.network)],
        "maskedPaths": list(MASKED_PATHS if sandboxed else ()),
        "readonlyPaths": list(READONLY_PATHS if sandboxed else ()),
    }
    if sandboxed:
        linux["seccomp"] = seccomp.profile(around.machine, squashed=around.squashed)
    spec: dict[str, Json] = {
        "ociVersion": "1.0.2",
        "process": _process(container, around),
        "root": {"path": str(container.rootfs), "readonly": container.readonly_rootfs},
        "hostname": container.hostname or DEFAULT_HOSTNAME,
        "mounts": [
            *_usual_mounts(container, around),
            _bind(BindMount(resolv_conf, "/etc/resolv.conf", readonly=True)),
            _bind(BindMount(hosts, "/etc/hosts", readonly=True)),
            *(
                _bind(mount) if isinstance(mount, BindMount) else _tmpfs(mount)
                for mount in container.mounts
            ),
        ],
        "linux": linux,
    }
    return msgspec.json.encode(spec)


def _namespaces(network: Network) -> list[str]:
    return ["pid", "ipc", "uts", "mount", *(["network"] if network == "none" else [])]


def _process(container: ContainerSpec, around: Surroundings) -> Json:
    env = list(container.env)
    if not any(entry.startswith("PATH=") for entry in env):
        env.append(f"PATH={DEFAULT_PATH}")
    if not any(entry.startswith("HOME=") for entry in env):
        # Runtimes agree on the home of a user that the image knows, and on no other.
        env.append(f"HOME={container.user.home or '/'}")
    if container.terminal and not any(entry.startswith("TERM=") for entry in env):
        env.append("TERM=xterm")
    process: dict[str, Json] = {
        "terminal": container.terminal,
        "user": _user(container.user, squashed=around.squashed),
        "args": list(container.args),
        "env": list(env),
        "cwd": container.cwd,
        "capabilities": _capabilities(container.security, around.capabilities),
        # Set-uid programs (sudo, su, ping) must work in a step as they do for the peers.
        "noNewPrivileges": False,
    }
    if container.terminal and around.columns and around.rows:
        # runc would find it out by itself.
        process["consoleSize"] = {"width": around.columns, "height": around.rows}
    if container.ulimits:
        process["rlimits"] = [_rlimit(limit) for limit in container.ulimits]
    return process


def _user(user: User, *, squashed: bool) -> Json:
    if squashed:
        # No other id exists, and setgroups(2) is denied.
        return {"uid": 0, "gid": 0}
    groups = user.groups if user.gid in user.groups else (user.gid, *user.groups)
    return {"uid": user.uid, "gid": user.gid, "additionalGids": list(groups)}


def _capabilities(security: Security, held: int) -> Json:
    names = capabilities.named(held)
    if security == "insecure":
        kinds = "bounding effective inheritable permitted ambient"
    else:
        names = tuple(name for name in capabilities.DEFAULT if name in names)
        kinds = "bounding effective permitted"
    return {kind: list(names) for kind in kinds.split()}


def _rlimit(limit: Ulimit) -> Json:
    if limit.name not in _RLIMITS:
        raise UsageError(
            f"invalid ulimit type: {limit.name}", hint=f"one of {', '.join(sorted(_RLIMITS))}"
        )

    def value(number: int) -> int:
        # -1 is "unlimited" on the command line, and the largest number in the specification.
        return number if number >= 0 else (1 << 64) - 1

    return {
        "type": f"RLIMIT_{limit.name.upper()}",
        "soft": value(limit.soft),
        "hard": value(limit.hard),
    }


def _usual_mounts(container: ContainerSpec, around: Surroundings) -> list[Json]:
    quiet = ["nosuid", "noexec", "nodev"]
    # Group 5 (tty) is where Debian and its kin expect terminals; it has to exist in the namespace.
    tty = [] if around.squashed else ["gid=5"]
    shm = container.shm_size or DEFAULT_SHM_SIZE
    mounts = [
        _mount("/proc", "proc", "proc", quiet),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount(
            "/dev/pts",
            "devpts",
            "devpts",
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *tty],
        ),
        _mount("/dev/shm", "tmpfs", "shm", [*quiet, "mode=1777", f"size={shm}"]),
        _mount("/dev/mqueue", "mqueue", "mqueue", quiet),
    ]
    writable = container.security == "insecure"
    if container.network == "none":
        # A network namespace of our own entitles us to a sysfs of our own.
        mounts.append(_mount("/sys", "sysfs", "sysfs", [*quiet, "rw" if writable else "ro"]))
    elif writable:
        mounts.append(_mount("/sys", "none", "/sys", ["rbind", "rslave", *quiet]))
    elif around.recursive_readonly:
        # A plain `ro` would leave the mounts below (cgroup, debugfs) writable for real root.
        mounts.append(_mount("/sys", "none", "/sys", ["rbind", "rslave", *quiet, "rro"]))
    return mounts


def _mount(target: str, kind: str, source: str, options: Sequence[str]) -> Json:
    return {"destination": target, "type": kind, "source": source, "options": list(options)}


def _bind(mount: BindMount) -> Json:
    options = ["rbind", "rprivate", "ro" if mount.readonly else "rw"]
    return _mount(mount.target, "none", str(mount.source), options)


def _tmpfs(mount: TmpfsMount) -> Json:
    options = ["nosuid", "nodev", f"mode={mount.mode:o}"]
    options += [f"size={mount.size}"] if mount.size else []
    options += ["ro"] if mount.readonly else []
    return _mount(mount.target, "tmpfs", "tmpfs", options)
