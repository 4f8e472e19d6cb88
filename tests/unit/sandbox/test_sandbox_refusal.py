"""Every way in which a kernel refuses namespaces names the knob that changes it."""

from __future__ import annotations

import errno
import os

import pytest

from viaduct.sandbox.refusal import HostFacts, Stage, explain, gather

_USER = HostFacts(user="ann", uid=1000)


@pytest.mark.parametrize(
    ("stage", "code", "facts", "remedy"),
    [
        (
            "unshare",
            errno.EPERM,
            HostFacts(uid=1000, unprivileged_clone=0),
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (
            "unshare",
            errno.ENOSPC,
            HostFacts(uid=1000, max_namespaces=0),
            "sudo sysctl -w user.max_user_namespaces=15000",
        ),
        (
            "map",
            errno.EPERM,
            HostFacts(uid=1000, apparmor_restricts=1),
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (
            "mount",
            errno.EACCES,
            HostFacts(uid=1000, apparmor_restricts=1),
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("map", errno.EPERM, _USER, "sudo usermod --add-subuids 100000-165535"),
        ("map", errno.EPERM, HostFacts(uid=1000, no_new_privileges=True), "NoNewPrivileges=no"),
        ("unshare", errno.EPERM, HostFacts(container=True), "seccomp=unconfined"),
        ("unshare", errno.EPERM, HostFacts(filtered=True), "seccomp=unconfined"),
        ("proc", errno.EPERM, HostFacts(), "systempaths=unconfined"),
        ("unshare", errno.EPERM, HostFacts(uid=1000, chrooted=True), "outside of it"),
        ("unshare", errno.EINVAL, HostFacts(), "before the process starts its first thread"),
        ("unshare", errno.EINVAL, HostFacts(userns=False), "CONFIG_USER_NS"),
        ("unshare", errno.EUSERS, HostFacts(), "nested too deeply"),
    ],
)
def test_a_refusal_names_its_remedy(stage: Stage, code: int, facts: HostFacts, remedy: str) -> None:
    error = explain(stage, code, facts)
    assert remedy in error.hint
    assert os.strerror(code) in error.what


def test_what_a_tool_said_is_quoted() -> None:
    error = explain("map", errno.EPERM, _USER, "newuidmap: uid range [1-65537) -> [1-65537) bad")
    assert "newuidmap: uid range" in error.what


def test_this_machine_has_user_namespaces() -> None:
    facts = gather("ann", 1000)
    assert facts.userns
    assert (facts.user, facts.uid) == ("ann", 1000)
