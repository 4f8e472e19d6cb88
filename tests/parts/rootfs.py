"""Root file systems made from Debian packages, as uncompressed tar archives.

No program of the foreign architecture runs to make them, and the archives carry the owners that the
packages give, whoever runs the tests.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from tests.parts import debs

if TYPE_CHECKING:
    from collections.abc import Iterable

_WHEN = 1_700_000_000
_DPKG = "var/lib/dpkg"


def busybox_tree(arch: str) -> Path:
    """A directory with busybox and its applets for `amd64` or `arm64`. Read it, don't change it."""
    root = debs.WORK / "rootfs" / f"busybox-{arch}"
    with debs.made_once(root) as draft:
        if draft is not None:
            script = debs.TOP / "scripts/busybox-rootfs.sh"
            subprocess.run([str(script), arch, str(draft)], check=True)
    return root


def busybox(arch: str) -> Path:
    """The same as an archive in which everything belongs to root."""
    path = debs.WORK / "rootfs" / f"busybox-{arch}.tar"
    with debs.made_once(path) as draft:
        if draft is not None:
            tree = busybox_tree(arch)
            with tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as out:
                for item in sorted(tree.rglob("*")):
                    out.add(item, str(item.relative_to(tree)), recursive=False, filter=_plain)
    return path


def debian(arch: str) -> Path:
    """A minimal Debian with apt, whose packages count as installed; about 120 MB unpacked.

    Maintainer scripts did not run. What they would have made and other packages count on (accounts,
    alternatives, triggers) is made here.
    """
    path = debs.WORK / "rootfs" / f"debian-{arch}.tar"
    with debs.made_once(path) as draft:
        if draft is not None:
            packages = debs.fetch(arch, "?essential", "apt", with_dependencies=True)
            with tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as out:
                _Debian(out, arch).install(packages)
    return path


def debian_packages(arch: str, *names: str) -> tuple[Path, ...]:
    """The `.deb` files that have to be added to `debian(arch)` so that `names` can be installed."""
    base = set(debs.fetch(arch, "?essential", "apt", with_dependencies=True))
    wanted = debs.fetch(arch, *names, with_dependencies=True)
    return tuple(deb for deb in wanted if deb not in base)


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = _WHEN
    return info


class _Debian:
    """Writes one archive out of many packages."""

    def __init__(self, out: tarfile.TarFile, arch: str) -> None:
        self._out = out
        self._arch = arch
        self._seen: set[str] = set()
        self._status: list[str] = []
        self._triggers: dict[str, list[str]] = {}

    def install(self, packages: Iterable[Path]) -> None:
        self._dir("usr")
        # Debian 12 keeps these in /usr; the links come first so that nothing lands beside them.
        for name in ("bin", "sbin", "lib", "lib64"):
            self._dir(f"usr/{name}")
            self._symlink(name, f"usr/{name}")
        # base-files has directories there; a script of its makes them links.
        self._symlink("var/run", "/run")
        self._symlink("var/lock", "/run/lock")
        self._dir("run/lock")
        self._dir(f"{_DPKG}/info")
        for deb in packages:
            self._unpack(deb)
            self._register(deb)
        self._file(f"{_DPKG}/status", "\n".join(self._status))
        self._file(f"{_DPKG}/available", "")
        self._file(f"{_DPKG}/info/format", "1\n")
        for name, lines in self._triggers.items():
            self._file(f"{_DPKG}/triggers/{name}", "".join(f"{line}\n" for line in lines))
        self._configure()

    def _unpack(self, deb: Path) -> None:
        with (
            subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=-1) as process,
            tarfile.open(fileobj=process.stdout, mode="r|") as data,
        ):
            for member in data:
                member.name = _merged(member.name)
                if member.islnk():
                    member.linkname = _merged(member.linkname)
                if member.name in self._seen or not member.name:
                    continue
                self._add(member, data.extractfile(member) if member.isreg() else None)
        if process.returncode:
            raise RuntimeError(f"dpkg-deb could not read {deb}")

    def _register(self, deb: Path) -> None:
        with tempfile.TemporaryDirectory() as temp:
            control = Path(temp) / "control"
            subprocess.run(["dpkg-deb", "-e", str(deb), str(control)], check=True)
            text = (control / "control").read_text()
            fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
            name = fields["Package"]
            first, _, rest = text.partition("\n")
            self._status.append(f"{first}\nStatus: install ok installed\n{rest}")
            if fields.get("Multi-Arch") == "same":
                name += f":{self._arch}"
            for item in sorted(control.iterdir()):
                if item.name != "control":
                    mode = 0o755 if item.stat().st_mode & 0o100 else 0o644
                    self._file(f"{_DPKG}/info/{name}.{item.name}", item.read_text(), mode=mode)
            self._file(f"{_DPKG}/info/{name}.list", _listing(deb))
            if (control / "triggers").exists():
                self._note_triggers(name, (control / "triggers").read_text())

    def _note_triggers(self, package: str, text: str) -> None:
        for line in text.splitlines():
            words = line.partition("#")[0].split()
            if not words or not words[0].startswith("interest"):
                continue
            who = package + ("/noawait" if words[0].endswith("noawait") else "")
            if words[1].startswith("/"):
                self._triggers.setdefault("File", []).append(f"{words[1]} {who}")
            else:
                self._triggers.setdefault(words[1], []).append(who)

    def _configure(self) -> None:
        """What the maintainer scripts of the essential packages leave behind."""
        masters = _read_masters(debs.fetch(self._arch, "base-passwd")[0])
        for name in ("passwd", "group"):
            self._file(f"etc/{name}", masters[name])
        users = [line.split(":")[0] for line in masters["passwd"].splitlines()]
        self._file("etc/shadow", "".join(f"{u}:*:19000:0:99999:7:::\n" for u in users), mode=0o640)
        self._symlink("etc/alternatives/awk", "/usr/bin/mawk")
        self._symlink("usr/bin/awk", "/etc/alternatives/awk")
        self._file(
            f"{_DPKG}/alternatives/awk", "auto\n/usr/bin/awk\n\n/usr/bin/mawk\n5\n\n", mode=0o644
        )
        self._dir("usr/local/bin")
        self._dir("usr/local/sbin")
        # Without its account apt cannot drop privileges; containers rarely miss that.
        self._file("etc/apt/apt.conf.d/90container", 'APT::Sandbox::User "root";\n')

    def _add(self, member: tarfile.TarInfo, data: IO[bytes] | None = None) -> None:
        member.name = member.name.rstrip("/")
        member.mtime = _WHEN
        member.uname = member.gname = ""
        self._seen.add(member.name)
        self._out.addfile(member, data)

    def _make(self, name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.type, info.mode = kind, mode
        return info

    def _dir(self, name: str) -> None:
        for path in [*reversed(PurePosixPath(name).parents), PurePosixPath(name)][1:]:
            if str(path) not in self._seen:
                self._add(self._make(str(path), tarfile.DIRTYPE, 0o755))

    def _symlink(self, name: str, target: str) -> None:
        self._dir(str(PurePosixPath(name).parent))
        info = self._make(name, tarfile.SYMTYPE, 0o777)
        info.linkname = target
        self._add(info)

    def _file(self, name: str, text: str, *, mode: int = 0o644) -> None:
        self._dir(str(PurePosixPath(name).parent))
        info = self._make(name, tarfile.REGTYPE, mode)
        data = text.encode()
        info.size = len(data)
        self._add(info, io.BytesIO(data))


def _merged(name: str) -> str:
    """A package's path as it is in a system whose /bin, /sbin and /lib are links into /usr."""
    name = name.removeprefix("./").strip("/")
    if name.partition("/")[0] in ("bin", "sbin", "lib", "lib64"):
        return f"usr/{name}"
    return "" if name == "." else name


def _listing(deb: Path) -> str:
    done = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(deb)], check=True, capture_output=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as data:
        names = [member.name.removeprefix(".").rstrip("/") or "/." for member in data]
    return "".join(f"{name}\n" for name in names)


def _read_masters(deb: Path) -> dict[str, str]:
    """The accounts every Debian has, from base-passwd."""
    done = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(deb)], check=True, capture_output=True)
    found = {}
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as data:
        for name in ("passwd", "group"):
            file = data.extractfile(f"./usr/share/base-passwd/{name}.master")
            assert file is not None
            found[name] = file.read().decode()
    return found
