"""`viaduct build`."""

from __future__ import annotations

import copy
import sys
from typing import TYPE_CHECKING, Any

from viaduct.base.errors import NotFound, StepFailed, UsageError, ViaductError
from viaduct.cli import build_options
from viaduct.cli.command import implements
from viaduct.cli.failure import Leave
from viaduct.cli.options import arguments
from viaduct.cli.out import echo
from viaduct.cli.terminal import visible

if TYPE_CHECKING:
    from collections.abc import Collection

    from viaduct.cli.build_request import BuildCall
    from viaduct.cli.progress.display import Display
    from viaduct.cli.session import Session
    from viaduct.engine.builder.values import Builder
    from viaduct.engine.request import BuildResult


@implements("build", aliases=("b",))
@build_options.declare
@arguments("PATH | URL | -", least=1, most=1, directories=True)
def command(session: Session, /, args: tuple[str, ...], **given: Any) -> None:
    """Start a build."""
    from viaduct.cli import metadata
    from viaduct.cli.build_request import BuildFlags, read
    from viaduct.engine.builders import Builders

    notices = build_options.take_legacy(given)
    builders = Builders.of(session.env)
    builder = builders.find(session.builder)
    if not builder.nodes:
        raise NotFound(
            f'builder "{builder.name}" has no nodes',
            hint=f"viaduct create --name {builder.name} --append",
        )
    try:
        call = read(
            BuildFlags(**given),
            args[0],
            session.env,
            stdout_is_terminal=sys.stdout.isatty(),
            default_load=_loads(builder, session),
        )
    except ViaductError as error:
        raise _prefixed(error, "failed to build") from error
    for notice in (*notices, *call.notices):
        echo(f"WARNING: {notice}", err=True)
    if call.iidfile:
        metadata.forget(call.iidfile)
    started = builders.start(builder)
    builders.note_use(builder)
    result = _build(call, session, builder, started)
    _report(call, result, session, builder)


def _loads(builder: Builder, session: Session) -> bool:
    """Whether a build with no output of its own loads its image."""
    switched_off = session.env.get("BUILDX_NO_DEFAULT_LOAD", "").lower() in ("1", "t", "true")
    return builder.default_load and not (builder.driver == "docker" and switched_off)


def _build(
    call: BuildCall, session: Session, builder: Builder, started: Collection[str]
) -> BuildResult:
    """Run the build under a display; its failure says what to try. `started` are the builder's
    nodes that did not run before."""
    from viaduct import api
    from viaduct.cli.progress.display import Display, renderer
    from viaduct.cli.stopping import stoppable
    from viaduct.engine.work import work
    from viaduct.sandbox import enter

    # Before the display's thread exists: a process with threads cannot enter a user namespace.
    namespace = enter.enter()
    if namespace.advice:
        echo(f"WARNING: {namespace.advice}", err=True)
    who = {"builder": builder.name, "driver": builder.driver}
    view = renderer(call.mode, sys.stderr, session.env, **who)
    display = Display(view, session.env)
    try:
        with stoppable() as stop, display:
            if started:
                with work(display.sink, stop, f"[internal] booting builder {builder.name}") as job:
                    for node in started:
                        job.status(f"starting {node}", done=True)
            return api.build(call.request, display.sink, stop=stop)
    except UsageError as error:
        raise _prefixed(error, "failed to build") from error
    except ViaductError as error:
        told = _advised(error, display) if isinstance(error, StepFailed) else error
        raise _prefixed(told, "failed to build: failed to solve") from error
    finally:
        _warn(call, session, display)


def _warn(call: BuildCall, session: Session, display: Display) -> None:
    from viaduct.cli.progress.warned import summary

    if call.mode in ("none", "quiet", "rawjson") or call.call.method == "check":
        return
    text = summary(display.warnings, debug=session.debug, color=session.colors)
    echo(text, err=True, nl=False)


def _report(call: BuildCall, result: BuildResult, session: Session, builder: Builder) -> None:
    """Write the files, print what goes to standard output, and leave with a check's status."""
    from viaduct.cli import metadata

    identity = metadata.image_id(result)
    if call.iidfile:
        metadata.write(call.iidfile, identity.encode(), "--iidfile")
    if call.metadata_file:
        ran_on = f"{builder.name}/{builder.nodes[0].name}"
        document = metadata.document(result, result.warnings, session.env, builder=ran_on)
        metadata.write(call.metadata_file, metadata.encode(document), "--metadata-file")
    if call.print_id:
        echo(identity)
    if result.report:
        # It quotes the Dockerfile, which is not to drive the terminal.
        shown = visible(result.report) if sys.stdout.isatty() else result.report
        echo(shown, nl=False)
    if result.failure is not None:
        raise result.failure
    if result.status and not call.call.ignore_status:
        raise Leave(result.status)


def _advised(error: StepFailed, display: Display) -> StepFailed:
    """The error with one sentence of what to try, if it has none yet."""
    if error.hint:
        return error
    from viaduct.cli.progress.advice import advice

    step = display.steps.get(error.vertex)
    tail = b"\n".join(line.data for line in step.last_lines()) if step else b""
    told = copy.copy(error)
    told.hint = advice(
        error.exit_code, tail.decode(errors="replace"), emulated=bool(step and step.emulated)
    )
    return told


def _prefixed(error: ViaductError, prefix: str) -> ViaductError:
    told = copy.copy(error)
    told.what = f"{prefix}: {error.what}"
    return told
