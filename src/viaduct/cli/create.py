"""`viaduct create`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from viaduct.base.errors import UsageError
from viaduct.cli import builder_options
from viaduct.cli.command import implements
from viaduct.cli.options import arguments, switch, text, texts
from viaduct.cli.out import echo

if TYPE_CHECKING:
    from viaduct.cli.session import Session
    from viaduct.engine.builders import Builders

_DRIVERS = ("docker-container", "embedded", "kubernetes")


@implements("create")
@switch("--append", help="Add a node to the builder instead of changing it")
@switch("--bootstrap", help="Start the builder")
@text("--buildkitd-config", path=True, metavar="path",
      help="Configuration of a BuildKit daemon (no effect)")  # fmt: skip
@text("--buildkitd-flags", help="Flags of a BuildKit daemon (no effect)")
@text("--config", path=True, hidden=True, help="The old name of --buildkitd-config")
@text("--driver", choices=_DRIVERS, help=f"Driver: {', '.join(_DRIVERS)}; all build right here")
@texts("--driver-opt", metavar="key=value", help="An option of the driver, like default-load=true")
@switch("--leave", help="Remove a node from the builder instead of changing it")
@text("--name", help="Name of the builder")
@text("--node", help="Make or change the node of this name")
@texts("--platform", metavar="os/arch", help="Platforms of the node, instead of those found out")
@builder_options.timeout
@switch("--use", help="Make it the builder in use")
@arguments("[CONTEXT|ENDPOINT]", most=1)
def command(
    session: Session,
    /,
    args: tuple[str, ...],
    *,
    append: bool,
    bootstrap: bool,
    buildkitd_config: str,
    buildkitd_flags: str,
    config: str,
    driver: str,
    driver_opt: tuple[str, ...],
    leave: bool,
    name: str,
    node: str,
    platform: tuple[str, ...],
    timeout: str,  # noqa: ARG001 - as its help says
    use: bool,
) -> None:
    """Create a builder, or change the nodes of one."""
    from viaduct.engine.builder.edit import Wish
    from viaduct.engine.builders import Builders
    from viaduct.oci.platform import parse_list

    builders = Builders.of(session.env)
    if leave:
        _leave(builders, name, node)
        return
    if append and not name:
        raise UsageError("append requires a builder name", hint="add --name")
    wish = Wish(
        name=name or builders.free_name(),
        driver=driver,
        node=node,
        endpoint=args[0] if args else "",
        platforms=parse_list(platform),
        driver_opts=driver_opt,
        flags=_words(buildkitd_flags),
        files=_configuration(buildkitd_config or config),
        append=append,
    )
    builder = builders.create(wish, use=use)
    if bootstrap:
        builder_options.boot(builders, builder)
    echo(builder.name)
    given = {
        "buildkitd-config": buildkitd_config or config,
        "buildkitd-flags": buildkitd_flags,
    }
    builder_options.say_without_effect(given)
    for one in builder.nodes:
        if one.elsewhere:
            text = f"{one.endpoint} is not asked: node {one.name} builds on this machine"
            echo(f"WARNING: {text}", err=True)


def _leave(builders: Builders, name: str, node: str) -> None:
    if not name:
        raise UsageError("leave requires instance name", hint="add --name")
    if not node:
        raise UsageError("leave requires node name", hint="add --node")
    builders.leave(name, node)


def _words(flags: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(flags))
    except ValueError as error:
        raise UsageError(f"failed to parse buildkit flags: {error}") from error


def _configuration(path: str) -> dict[str, bytes]:
    """The file that came with `--buildkitd-config`, as builders keep it."""
    if not path:
        return {}
    try:
        return {"buildkitd.toml": Path(path).read_bytes()}
    except OSError as error:
        raise UsageError(
            f"cannot read --buildkitd-config {path}: {error.strerror}", hint="name a file"
        ) from error
