"""This machine, changed for one command: each function gives the words to put before it."""

from __future__ import annotations

import os
import shlex
import shutil
from typing import TYPE_CHECKING

from tests.parts.users import USER_PATH

if TYPE_CHECKING:
    from pathlib import Path


def after(script: str, *, user_namespace: bool = False) -> tuple[str, ...]:
    """What follows runs when a shell script has changed a mount namespace of its own; an ordinary
    user gets a user namespace as well, where that is root."""
    user = ["--user", "--map-root-user"] if user_namespace or os.geteuid() != 0 else []
    return ("unshare", "--mount", *user, "sh", "-ec", f'{script}\nexec "$@"', "sh")


def without(*programs: str) -> tuple[str, ...]:
    """What follows runs on a machine where these programs are not installed."""
    return after(_hiding(*programs))


def without_emulators(*programs: str) -> tuple[str, ...]:
    """What follows runs on a machine where these emulators are neither installed nor registered."""
    return with_own_table(_hiding(*programs))


def _hiding(*programs: str) -> str:
    path = f"{USER_PATH}:/usr/local/sbin:/usr/sbin:/sbin"
    places = [place for name in programs if (place := shutil.which(name, path=path))]
    return "\n".join(f"mount --bind /dev/null {shlex.quote(place)}" for place in places)


def with_small_disk(directory: Path, size: str) -> tuple[str, ...]:
    """What follows finds an empty file system of that size at `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    return after(f"mount -t tmpfs -o size={size} tmpfs {shlex.quote(str(directory))}")


def with_overlay(
    directory: Path, *, ordinary: bool = False, subids: bool = True
) -> tuple[str, ...]:
    """What follows finds an overlay at `directory`, as in a container whose files are on no volume;
    what is written there stays in `directory.upper`. With `ordinary` it is not root who will run
    this; without `subids` whoever does has none."""
    upper, work, lower = (
        directory.with_name(f"{directory.name}.{part}") for part in ("upper", "work", "lower")
    )
    for path in (directory, upper, work, lower):
        path.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    mount = f"mount -t overlay overlay -o {shlex.quote(options)} {shlex.quote(str(directory))}"
    # An ordinary user needs a user namespace for the mount, with all sub-ids in it for owners.
    ids: tuple[str, ...] = ()
    if ordinary or os.geteuid() != 0:
        ids = ("--map-root-user", "--map-auto") if subids else ("--map-root-user",)
    return ("unshare", "--mount", *ids, "sh", "-ec", f'{mount}\nexec "$@"', "sh")


def without_namespaces() -> tuple[str, ...]:
    """What follows may not make user namespaces."""
    return after("echo 0 > /proc/sys/user/max_user_namespaces", user_namespace=True)


#: Registers an emulator for arm64 as packages of old did: it is found by its path, in the root file
#: system of whoever starts a program.
REGISTER_WITHOUT_FLAG_F = (
    r"printf '%b' ':qemu-aarch64:M::\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00"
    r"\\x00\\x00\\x02\\x00\\xb7\\x00::/usr/bin/qemu-aarch64-static:OC' "
    "> /proc/sys/fs/binfmt_misc/register"
)


def with_own_table(script: str = "", *, old_kernel: bool = False) -> tuple[str, ...]:
    """What follows is root of a user namespace whose binfmt_misc table is empty and its own: to it,
    the machine's table. `script` runs there first. With `old_kernel` it believes to be on a Linux
    of before 6.7, where a build cannot have a table.
    """
    mount = "mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc"
    # The kernel itself lies for us, to old programs that would not understand its version.
    lie = ("setarch", "--uname-2.6") if old_kernel else ()
    return (*after(f"{mount}\n{script}", user_namespace=True), *lie)
