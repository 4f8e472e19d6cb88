"""The door to builder instances: which there are, which is in use, what state they are in."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from viaduct.base.errors import NotFound, StoreError, UsageError
from viaduct.base.home import state_root
from viaduct.engine.builder import edit, names
from viaduct.engine.builder.store import BuilderStore
from viaduct.engine.builder.values import DOCKER, Builder, check_name, is_name, of_context
from viaduct.export import docker_context
from viaduct.export.docker_context import DEFAULT
from viaduct.sandbox.namespace import current

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from viaduct.engine.builder.edit import Wish

_IS_CONTEXT = (
    "context builder cannot be removed, run `docker context rm {name}` to remove this context"
)


class Builders:
    """All builders of one user. The methods raise `StoreError` when the files cannot be used."""

    def __init__(self, store: BuilderStore, env: Mapping[str, str]) -> None:
        self.store = store
        self._env = env

    @classmethod
    def of(cls, env: Mapping[str, str]) -> Builders:
        """Those that `env` leads to: `$BUILDX_CONFIG`, else a part of the state root.
        `$BUILDX_BUILDER` chooses the one in use. Every context of Docker's is a builder too."""
        if config := env.get("BUILDX_CONFIG"):
            root = Path(config).absolute()
        else:
            root = state_root(env, uid=_user()) / "builders"
        return cls(BuilderStore(root), env)

    def current(self) -> str:
        """The name of the builder in use; where none was chosen, or it is gone, the context's."""
        if chosen := self._env.get("BUILDX_BUILDER"):
            return chosen
        name = self.store.current()
        if name.lower() in self.store.names():
            return name
        return docker_context.current(self._env)

    def find(self, name: str = "") -> Builder:
        """The builder `name` (empty: the one in use). Raises `NotFound`."""
        name = name or self.current()
        builder = self.store.load(name) if is_name(name) else None
        if builder is not None:
            return builder
        if docker_context.exists(self._env, name):
            return of_context(name)
        raise NotFound(f'no builder "{name}" found', hint=self._suggestion(name))

    def all(self) -> Iterator[Builder | tuple[str, StoreError]]:
        """Every builder, those of contexts last; one that cannot be read comes as its name and
        error."""
        stored = self.store.names()
        for name in stored:
            try:
                builder = self.store.load(name)
            except StoreError as error:
                yield name, error
                continue
            if builder is not None:
                yield builder
        yield from (of_context(name) for name in self._contexts() if name.lower() not in stored)

    def free_name(self) -> str:
        """A name for a builder that was given none."""
        import random

        return names.generate(self.store.names(), random.Random())

    def create(self, wish: Wish, *, use: bool) -> Builder:
        """Make or change a builder."""
        check_name(wish.name)
        if not wish.append and docker_context.exists(self._env, wish.name):
            raise UsageError(f'instance name "{wish.name}" already exists as context builder')
        with self.store.lock():
            builder = edit.make(wish, self.store.load(wish.name))
            self.store.save(builder)
            if use:
                self.store.use(builder.name, key=self._key(), everywhere=False)
        return builder

    def leave(self, name: str, node: str) -> None:
        """Take a node out of a builder."""
        check_name(name)
        with self.store.lock():
            builder = self.store.load(name)
            if builder is None:
                raise NotFound(
                    f'failed to find instance "{name}" for leave', hint=self._suggestion(name)
                )
            self.store.save(edit.leave(builder, node))

    def use(self, name: str, *, everywhere: bool = False) -> None:
        """Have `name` be the builder in use from now on."""
        if name != DEFAULT:
            check_name(name)
        with self.store.lock():
            if name == DEFAULT or self.store.load(name) is None:
                self._check_context(name)
                name = DEFAULT
            self.store.use(name, key=self._key(), everywhere=everywhere)

    def remove(self, name: str) -> str:
        """Forget a builder (empty: the one in use); returns its name."""
        name = name or self.current()
        with self.store.lock():
            if name.lower() not in self.store.names():
                if docker_context.exists(self._env, name):
                    raise UsageError(_IS_CONTEXT.format(name=name))
                raise NotFound(f'no builder "{name}" found', hint=self._suggestion(name))
            self.store.remove(name)
        return name

    def inactive(self) -> list[str]:
        """The builders of which no node runs."""
        return [name for name in self.store.names() if not self.store.running(name)]

    def start(self, builder: Builder) -> frozenset[str]:
        """Have all nodes of `builder` count as running; returns those that did not before."""
        if builder.driver == DOCKER:
            return frozenset()
        nodes = frozenset(node.name for node in builder.nodes)
        before = self.store.running(builder.name)
        if nodes != before:
            self.store.set_running(builder.name, nodes)
        return nodes - before

    def note_use(self, builder: Builder) -> None:
        """Note that `builder` is used now."""
        self.store.touch(builder.name, time.time())

    def stop(self, name: str = "") -> None:
        """Have `name` count as inactive. That of a context cannot be stopped: nothing happens."""
        builder = self.find(name)
        if builder.driver != DOCKER:
            with self.store.lock():
                self.store.set_running(builder.name, ())

    def running(self, builder: Builder) -> frozenset[str]:
        """The nodes of `builder` that run."""
        if builder.driver == DOCKER:
            return frozenset(node.name for node in builder.nodes)
        return self.store.running(builder.name)

    def _contexts(self) -> list[str]:
        return sorted({DEFAULT, *docker_context.names(self._env)})

    def _check_context(self, name: str) -> None:
        """Refuse a context that is not in use: Docker's command line chooses among them."""
        if not docker_context.exists(self._env, name):
            raise NotFound(f'failed to find instance "{name}"', hint=self._suggestion(name))
        if name != docker_context.current(self._env):
            raise UsageError(f"run `docker context use {name}` to switch to context {name}")

    def _key(self) -> str:
        """The engine that the peers would ask."""
        endpoint = docker_context.endpoint(self._env)
        return endpoint.host if endpoint else ""

    def _suggestion(self, name: str) -> str:
        known = [*self.store.names(), *self._contexts()]
        return _nearest(name, known) or "`viaduct ls` lists the builders"


def _nearest(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else ""


def _user() -> int:
    namespace = current()
    return namespace.outer_uid if namespace else os.getuid()
