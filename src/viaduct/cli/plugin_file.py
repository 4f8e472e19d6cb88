"""The file `docker-buildx` in Docker's folder for a user's plugins."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
from typing import TYPE_CHECKING

import viaduct
from viaduct.base.errors import StoreError, UsageError
from viaduct.base.fs import write_atomic
from viaduct.base.values import Value
from viaduct.cli import plugin
from viaduct.cli.docker_config import DockerConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLUGIN = "docker-buildx"
# Not `docker-…`: docker would take it for a plugin with a strange name, and complain.
_BACKUP = re.compile(r"before-viaduct\.docker-buildx(?:\.(\d+))?")
_MARK = "# Written by `viaduct install`"
_ALIAS_MARK = "# The alias in config.json is Viaduct's too."

_SCRIPT = """\
#!/bin/sh
{mark}: Viaduct in the place of docker buildx.
# `viaduct install --uninstall` takes it away, and brings back what was here before.
{alias}
python={python}
[ -x "$python" ] || {{
    echo "Viaduct is no longer at $python: install it again, or remove $0" >&2
    exit 1
}}
# Docker asks before every command who this is. A Viaduct that changed since answers by itself.
if [ "$1" = {question} ] && [ {version} -ot "$0" ]; then
    echo {metadata}
    exit
fi
# -P: a module that lies in the current directory is not ours to import.
exec "$python" -P -c 'from viaduct.cli.plugin import main; main()' "$@"
"""


class PluginFile(Value):
    """The plugin below Docker's configuration directory. The methods raise `StoreError` when files
    cannot be read or written."""

    configuration: Path

    @property
    def path(self) -> Path:
        return self.configuration / "cli-plugins" / PLUGIN

    @property
    def config(self) -> DockerConfig:
        return DockerConfig(self.configuration / "config.json")

    def install(self, *, alias: bool) -> Path | None:
        """Put it in place; returns where one that was there is kept, if one was.

        `alias` has `docker build` passed on by a docker that does not do so by itself.
        """
        kept = None
        with _explained("installing"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(self.path) and not self._ours():
                kept = self._free_backup()
                os.rename(self.path, kept)
            # An alias that came with the plugin goes with it, whenever it was written.
            alias = self._aliased() or (alias and self.config.pass_builds_on())
            write_atomic(self.path, _script(alias=alias).encode(), mode=0o755)
        return kept

    def uninstall(self) -> bool:
        """Take it away; whether one that was there before is back. Raises `UsageError` when what is
        there is not ours."""
        if not os.path.lexists(self.path):
            raise UsageError(f"there is no plugin at {self.path}", hint="nothing is to be done")
        if not self._ours():
            raise UsageError(
                f"{self.path} is not Viaduct's, and stays", hint="remove it by hand if you must"
            )
        with _explained("removing"):
            if self._aliased():
                self.config.keep_builds()
            backups = self._backups()
            if backups:
                os.replace(backups[-1], self.path)
            else:
                self.path.unlink()
        return bool(backups)

    def overridden(self) -> Path | None:
        """A plugin of this name that docker finds first."""
        with _explained("looking for"):
            for folder in self.config.plugin_folders():
                if folder != self.path.parent and os.access(folder / PLUGIN, os.X_OK):
                    return folder / PLUGIN
        return None

    def _ours(self) -> bool:
        return _MARK in self._head()

    def _aliased(self) -> bool:
        return _ALIAS_MARK in self._head()

    def _head(self) -> str:
        try:
            with open(self.path, "rb") as file:
                return file.read(4096).decode(errors="replace")
        except OSError:
            return ""

    def _backups(self) -> list[Path]:
        """Backups, the newest last."""
        found = [path for path in self.path.parent.iterdir() if _BACKUP.fullmatch(path.name)]
        return sorted(found, key=_number)

    def _free_backup(self) -> Path:
        last = _number(self._backups()[-1]) if self._backups() else 0
        return self.path.with_name(f"before-viaduct.{PLUGIN}" + (f".{last + 1}" if last else ""))


def needs_alias(version: str) -> bool:
    """Whether a docker that calls itself `version` (`Docker version 20.10.24, …`) keeps builds to
    itself unless it is told otherwise."""
    match = re.search(r"\b(\d+)\.\d+", version)
    return match is not None and int(match[1]) < 23


def _number(backup: Path) -> int:
    match = _BACKUP.fullmatch(backup.name)
    return int(match[1] or 1) if match else 0


def _script(*, alias: bool) -> str:
    return _SCRIPT.format(
        mark=_MARK,
        alias=_ALIAS_MARK if alias else "#",
        python=shlex.quote(sys.executable),
        question=plugin.METADATA,
        version=shlex.quote(str(viaduct.__file__)),
        metadata=shlex.quote(plugin.metadata()),
    )


@contextlib.contextmanager
def _explained(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{doing} docker's plugin failed: {error.strerror}: {error.filename}",
            hint="DOCKER_CONFIG names another directory than ~/.docker",
        ) from error
