"""The only words the solver knows.

The solver orders work it does not understand. It is given graph nodes and a way to turn a node into
an `Op`; it asks each op for its `CacheMap`, decides whether an earlier result serves, and otherwise
runs it. Keys are of two kinds:

* the *fast* key: the op's definition and the keys of its inputs. Known without doing anything.
* the *canonical* key: the same, but an input that the op reads selectively (`COPY --from`, a bind
  mount) counts by the content it selects. Two ways to the same bytes share one canonical key.

A record maps a canonical key to results; an alias maps a fast key to a canonical one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from viaduct.base.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from viaduct.base.tasks import Stop
    from viaduct.graph.node import Node
    from viaduct.oci.digest import Digest


class Result(Protocol):
    """What an op made. `id` names it across processes; empty when it cannot be kept."""

    @property
    def id(self) -> str: ...


class CacheMap(Value):
    """How an op is keyed.

    `digest` covers everything of the definition that decides the result. `by_content` holds the
    indexes of the inputs that count by the content the op selects of them instead of by their key.
    `volatile` ops (a person's directory) have no key at all: whoever reads them must do so by
    content.
    """

    digest: Digest
    by_content: frozenset[int] = frozenset()
    volatile: bool = False


class Job(Protocol):
    """The run of one op: where its output goes, and whether it should stop."""

    @property
    def stop(self) -> Stop: ...

    def log(self, stream: int, data: bytes) -> None: ...

    def status(
        self, part: str, current: int = 0, total: int = 0, *, done: bool = False
    ) -> None: ...


class Op(Protocol):
    """One operation, ready to be keyed and run. Methods may be called from any thread."""

    @property
    def heavy(self) -> bool:
        """Whether running it occupies a processor; such ops are bounded by the solver's `jobs`."""

    @property
    def remote(self) -> bool:
        """Whether somebody else is asked for how it is keyed, which takes its time."""

    def cache_map(self, stop: Stop) -> CacheMap:
        """How the op is keyed."""

    def content_digest(self, index: int, result: Result, job: Job) -> Digest:
        """Digest of what the op selects of input `index`; only for inputs in `by_content`."""

    def run(self, inputs: Sequence[Result], job: Job) -> Sequence[Result]:
        """Do it; one result per output."""


class Record(Value):
    """An earlier run's canonical key and the ids of its results."""

    canonical: str
    results: tuple[str, ...]


class CacheStore(Protocol):
    """What is remembered between builds. Called from many threads."""

    def lookup(self, key: str) -> Record | None:
        """The record under a canonical key or an alias of it, if its results still exist."""

    def save(self, canonical: str, results: tuple[str, ...]) -> None:
        """Remember results, replacing older ones."""

    def alias(self, fast: str, canonical: str) -> None:
        """Remember that a fast key led to this canonical key."""

    def load(self, result_id: str) -> Result | None:
        """The result of that id, or None when it is gone."""


Resolver: TypeAlias = "Callable[[Node], Op]"
