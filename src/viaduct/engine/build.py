"""One build from request to result: the recipe, read from top to bottom."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import UsageError
from viaduct.base.events import Warned
from viaduct.base.values import Mutable
from viaduct.dockerfile import frontend, parse
from viaduct.dockerfile import lower as lowering
from viaduct.dockerfile.contexts import context_name
from viaduct.dockerfile.options import LowerOptions
from viaduct.engine import checks, exports, inputs, shop
from viaduct.engine.operations import Memory, Operations
from viaduct.engine.request import BuildResult, BuiltImage
from viaduct.engine.resolver import EngineResolver
from viaduct.export.image import PlatformResult
from viaduct.graph.node import walk
from viaduct.graph.ops import Exec
from viaduct.oci import platform as platforms
from viaduct.ops.attachments import Attachments, Secrets
from viaduct.ops.exec import Bench
from viaduct.ops.trees import Filesystem
from viaduct.solve.engine import solve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from viaduct.base.events import Event, Sink
    from viaduct.base.tasks import Stop
    from viaduct.dockerfile.options import Lowered
    from viaduct.dockerfile.syntax import Document
    from viaduct.engine.request import BuildRequest
    from viaduct.engine.shop import Shop
    from viaduct.export.docker_engine import DockerEngine
    from viaduct.graph.node import Edge
    from viaduct.oci.platform import Platform
    from viaduct.ops.trees import LocalTree
    from viaduct.sandbox.runtime import Runtime


class _Witness(Mutable):
    """Passes events on and keeps the warnings for the result."""

    sink: Sink
    warnings: list[Warned] = msgspec.field(default_factory=list)
    lock: threading.Lock = msgspec.field(default_factory=threading.Lock)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Warned):
            with self.lock:
                self.warnings.append(event)
        self.sink(event)


def run(request: BuildRequest, sink: Sink, stop: Stop, *, env: Mapping[str, str]) -> BuildResult:
    """Carry out `request` inside of the namespaces; see `viaduct.api.build`."""
    witness = _Witness(sink)
    now = time.time()
    wanted = request.platforms or (platforms.native(),)
    asks = request.call != "build"
    engine = None if asks else _docker_engine(request, env, witness)
    if not asks:
        exports.check(request, len(wanted), engine)
    with contextlib.ExitStack() as stack:
        opened = stack.enter_context(shop.opened(request, witness, stop, env))
        evaluate = stack.enter_context(_evaluator(opened, request))
        found = inputs.load(opened, request, lambda edge: _materialize(opened, evaluate, edge))
        _check_frontend(witness, request, found)
        options = _options(request, several=len(wanted) > 1)
        if asks:
            from viaduct.engine import calls

            return calls.answer(opened, request, found, options)
        document = parse.parse(found.dockerfile)
        resolver = EngineResolver(opened, found)
        lowered = _lower(document, options, wanted, resolver)
        _warn(witness, opened, request, found, document, lowered)
        edges = [leg.root for leg in lowered if leg.root is not None]
        _prepare_emulators(stack, edges)
        results = iter(evaluate(edges, resolver.locals))
        legs = [
            PlatformResult(
                leg.platform if request.platforms else _own_platform(leg),
                _filesystem(next(results)) if leg.root is not None else Filesystem(),
                leg.config,
            )
            for leg in lowered
        ]
        done = exports.Exporter(
            opened,
            request,
            legs,
            now=now,
            epoch=lowered[0].epoch,
            index=_flag(request.build_args, "BUILDKIT_MULTI_PLATFORM"),
            engine=engine,
        ).run()
    return _result(done, witness)


def _check_frontend(witness: _Witness, request: BuildRequest, found: inputs.Inputs) -> None:
    """Refuse a file in a language that we do not read, before reading it."""
    asked = frontend.requested_frontend(found.dockerfile, request.build_args)
    if asked is not None and asked.labs:
        text = f"{asked.reference} is the channel of experiments: some of them may be missing here"
        witness(Warned(text, time.time(), where=asked.where))


def _docker_engine(
    request: BuildRequest, env: Mapping[str, str], sink: Sink
) -> DockerEngine | None:
    if not any(output.load for output in request.outputs):
        return None
    from viaduct.export import docker_context, docker_engine

    engine = docker_engine.find(env)
    if engine is None and (asked := docker_context.asked(env)):
        text = f"The Docker engine of {asked} does not answer: the image goes to the local store"
        sink(Warned(text, time.time()))
    return engine


def _options(request: BuildRequest, *, several: bool) -> LowerOptions:
    return LowerOptions(
        build_args=request.build_args,
        target=request.target,
        labels=request.labels,
        no_cache=request.no_cache,
        no_cache_filter=request.no_cache_filter,
        named_contexts={
            _context_key(name): value for name, value in request.named_contexts.items()
        },
        network=request.network,
        add_hosts=request.add_hosts,
        shm_size=request.shm_size,
        ulimits=request.ulimits,
        allow=frozenset(request.allow),
        explicit_platform=bool(request.platforms),
        multi_platform=several,
    )


def _context_key(name: str) -> str:
    plain, mark, platform = name.partition("::")
    return f"{context_name(plain)}{mark}{platforms.parse(platform)}" if mark else context_name(name)


def _lower(
    document: Document,
    options: LowerOptions,
    wanted: Sequence[Platform],
    resolver: EngineResolver,
) -> list[Lowered]:
    """The legs of the build. The images that they stand on are asked for side by side."""
    images = [
        image
        for platform in wanted
        for image in lowering.required_images(document, options, platform)
    ]
    resolver.shop.bases.prepare(tuple(dict.fromkeys(images)))
    return [lowering.lower(document, options, platform, resolver) for platform in wanted]


def _warn(
    witness: _Witness,
    opened: Shop,
    request: BuildRequest,
    found: inputs.Inputs,
    document: Document,
    lowered: Sequence[Lowered],
) -> None:
    """Build checks, and build arguments that nothing reads."""
    report = checks.findings(opened, request, found, document, lowered[0])
    for event in report.events(time.time()):
        witness(event)
    if (failure := report.failure()) is not None:
        raise failure
    if unused := lowered[0].unused_build_args:
        names = ", ".join(unused)
        text = f"One or more build-args [{names}] were not consumed"
        witness(Warned(text, time.time()))


def _prepare_emulators(stack: contextlib.ExitStack, edges: Sequence[Edge]) -> None:
    """Make every platform that a step needs runnable, before anything runs."""
    needed = {
        platforms.parse(node.platform)
        for node in walk(edges)
        if isinstance(node.op, Exec) and node.platform
    }
    if needed <= {platforms.native()}:
        return
    from viaduct.sandbox.emulate import Emulators

    emulators = Emulators(own_namespace=True)
    stack.callback(emulators.close)
    emulators.ensure(sorted(needed))


def _runtime(opened: Shop) -> Callable[[], Runtime]:
    """Finds the OCI runtime when a command has to run; a build may do without."""

    @functools.cache
    def find() -> Runtime:
        from viaduct.sandbox.runtime import Runtime

        return Runtime.find(opened.run)

    return find


@contextlib.contextmanager
def _evaluator(opened: Shop, request: BuildRequest) -> Iterator[_Evaluate]:
    with contextlib.ExitStack() as stack:
        bench = Bench(_runtime(opened), _attachments(opened, request, stack))
        memory = Memory(opened.store, opened.trees)
        # Two at least: steps wait for networks more often than for the processor.
        jobs = request.jobs or max(2, shop.cores())

        def evaluate(
            edges: Sequence[Edge], locals_: Mapping[str, Path]
        ) -> list[Filesystem | LocalTree]:
            operations = Operations(opened, locals_, bench)
            found = solve(
                edges,
                resolve=operations,
                cache=memory,
                sink=opened.sink,
                stop=opened.stop,
                jobs=jobs,
            )
            return [_tree(result) for result in found]

        yield evaluate


if TYPE_CHECKING:
    _Evaluate = Callable[[Sequence[Edge], Mapping[str, Path]], list[Filesystem | LocalTree]]


def _tree(result: object) -> Filesystem | LocalTree:
    from viaduct.ops.trees import LocalTree

    assert isinstance(result, Filesystem | LocalTree)
    return result


def _own_platform(leg: Lowered) -> Platform:
    """What an image is for when nobody said it: its last stage may stand on another platform."""
    made = leg.config
    if not (made.os and made.architecture):
        return leg.platform
    return platforms.normalize(
        platforms.Platform(made.os, made.architecture, made.variant, made.os_version)
    )


def _filesystem(result: Filesystem | LocalTree) -> Filesystem:
    assert isinstance(result, Filesystem)
    return result


def _materialize(opened: Shop, evaluate: _Evaluate, edge: Edge) -> Path:
    (found,) = evaluate([edge], {})
    return opened.trees.view(_filesystem(found), opened.stop)


def _attachments(opened: Shop, request: BuildRequest, stack: contextlib.ExitStack) -> Attachments:
    files = {s.id: Path(s.path) for s in request.secrets if s.path}
    variables = {s.id: opened.env.get(s.env, "") for s in request.secrets if s.env}
    for secret in request.secrets:
        if secret.path and not os.path.isfile(secret.path):
            raise UsageError(f"failed to stat {secret.path}: no such file", hint="check --secret")
    agents = {}
    for agent in request.ssh:
        if any(not _is_socket(path) for path in agent.paths):
            from viaduct.ops import ssh

            agents[agent.id] = stack.enter_context(ssh.agent_with_keys(agent.paths))
        elif socket := (*agent.paths, opened.env.get("SSH_AUTH_SOCK", ""))[0]:
            agents[agent.id] = socket
        else:
            raise UsageError(
                f"invalid empty ssh agent socket: {agent.id}", hint="start an agent, or name a key"
            )
    return Attachments(
        trees=opened.trees,
        hashes=opened.store.hashes,
        caches=opened.store.cache_mounts,
        secrets=Secrets(files, variables),
        agents=agents,
        run=opened.run,
    )


def _is_socket(path: str) -> bool:
    return Path(path).is_socket()


def _flag(build_args: Mapping[str, str], name: str) -> bool:
    return build_args.get(name, "").lower() in ("1", "t", "true")


def _result(done: exports.Exports, witness: _Witness) -> BuildResult:
    image = done.image
    return BuildResult(
        root=image.root if image else None,
        images=tuple(
            BuiltImage(i.platform, i.manifest, i.config) for i in (image.images if image else ())
        ),
        names=tuple(done.names),
        warnings=tuple(witness.warnings),
        ref=os.urandom(12).hex(),
    )
