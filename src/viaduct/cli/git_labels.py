"""`BUILDX_GIT_LABELS`: labels that say from which commit an image was built."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from viaduct.base import proc
from viaduct.base.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Mapping

REVISION = "org.opencontainers.image.revision"
SOURCE = "org.opencontainers.image.source"
DOCKERFILE = "com.docker.image.source.entrypoint"

_TRUE = ("1", "t", "true")


def labels(env: Mapping[str, str], context: str, dockerfile: str) -> dict[str, str]:
    """The labels that the environment asks for; none where the context is no git work tree.

    The revision ends in `-dirty` on request (`BUILDX_GIT_CHECK_DIRTY`) when files are not
    committed. The address of the remote is told without credentials.
    """
    if env.get("BUILDX_GIT_LABELS", "").lower() not in (*_TRUE, "full"):
        return {}
    if not os.path.isdir(context):
        return {}
    top = _git(context, "rev-parse", "--show-toplevel")
    if not top:
        return {}
    found = {}
    if revision := _git(context, "rev-parse", "--verify", "HEAD^{commit}"):
        asked = env.get("BUILDX_GIT_CHECK_DIRTY", "").lower() in _TRUE
        dirty = asked and _is_dirty(context)
        found[REVISION] = f"{revision}-dirty" if dirty else revision
    if remote := _remote(context):
        found[SOURCE] = remote
    file = dockerfile or os.path.join(context, "Dockerfile")
    place = os.path.relpath(os.path.realpath(file), os.path.realpath(top))
    if os.path.isfile(file) and not place.startswith(".."):
        found[DOCKERFILE] = place
    return found


def _is_dirty(context: str) -> bool:
    """Whether files are not committed.

    The context may be somebody else's work, its `.git/config` too: programs that are named there
    are not run. (Git takes submodules for repositories of their own, and asks theirs.)
    """
    settings = {"core.fsmonitor": "false", "core.hooksPath": "/dev/null"}
    listed = _git(context, "config", "--show-scope", "--name-only", "-z", "--list").split("\0")
    for scope, key in zip(listed[::2], listed[1::2], strict=False):
        if scope not in ("system", "global") and key.startswith("filter."):
            settings[key] = ""
    env = {**os.environ, "GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    status = ("status", "--porcelain", "--ignored", "--ignore-submodules=dirty")
    return _git(context, *status, env=env) != ""


def _remote(context: str) -> str:
    """The address of the branch's remote, else of `origin`, else of `upstream`."""
    tracked = _git(context, "rev-parse", "--abbrev-ref", "@{upstream}").partition("/")[0]
    for name in (tracked, "origin", "upstream"):
        if name and (url := _git(context, "remote", "get-url", name)):
            return _discreet(url)
    return ""


def _discreet(url: str) -> str:
    parts = urlsplit(url)
    if not parts.scheme or "@" not in parts.netloc or parts.scheme == "ssh":
        return url
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _git(directory: str, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """What git prints; empty where it fails or is missing."""
    try:
        done = proc.run(["git", "-C", directory, *arguments], env=env, check=False)
    except SandboxError:
        return ""
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""
