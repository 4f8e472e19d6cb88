"""SOURCE_DATE_EPOCH: a number, or the source whose age the image is to have."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile.contexts import is_http
from viaduct.dockerfile.expand import expand_word
from viaduct.dockerfile.giturl import parse_git
from viaduct.dockerfile.gotext import parse_int
from viaduct.dockerfile.stages import SCRATCH
from viaduct.dockerfile.syntax import Arg, CopyAdd
from viaduct.graph.node import Edge, Node
from viaduct.graph.ops import HttpSource

if TYPE_CHECKING:
    from viaduct.dockerfile.arguments import GlobalArgs
    from viaduct.dockerfile.options import LowerOptions, Resolver
    from viaduct.dockerfile.syntax import Document, Stage
    from viaduct.oci.platform import Platform

KEY = "SOURCE_DATE_EPOCH"
_NOT_ONE = "SOURCE_DATE_EPOCH stage must contain exactly one remote ADD"


def resolve_epoch(
    document: Document,
    options: LowerOptions,
    args: GlobalArgs,
    platform: Platform,
    resolver: Resolver,
) -> int | None:
    """Seconds since the epoch, or None; `args` then hold the number instead of what was written.

    Besides a number, the value may be `context`, a named context, or a stage that does nothing but
    ADD one remote source. Raises `DockerfileError`.
    """
    text = args.build_args.get(KEY)
    if text is None:
        text = args.values.get(KEY) or None
    if text is None:
        return None
    epoch = None
    if text:
        try:
            epoch = parse_int(text)
        except ValueError:
            epoch = _of_source(text, document, options, args, platform, resolver)
    args.settle_epoch(epoch)
    return epoch


def timestamp(epoch: int | None) -> str:
    """RFC 3339, as histories have it; empty for None. Raises `DockerfileError`."""
    if epoch is None:
        return ""
    try:
        moment = datetime.datetime.fromtimestamp(epoch, tz=datetime.UTC)
    except (ValueError, OverflowError, OSError):
        raise DockerfileError(f"invalid SOURCE_DATE_EPOCH: {epoch}") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def _of_source(
    text: str,
    document: Document,
    options: LowerOptions,
    args: GlobalArgs,
    platform: Platform,
    resolver: Resolver,
) -> int | None:
    if text == "context":
        return resolver.source_epoch(resolver.main_context())
    if text in options.named_contexts:
        loaded = resolver.named_context(text, options.named_contexts[text], platform)
        return None if loaded.edge is None else resolver.source_epoch(loaded.edge)
    for stage in document.stages:
        if stage.name and stage.name == text.lower():
            try:
                return resolver.source_epoch(_only_source(stage, document.escape, args))
            except DockerfileError as error:
                error.where = error.where or stage.start.span
                raise
    raise DockerfileError(
        f"invalid SOURCE_DATE_EPOCH: {text}", hint="give seconds since 1970, or `context`"
    )


def _only_source(stage: Stage, escape: str, args: GlobalArgs) -> Edge:
    env = {key: value for key, value in args.values.items() if key != KEY}
    if expand_word(stage.start.base.text, env, escape=escape) != SCRATCH:
        raise DockerfileError("SOURCE_DATE_EPOCH stage must use FROM scratch")
    source: Edge | None = None
    for instruction in stage.instructions:
        if isinstance(instruction, Arg):
            for pair in instruction.pairs:
                key = pair.key.text
                if key in args.build_args:
                    env[key] = args.build_args[key]
                elif pair.value is not None:
                    env[key] = expand_word(pair.value.text, env, escape=escape)
        elif isinstance(instruction, CopyAdd) and instruction.is_add:
            if source is not None:
                raise DockerfileError(_NOT_ONE)
            source = _added(instruction, env, escape)
        else:
            raise DockerfileError(
                "SOURCE_DATE_EPOCH stage does not meet source-only requirements: "
                f"unsupported {instruction.keyword} instruction"
            )
    if source is None:
        raise DockerfileError(_NOT_ONE)
    return source


def _added(instruction: CopyAdd, env: dict[str, str], escape: str) -> Edge:
    if instruction.contents or len(instruction.sources) != 1:
        raise DockerfileError(f"{_NOT_ONE} source")
    text = expand_word(instruction.sources[0].text, env, escape=escape)
    checksum = expand_word(instruction.flag("checksum") or "", env, escape=escape)
    git = parse_git(text)
    if git is not None and not git.local_lookalike:
        keep = instruction.is_set("keep-git-dir")
        return Edge(Node(git.source(keep_git_dir=keep, checksum=checksum)))
    if is_http(text):
        return Edge(Node(HttpSource(url=text, checksum=checksum)))
    raise DockerfileError("SOURCE_DATE_EPOCH stage source must be a single HTTP(S) or Git ADD")
