"""What a machine says about itself when it is asked whether it can build. Data only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from viaduct.base.values import Value
from viaduct.registry.access import Access, Trouble
from viaduct.sandbox.binfmt import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viaduct.sandbox.idmap import Mode
    from viaduct.sandbox.qemu import Emulator

__all__ = ["Access", "Cgroups", "Disk", "Facts", "Ids", "Inside", "Trouble"]

#: Which versions are mounted: both of them (hybrid), one, or none at all.
Cgroups: TypeAlias = Literal["v2", "hybrid", "v1", "none"]


class Ids(Value):
    """The ids that a user may map. `uids` and `gids` count the subordinate ones; `missing_tool` is
    the program that is needed to use them and not installed, `powerless_tool` one that is, and
    cannot gain the right to; `bounded` says that no program can (no-new-privileges)."""

    user: str = "root"
    privileged: bool = True
    uids: int = 0
    gids: int = 0
    missing_tool: str = ""
    powerless_tool: str = ""
    bounded: bool = False


class Disk(Value):
    """The file system that the state is on. `free` is in bytes, None where that is not told;
    `files` is how many more files it takes, None where there is no such limit; `closed` is the
    directory that we would have to write to and may not, or empty."""

    path: str
    kind: str = ""
    free: int | None = None
    files: int | None = None
    closed: str = ""


class Inside(Value):
    """What came of trying, inside of the namespaces, what a build does there.

    `platforms` are those of which a program ran. `runtime` is the program that runs steps; its
    trouble, and that of the overlay, is None when all is well. `private_table` says that we have
    our own table of emulators.
    """

    mode: Mode
    private_table: bool = False
    platforms: tuple[str, ...] = ()
    runtime: str = ""
    runtime_trouble: Trouble | None = None
    overlay_trouble: Trouble | None = None


class Facts(Value):
    """Everything at once. `inside` is the trouble that kept us from getting there, if it did;
    `dynamic` are emulators that were passed over because they need libraries; `access` is None
    when no reference was given."""

    release: str
    kernel: tuple[int, int]
    machine: str
    ids: Ids
    inside: Inside | Trouble
    disk: Disk
    cgroups: Cgroups = "v2"
    runtimes: Mapping[str, str] = msgspec.field(default_factory=dict)
    emulators: tuple[Emulator, ...] = ()
    dynamic: tuple[str, ...] = ()
    table: Status = msgspec.field(default_factory=Status)
    access: Access | None = None
