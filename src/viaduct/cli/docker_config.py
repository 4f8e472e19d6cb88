"""Docker's `config.json`, as far as it says who does `docker build`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from viaduct.base.errors import StoreError
from viaduct.base.fs import write_atomic
from viaduct.base.values import Value


class DockerConfig(Value):
    """The file, which need not exist. The methods raise `StoreError` when it makes no sense, and
    OSError when it cannot be read or written; what they do not know stays as it is."""

    path: Path

    def plugin_folders(self) -> list[Path]:
        """Folders with plugins that docker looks into before the user's own."""
        folders = self._read().get("cliPluginsExtraDirs")
        return [Path(str(folder)) for folder in folders] if isinstance(folders, list) else []

    def pass_builds_on(self) -> bool:
        """Have docker pass `docker build` to its plugin; false when it was told something already.

        Docker does so by itself since 23.
        """
        config = self._read()
        aliases = config.setdefault("aliases", {})
        if not isinstance(aliases, dict) or aliases.get("builder"):
            return False
        aliases["builder"] = "buildx"
        self._write(config)
        return True

    def keep_builds(self) -> None:
        """Undo `pass_builds_on`."""
        config = self._read()
        aliases = config.get("aliases")
        if isinstance(aliases, dict) and aliases.get("builder") == "buildx":
            del aliases["builder"]
            if not aliases:
                del config["aliases"]
            self._write(config)

    def _read(self) -> dict[str, Any]:
        try:
            config = json.loads(self.path.read_bytes() or b"{}")
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise StoreError(
                f"cannot read {self.path}: {error}", hint="mend or remove it"
            ) from error
        if not isinstance(config, dict):
            raise StoreError(f"cannot read {self.path}: not an object", hint="mend or remove it")
        return config

    def _write(self, config: dict[str, Any]) -> None:
        """Write it as docker does: indented by tabs, through links, for its owner only."""
        text = json.dumps(config, indent="\t", ensure_ascii=False)
        write_atomic(Path(os.path.realpath(self.path)), text.encode(), mode=0o600)
