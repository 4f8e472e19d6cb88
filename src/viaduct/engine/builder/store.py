"""Builder instances on disk, laid out as in buildx's configuration directory.

    instances/<name>   the builder, as JSON
    current            which one is in use
    activity/<name>    when it was last used
    running/<name>     names of its nodes that were started

File names are builder names in lower case, so that two that differ in case only are one.
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from viaduct.base import decoding
from viaduct.base.errors import StoreError
from viaduct.base.fs import explain_oserror, locked, write_atomic
from viaduct.engine.builder.values import Builder
from viaduct.export.docker_context import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


class _Current(msgspec.Struct, frozen=True, rename="pascal"):
    """`key` is the engine that buildx would ask; it decides nothing here."""

    name: str = ""
    key: str = ""
    # Named so that the attribute is no keyword.
    everywhere: bool = msgspec.field(default=False, name="Global")


class BuilderStore:
    """The files below `root`, which need not exist. Every write is whole or not at all; whoever
    changes more than one file holds `lock`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from changing anything. Raises `StoreError`."""
        try:
            self._make_root()
            guard = locked(self.root / ".lock")
            guard.__enter__()
        except OSError as error:
            raise explain_oserror(error, "opening the builders") from error
        try:
            yield
        finally:
            guard.__exit__(None, None, None)

    def names(self) -> list[str]:
        """The names of all builders, as files have them."""
        try:
            found = os.listdir(self.root / "instances")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise explain_oserror(error, "listing the builders") from error
        return sorted(name for name in found if not name.startswith("."))

    def load(self, name: str) -> Builder | None:
        """The builder `name`, or None. Raises `StoreError` when its file makes no sense."""
        path = self.root / "instances" / name.lower()
        data = _read(path)
        if data is None:
            return None
        try:
            return decoding.from_json(data, Builder)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise StoreError(f"cannot read {path}: {error}", hint=f"viaduct rm {name}") from error

    def save(self, builder: Builder) -> None:
        self._write(f"instances/{builder.name.lower()}", msgspec.json.encode(builder))

    def remove(self, name: str) -> None:
        """Forget everything about `name`; if it was the current one, there is none now."""
        for folder in ("instances", "activity", "running"):
            self._unlink(f"{folder}/{name.lower()}")
        if self.current().lower() == name.lower():
            self._unlink("current")

    def current(self) -> str:
        """The name of the builder in use."""
        data = _read(self.root / "current")
        # A file that is damaged means no more than that nothing was chosen.
        with contextlib.suppress(msgspec.DecodeError, msgspec.ValidationError):
            return decoding.from_json(data or b"{}", _Current).name or DEFAULT
        return DEFAULT

    def use(self, name: str, *, key: str, everywhere: bool) -> None:
        """Make `name` the builder in use."""
        name = "" if name == DEFAULT else name
        self._write("current", msgspec.json.encode(_Current(name, key, everywhere)))

    def running(self, name: str) -> frozenset[str]:
        """The nodes of `name` that were started and not stopped."""
        data = _read(self.root / "running" / name.lower())
        return frozenset(data.decode(errors="replace").split("\n")) if data else frozenset()

    def set_running(self, name: str, nodes: Iterable[str]) -> None:
        if text := "\n".join(sorted(nodes)):
            self._write(f"running/{name.lower()}", text.encode())
        else:
            self._unlink(f"running/{name.lower()}")

    def last_activity(self, name: str) -> float:
        """When `name` was last used, in seconds since the epoch; 0 for never."""
        data = _read(self.root / "activity" / name.lower())
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat((data or b"").decode(errors="replace")).timestamp()
        return 0.0

    def touch(self, name: str, now: float) -> None:
        """Note that `name` is used now."""
        text = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        path = self.root / "activity" / name.lower()
        # Neither atomic nor durable nor insisted on: every build writes it, and losing it costs
        # nothing.
        with contextlib.suppress(OSError):
            self._make_root()
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    def _make_root(self) -> None:
        # The directory above is the state root, which nobody else may enter, whoever is first to
        # make it.
        self.root.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.root.mkdir(exist_ok=True, mode=0o700)

    def _write(self, name: str, data: bytes) -> None:
        path = self.root / name
        try:
            self._make_root()
            path.parent.mkdir(exist_ok=True)
            write_atomic(path, data, mode=0o600)
        except OSError as error:
            raise explain_oserror(error, "saving a builder") from error

    def _unlink(self, name: str) -> None:
        try:
            (self.root / name).unlink(missing_ok=True)
        except OSError as error:
            raise explain_oserror(error, "removing a builder") from error


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise explain_oserror(error, "reading the builders") from error
