"""The user namespace that this process lives in, when it is one of ours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

from viaduct.base.values import Value
from viaduct.sandbox.idmap import IdRange, Mode, parse_map

if TYPE_CHECKING:
    from viaduct.sandbox.idmap import IdMaps

# Says in the environment which user namespace the process entered and how. It is believed only
# while we are in that very namespace, so that a copy that leaks elsewhere says nothing.
_MARK = "VIADUCT_NAMESPACE"


class Namespace(Value):
    """The user namespace we live in.

    `outer_uid` and `outer_gid` are who the user is outside. `mode` is explained in
    `viaduct.sandbox.idmap`.
    """

    mode: Mode
    uids: tuple[IdRange, ...]
    gids: tuple[IdRange, ...]
    outer_uid: int
    outer_gid: int

    @property
    def squashed(self) -> bool:
        """Only one id exists inside: every file belongs to 0:0 and chown does nothing."""
        return self.mode == "single"

    @property
    def advice(self) -> str:
        """What gives a squashed user real ids, or empty."""
        if not self.squashed:
            return ""
        from viaduct.sandbox import mapper

        user = mapper.user_name(self.outer_uid)
        grant = f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
        if mapper.missing_tool():
            grant = f"sudo apt-get install uidmap && {grant}"
        elif mapper.without_privileges() and any(mapper.subordinate(self.outer_uid)):
            grant = (
                "start Viaduct without no-new-privileges (systemd: NoNewPrivileges=no, Kubernetes: "
                "allowPrivilegeEscalation: true)"
            )
        elif self.outer_uid == 0:
            grant = "run Viaduct where root has more than one id, CAP_SETUID and CAP_SETGID"
        return f"every file in the image will belong to root; to keep owners: {grant}"


def entered() -> bool:
    """Whether this process already lives in namespaces made by `viaduct.sandbox.enter`."""
    return current() is not None


def current() -> Namespace | None:
    """The namespace made by `viaduct.sandbox.enter` that this process lives in, or None."""
    mark, _, rest = os.environ.get(_MARK, "").partition("/")
    if not mark or mark != _namespace_id():
        return None
    mode, uid, gid = rest.split("/")
    return Namespace(
        cast("Mode", mode),
        parse_map(Path("/proc/self/uid_map").read_text()),
        parse_map(Path("/proc/self/gid_map").read_text()),
        int(uid),
        int(gid),
    )


def settle(maps: IdMaps, uid: int, gid: int) -> Namespace:
    """Note that this process, whose user is `uid` and `gid` outside, now lives in a namespace with
    `maps`."""
    os.environ[_MARK] = f"{_namespace_id()}/{maps.mode}/{uid}/{gid}"
    return Namespace(maps.mode, maps.uids, maps.gids, uid, gid)


def _namespace_id() -> str:
    try:
        return os.readlink("/proc/self/ns/user")
    except OSError:
        return "unknown"
