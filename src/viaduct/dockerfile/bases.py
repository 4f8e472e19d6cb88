"""What stages stand on: images, named contexts, nothing; and the triggers that come with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.base.errors import DockerfileError, ViaductError
from viaduct.dockerfile.imagestate import ImageState, empty_image, without_created
from viaduct.dockerfile.naming import step_name
from viaduct.dockerfile.parse import parse_trigger
from viaduct.dockerfile.stages import SCRATCH, complete_reference
from viaduct.dockerfile.state import reachable
from viaduct.dockerfile.suggest import with_suggestion
from viaduct.dockerfile.syntax import Onbuild
from viaduct.graph.node import Edge, Node
from viaduct.graph.ops import Copy, File, ImageSource, LocalSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viaduct.dockerfile.options import LoadedContext, Resolver
    from viaduct.dockerfile.stages import Plan
    from viaduct.dockerfile.state import StageState
    from viaduct.oci.models import ImageConfig
    from viaduct.oci.platform import Platform

_COMMON_IMAGES = tuple(
    spelling
    for name in "alpine busybox centos debian golang ubuntu fedora".split()
    for spelling in (name, f"{name}:latest")
)


def wanted_images(plan: Plan) -> Iterator[tuple[str, Platform]]:
    """Complete references that the target needs, as far as can be said without asking.

    ONBUILD triggers of these images may need more. Names that make no sense are left out:
    `resolve_bases` tells of them, with their place.
    """
    for state in _in_order(plan):
        if not _has_image(state):
            continue
        platform = state.platform or plan.platform
        try:
            reference = complete_reference(state.base_name)
        except ViaductError:
            continue
        if not state.context_key and not plan.context_key(str(reference), platform):
            yield str(reference), platform


def resolve_bases(plan: Plan, resolver: Resolver) -> None:
    """Give every stage that the target needs its base, and run what triggers ask for.

    Raises `DockerfileError`, or what the resolver raises with the place of the FROM.
    """
    more = True
    while more:
        more = False
        needed = _in_order(plan)
        # Names are checked even where nobody needs the image: a mistake is a mistake.
        for state in plan.table.states[:]:
            if state.base is None and not state.resolved:
                state.resolved = state in needed
                try:
                    _resolve(plan, resolver, state)
                except ViaductError as error:
                    error.where = error.where or state.where
                    raise
        for state in needed:
            state.inherit()
            more |= _read_triggers(plan, state)


def _in_order(plan: Plan) -> dict[StageState, None]:
    """The stages that are needed, in the order of the file."""
    if plan.options.all_stages:
        return dict.fromkeys(plan.table.states)
    needed = set(reachable(plan.target))
    return dict.fromkeys(state for state in plan.table.states if state in needed)


def _has_image(state: StageState) -> bool:
    return state.base is None and (state.base_name != SCRATCH or bool(state.context_key))


def _resolve(plan: Plan, resolver: Resolver, state: StageState) -> None:
    if not _has_image(state):
        state.image = empty_image(plan.platform, plan.epoch)
        state.platform = plan.platform
    elif state.context_key:
        if state.resolved:
            _take_named_stage(plan, resolver, state)
    else:
        _take_image(plan, resolver, state)
    if state.stage is None:
        state.dispatched = True


def _load(plan: Plan, resolver: Resolver, key: str, platform: Platform) -> LoadedContext:
    return resolver.named_context(key, plan.options.named_contexts[key], platform)


def _root_of(plan: Plan, state: StageState, edge: Edge | None) -> Edge | None:
    """What a stage can stand on: a directory of the person's is copied into an image first."""
    if edge is None or state.stage is None or not isinstance(edge.node.op, LocalSource):
        return edge
    copy = File(actions=(Copy(input=0, source="/", dest="/", wildcard=False),), base=-1)
    return Edge(
        Node(
            copy, (edge,), name=edge.node.name, platform_group=str(plan.platform), where=state.where
        )
    )


def _take_named_stage(plan: Plan, resolver: Resolver, state: StageState) -> None:
    """A named context in place of a whole stage."""
    loaded = _load(plan, resolver, state.context_key, state.platform or plan.platform)
    state.dispatched = True
    state.edge = _root_of(plan, state, loaded.edge)
    if loaded.config is None:
        return
    _start_from(plan, state, loaded.config)
    if loaded.config.architecture and loaded.config.os:
        state.platform = loaded.config.platform()


def _take_image(plan: Plan, resolver: Resolver, state: StageState) -> None:
    written = state.base_name
    reference = complete_reference(written)
    platform = state.platform or plan.platform
    if not state.resolved:
        return
    key = plan.context_key(str(reference), platform)
    state.platform = platform
    if key:
        loaded = _load(plan, resolver, key, platform)
        state.edge = _root_of(plan, state, loaded.edge)
        if loaded.config is None:
            state.image = empty_image(platform, plan.epoch)
        else:
            state.base_config = loaded.config
            _start_from(plan, state, loaded.config)
        return
    try:
        image = resolver.resolve_image(str(reference), platform)
    except ViaductError as error:
        # Most errors of a registry begin with the name already.
        named = error.what if error.what.startswith(written) else f"{written}: {error.what}"
        error.what = with_suggestion(named, written, (*plan.table.labels(), *_COMMON_IMAGES))
        error.args = (error.what,)
        raise
    state.base_config = image.config
    _start_from(plan, state, image.config)
    if not _is_empty(image.config):
        state.edge = Edge(
            Node(
                ImageSource(reference=image.reference, layout=image.layout),
                platform=str(platform),
                name=step_name(state, f"FROM {image.pinned or image.reference}", platform, {}),
                platform_group=str(plan.platform),
                where=state.where,
            )
        )


def _start_from(plan: Plan, state: StageState, config: ImageConfig) -> None:
    state.image_config = config
    state.image = ImageState(without_created(config), plan.epoch)


def _is_empty(config: ImageConfig) -> bool:
    """An image of no layers is nothing to mount."""
    return not config.rootfs.diff_ids and all(entry.empty_layer for entry in config.history)


def _read_triggers(plan: Plan, state: StageState) -> bool:
    """Put ONBUILD triggers of the base before the stage's own instructions.

    True when they read from stages or images that were not needed before.
    """
    expressions = list(state.image.on_build)
    if state.base is not None and not state.triggers_read:
        expressions += [
            command.instruction.expression
            for command in state.base.commands
            if isinstance(command.instruction, Onbuild)
        ]
        state.triggers_read = True
    if not expressions:
        return False
    state.image.on_build.clear()
    commands = []
    for expression in expressions:
        trigger = parse_trigger(expression, state.where)
        try:
            commands.append(plan.command(state, trigger, in_trigger=True))
        except DockerfileError as error:
            error.where = state.where
            raise
        state.triggers.append(trigger)
    state.commands[:0] = commands
    state.step_count += len(commands)
    return any(command.sources for command in commands)
