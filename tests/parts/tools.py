"""Other people's programs that tests speak with, taken out of their Debian packages where they are
not installed: installing docker-registry or docker.io would also start their daemons."""

from __future__ import annotations

import shutil
import subprocess

from tests.parts import debs


def docker_registry() -> str:
    """The distribution project's registry server."""
    return _program("docker-registry", "docker-registry")


def docker() -> str:
    """Docker's command line, without a daemon."""
    return _program("docker", "docker.io")


def debian_docker() -> str:
    """The same as Debian has it, whichever this machine has: of Debian 12 it is Docker 20.10, which
    keeps `docker build` to itself unless it is told otherwise."""
    return _unpacked("docker", "docker.io")


def _program(name: str, package: str) -> str:
    return shutil.which(name) or _unpacked(name, package)


def _unpacked(name: str, package: str) -> str:
    root = debs.WORK / "tools" / package
    with debs.made_once(root) as draft:
        if draft is not None:
            (deb,) = debs.fetch(debs.native(), package)
            subprocess.run(["dpkg-deb", "-x", str(deb), str(draft)], check=True)
    return str(root / "usr/bin" / name)
