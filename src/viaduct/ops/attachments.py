"""Where what RUN mounts comes from; `viaduct.ops.mounts` does the mounting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.base.errors import BuildError
from viaduct.base.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from viaduct.ops.content import HashCache
    from viaduct.ops.trees import Trees
    from viaduct.store.cache_mounts import CacheMounts

_MAX_SECRET = 500 << 10


class Attachments(Value):
    """Where mounts come from. `secrets` reads a secret's value by id, None when there is none;
    `agents` are ssh agent sockets by id. `run` is in memory and ours alone."""

    trees: Trees
    hashes: HashCache
    caches: CacheMounts
    secrets: Secrets
    agents: Mapping[str, str]
    run: Path


class Secrets(Value):
    """Secret values by id, read when a step needs them and kept nowhere."""

    files: Mapping[str, Path]
    variables: Mapping[str, str]

    def read(self, name: str) -> bytes | None:
        """The value, or None. Raises `BuildError` when it cannot be read or is too large."""
        if name in self.variables:
            return self.variables[name].encode("utf-8", "surrogateescape")
        if name not in self.files:
            return None
        try:
            with open(self.files[name], "rb") as file:
                data = file.read(_MAX_SECRET + 1)
        except OSError as error:
            raise BuildError(
                f"cannot read the secret {name!r}: {error.strerror}",
                hint=f"check --secret id={name},src=…",
            ) from error
        if len(data) > _MAX_SECRET:
            raise BuildError(f"the secret {name!r} is larger than 500 KiB")
        return data
