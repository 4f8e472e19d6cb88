"""The front door of lowering: a document and a platform in, graph and image configuration out.

Everything here is pure but for what the `Resolver` does. The stages of the work are modules:

    arguments   what FROM lines see
    stages      names, order, who reads from whom      → Plan
    bases       images, named contexts, ONBUILD        (asks the resolver)
    dispatch    instruction by instruction             (configure, copying, running)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile.arguments import GlobalArgs, unused_args
from viaduct.dockerfile.bases import resolve_bases, wanted_images
from viaduct.dockerfile.dispatch import dispatch_stage
from viaduct.dockerfile.epoch import resolve_epoch, timestamp
from viaduct.dockerfile.leg import Leg
from viaduct.dockerfile.options import Lowered, StageBase
from viaduct.dockerfile.outline import outline_of
from viaduct.dockerfile.stages import Plan
from viaduct.dockerfile.state import reachable
from viaduct.oci.platform import Platform, normalize

if TYPE_CHECKING:
    from viaduct.dockerfile.options import LowerOptions, Resolver
    from viaduct.dockerfile.state import StageState
    from viaduct.dockerfile.syntax import Document
    from viaduct.oci.models import ImageConfig


def lower(
    document: Document, options: LowerOptions, platform: Platform, resolver: Resolver
) -> Lowered:
    """Lower a Dockerfile for one platform.

    Raises `DockerfileError` with the place of what is wrong, or what the resolver raises.
    """
    platform = normalize(platform)
    args = _global_args(document, options, platform)
    epoch = resolve_epoch(document, options, args, platform, resolver)
    plan = Plan(document, options, platform, args, timestamp(epoch))
    resolve_bases(plan, resolver)
    leg = Leg(plan, resolver, epoch)
    needed = set(reachable(plan.target))
    for state in plan.table.states:
        wanted = state in needed or options.all_stages
        if wanted and state.stage is not None and not state.dispatched:
            dispatch_stage(leg, state)
    states = [state for state in plan.table.states if state in needed or options.all_stages]
    declared = {key for state in states for key in state.args}
    return Lowered(
        root=plan.target.edge,
        config=_final_config(plan.target, options, platform),
        base=plan.target.base_config,
        platform=platform,
        epoch=epoch,
        context_paths=_context_paths(leg.context_paths),
        unused_build_args=tuple(unused_args(document, declared, options.build_args)),
        bases=tuple(map(_stage_base, filter(_stands_on_image, states))),
        outline=outline_of(plan.target),
    )


def required_images(
    document: Document, options: LowerOptions, platform: Platform
) -> tuple[tuple[str, Platform], ...]:
    """Complete references with the platforms that a build will ask its resolver for.

    For asking side by side beforehand; ONBUILD triggers of these images may need more. Raises
    `DockerfileError`.
    """
    platform = normalize(platform)
    plan = Plan(document, options, platform, _global_args(document, options, platform), "")
    return tuple(dict.fromkeys(wanted_images(plan)))


def _global_args(document: Document, options: LowerOptions, platform: Platform) -> GlobalArgs:
    if not document.stages:
        raise DockerfileError(
            "dockerfile contains no stages to build", hint="add a FROM instruction"
        )
    return GlobalArgs(document, options, platform)


def _final_config(target: StageState, options: LowerOptions, platform: Platform) -> ImageConfig:
    image = target.image
    image.labels.update(options.labels)
    if options.explicit_platform:
        before = image.platform
        other = (before.os, before.architecture) != (platform.os, platform.architecture)
        image.platform = Platform(
            platform.os,
            platform.architecture,
            platform.variant if platform.variant or other else before.variant,
            platform.os_version if platform.os_version or other else before.os_version,
            platform.os_features or before.os_features,
        )
    return image.config()


def _context_paths(paths: set[str]) -> tuple[str, ...] | None:
    return None if "/" in paths else tuple(sorted(path.removeprefix("/") for path in paths))


def _stands_on_image(state: StageState) -> bool:
    return state.base is None and state.image_config is not None


def _stage_base(state: StageState) -> StageBase:
    assert state.platform is not None
    return StageBase(
        index=state.stage.index if state.stage else -1,
        line=state.where.start,
        reference=state.base_name,
        wanted=state.platform,
        config=state.image_config,
        triggers=tuple(state.triggers),
    )
