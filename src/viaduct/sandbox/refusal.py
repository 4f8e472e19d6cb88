"""Why the kernel refused a namespace, and the one command that changes its mind.

`HostFacts` is what a machine says about itself; `explain` turns a refused call plus those facts
into a `SandboxError`. Gathering is the only effect here; explaining is pure.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Literal, TypeAlias

from viaduct.base.errors import SandboxError
from viaduct.base.values import Value

#: What was being done: the namespaces made, their ids mapped, /proc or something else mounted.
Stage: TypeAlias = Literal["unshare", "map", "proc", "mount"]

_CONTAINER_HINT = (
    "inside of a container, start it with `--security-opt seccomp=unconfined --security-opt "
    "apparmor=unconfined --security-opt systempaths=unconfined` (Docker, Podman: also "
    "`--security-opt unmask=ALL`); in Kubernetes set `seccompProfile: {type: Unconfined}` and "
    "`procMount: Unmasked` with `hostUsers: false`"
)


class HostFacts(Value):
    """What decides whether namespaces can be made; a knob of None does not exist here.

    `userns` says that the kernel has user namespaces at all, `filtered` that a seccomp filter is
    on this process, `container` that we seem to run inside of one, `chrooted` that our root is
    not the root of the mount namespace.
    """

    user: str = "root"
    uid: int = 0
    userns: bool = True
    filtered: bool = False
    no_new_privileges: bool = False
    container: bool = False
    chrooted: bool = False
    max_namespaces: int | None = None
    unprivileged_clone: int | None = None
    apparmor_restricts: int | None = None


def gather(user: str, uid: int) -> HostFacts:
    """Read the facts of this machine and process; what cannot be read counts as absent."""
    status = dict(
        line.split(":", 1) for line in _text("/proc/self/status").splitlines() if ":" in line
    )
    return HostFacts(
        user=user,
        uid=uid,
        userns=os.path.exists("/proc/self/ns/user"),
        filtered=status.get("Seccomp", "0").strip() == "2",
        no_new_privileges=status.get("NoNewPrivs", "0").strip() == "1",
        container=os.path.exists("/.dockerenv")
        or os.path.exists("/run/.containerenv")
        or "KUBERNETES_SERVICE_HOST" in os.environ,
        chrooted=not any(
            len(fields := line.split()) > 4 and fields[4] == "/"
            for line in _text("/proc/self/mountinfo").splitlines()
        ),
        max_namespaces=_number("/proc/sys/user/max_user_namespaces"),
        unprivileged_clone=_number("/proc/sys/kernel/unprivileged_userns_clone"),
        apparmor_restricts=_number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
    )


def explain(stage: Stage, code: int, facts: HostFacts, detail: str = "") -> SandboxError:
    """The error for errno `code` at `stage`; `detail` is what a tool said about it."""
    reason = detail or os.strerror(code)
    what = {
        "unshare": f"cannot make a user namespace: {reason}",
        "map": f"cannot map user ids into a new namespace: {reason}",
        "proc": f"cannot mount a fresh /proc in a new namespace: {reason}",
        "mount": f"cannot mount inside of a user namespace: {reason}",
    }[stage]
    return SandboxError(what, hint=_remedy(stage, code, facts))


def _remedy(stage: Stage, code: int, facts: HostFacts) -> str:
    refused = code in (errno.EPERM, errno.EACCES)
    if not facts.userns:
        return "this kernel was built without user namespaces (CONFIG_USER_NS); boot one with them"
    if stage == "unshare" and (code == errno.ENOSPC or facts.max_namespaces == 0):
        return "sudo sysctl -w user.max_user_namespaces=15000"
    if refused and facts.uid != 0 and facts.unprivileged_clone == 0:
        return "sudo sysctl -w kernel.unprivileged_userns_clone=1"
    if refused and facts.uid != 0 and facts.apparmor_restricts == 1:
        return "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    if stage == "unshare" and code == errno.EUSERS:
        return "namespaces are nested too deeply here; run Viaduct further out"
    if stage == "unshare" and code == errno.EINVAL:
        return "call enter() before the process starts its first thread"
    if stage == "unshare" and refused and facts.chrooted:
        return "the kernel makes no user namespace inside of a chroot; run Viaduct outside of it"
    if stage == "map" and facts.no_new_privileges and facts.uid != 0:
        return (
            "newuidmap cannot gain privileges in this process: start Viaduct without "
            "no-new-privileges (systemd: NoNewPrivileges=no)"
        )
    if stage == "map" and facts.uid != 0:
        return f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {facts.user}"
    if refused and (facts.container or facts.filtered or stage == "proc"):
        return _CONTAINER_HINT
    return "`viaduct doctor` looks at each part of the machine that namespaces need"


def _text(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text(errors="replace")
    return ""


def _number(path: str) -> int | None:
    text = _text(path).strip()
    return int(text) if text.lstrip("-").isdigit() else None
