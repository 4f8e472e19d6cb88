"""An ordinary user to run Viaduct as, made for a test and gone after it."""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from tests.parts import debs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: What a rootless user's shell has as PATH on Debian: no sbin.
USER_PATH = "/usr/local/bin:/usr/bin:/bin"

# What follows is root of a user namespace that has the user's sub-ids.
_AS_ROOT = ("unshare", "--map-root-user", "--map-auto")


class Credentials(TypedDict, total=False):
    """Keyword arguments of `subprocess`."""

    user: int
    group: int
    extra_groups: list[str]


@dataclass(frozen=True)
class User:
    """An account with an empty home directory in a place of its own.

    `python` starts an interpreter that can import Viaduct, readable by this user even when the
    checkout is not. `around` starts every program of a user who is not on this machine as it is.
    """

    name: str
    uid: int
    gid: int
    home: Path
    python: tuple[str, ...]
    paths: tuple[Path, ...] = field(default=())
    around: tuple[str, ...] = field(default=())

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        stdin: bytes = b"",
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program as this user, in the home directory, with a login's environment and `env`.

        With `check` a failure raises AssertionError with what the program printed.
        """
        done = subprocess.run(
            [*self.around, *argv],
            input=stdin,
            capture_output=True,
            check=False,
            cwd=self.home,
            env=self.environment(env),
            **self.credentials(),
        )
        if check:
            printed = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
            assert done.returncode == 0, f"{' '.join(argv)}: {done.returncode}\n{printed}"
        return done

    def viaduct(
        self, *arguments: str, env: Mapping[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a Viaduct command as this user."""
        return self.run([*self.python, "-m", "viaduct", *arguments], env=env, check=check)

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What this user's programs find in their environment."""
        clean = {
            "HOME": str(self.home),
            "USER": self.name,
            "LOGNAME": self.name,
            "PATH": USER_PATH,
            "LANG": "C.UTF-8",
        }
        if self.paths:
            clean["PYTHONPATH"] = os.pathsep.join(map(str, self.paths))
        return {**clean, **(more or {})}

    def credentials(self) -> Credentials:
        """Keyword arguments for `subprocess` that make a program this user's."""
        if os.geteuid() != 0:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> Path:
        """Give a file or tree to this user; returns it."""
        for each in (path, *path.rglob("*")):
            os.chown(each, self.uid, self.gid, follow_symlinks=False)
        return path


@contextlib.contextmanager
def ordinary_user(*, subids: bool = True) -> Iterator[User]:
    """A user with (or without) ranges of subordinate ids.

    Root makes an account. Anybody else is an ordinary user already and gets a home directory of
    the test's; without sub-ids that user's programs run where nobody has any.
    """
    place = Path(tempfile.mkdtemp(prefix="viaduct-user-"))
    place.chmod(0o755)
    home = place / "home"
    if os.geteuid() != 0:
        home.mkdir()
        try:
            yield User(
                *(getpass.getuser(), os.getuid(), os.getgid(), home, (sys.executable,)),
                around=() if subids else _without_subids(),
            )
        finally:
            _remove(place)
        return
    name = f"viaduct-{secrets.token_hex(4)}"
    try:
        with _accounts():
            count = "65536" if subids else "0"
            subprocess.run(
                [
                    *["useradd", "--create-home", "--home-dir", str(home), "--shell", "/bin/sh"],
                    *["-K", f"SUB_UID_COUNT={count}", "-K", f"SUB_GID_COUNT={count}", name],
                ],
                check=True,
                capture_output=True,
            )
        entry = pwd.getpwnam(name)
        python, paths = _python_for(entry, place)
        yield User(name, entry.pw_uid, entry.pw_gid, home, python, paths)
    finally:
        with contextlib.suppress(KeyError):
            _end_processes(name)
            with _accounts():
                # Forced, because killed processes may take a moment to be gone.
                subprocess.run(["userdel", "--force", name], check=True, capture_output=True)
        _remove(place)


def sub_ids(name: str) -> list[tuple[int, int]]:
    """The (start, count) ranges that /etc/subuid gives a user."""
    rows = [line.split(":") for line in Path("/etc/subuid").read_text().splitlines() if line]
    return [(int(start), int(count)) for who, start, count in rows if who == name]


def give(path: Path, uid: int, gid: int) -> None:
    """Have a file belong to somebody else: that user for root, one of its own sub-ids for anybody
    else."""
    become = () if os.geteuid() == 0 else _AS_ROOT
    subprocess.run([*become, "chown", f"{uid}:{gid}", str(path)], check=True)


def take(place: Path) -> None:
    """Have whatever is below a directory belong to us, so that it can be removed: files of sub-ids
    cannot. Root needs no such thing."""
    if os.geteuid() != 0:
        ours = [*_AS_ROOT, "chown", "--recursive", "--no-dereference", "0:0", str(place)]
        subprocess.run(ours, check=False, capture_output=True)


def _without_subids() -> tuple[str, ...]:
    """What follows is us, on a machine that gave nobody sub-ids."""
    hide = "for each in /etc/subuid /etc/subgid; do mount --bind /dev/null $each; done"
    again = f"unshare --user --map-user={os.getuid()} --map-group={os.getgid()}"
    words = ("unshare", "--mount", "--map-root-user", "sh", "-ec")
    return (*words, f'{hide}\nexec {again} "$@"', "sh")


@contextlib.contextmanager
def _accounts() -> Iterator[None]:
    """useradd and userdel give up when another one holds the password file; wait instead."""
    debs.WORK.mkdir(exist_ok=True)
    with (debs.WORK / "accounts.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _python_for(entry: pwd.struct_passwd, place: Path) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """An interpreter and import paths that the user can use.

    A checkout or interpreter below root's home is closed to others; then Viaduct and what it
    imports are copied beside the user's home, for the machine's own Python of the same version.
    """

    def works(python: str, paths: Sequence[Path] = ()) -> bool:
        env = {"PATH": USER_PATH, "PYTHONPATH": os.pathsep.join(map(str, paths))}
        done = subprocess.run(
            [python, "-c", "import viaduct, click, msgspec, isal"],
            user=entry.pw_uid,
            group=entry.pw_gid,
            extra_groups=[],
            env=env,
            cwd="/",
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    if works(sys.executable):
        return (sys.executable,), ()
    packages = place / "packages"
    packages.mkdir()
    shutil.copytree(debs.TOP / "src/viaduct", packages / "viaduct")
    installed = Path(sysconfig.get_path("platlib"))
    for name in _wanted_packages():
        for found in installed.glob(name):
            if found.is_dir():
                shutil.copytree(found, packages / found.name)
            else:
                shutil.copy(found, packages)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for python in (f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        if works(python, (packages,)):
            return (python,), (packages,)
    raise RuntimeError(
        f"{sys.executable} is closed to ordinary users and there is no /usr/bin/{version}"
    )


def _wanted_packages() -> Iterator[str]:
    """Import names of the locked run-time dependencies, as patterns."""
    for line in (debs.TOP / "requirements.lock").read_text().splitlines():
        if "==" in line and not line.startswith(" "):
            name = line.partition("==")[0].replace("-", "_")
            yield {"backports_zstd": "backports"}.get(name, f"{name}*")


def _end_processes(name: str) -> None:
    """Kill whatever runs as a user or as one of its sub-ids, so that the account can go."""
    own = pwd.getpwnam(name).pw_uid
    ranges = [(own, 1), *sub_ids(name)]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                uid = entry.stat().st_uid
                if any(start <= uid < start + count for start, count in ranges):
                    os.kill(int(entry.name), signal.SIGKILL)


def _remove(place: Path) -> None:
    """Delete a directory in which files of mapped users may be."""
    if os.geteuid() == 0:
        shutil.rmtree(place)
        return
    subprocess.run([*_AS_ROOT, "rm", "-rf", str(place)], check=False, capture_output=True)
    shutil.rmtree(place, ignore_errors=True)
