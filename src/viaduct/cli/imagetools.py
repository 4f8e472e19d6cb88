"""`viaduct imagetools`: images in registries."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import UsageError
from viaduct.cli import commands
from viaduct.cli.command import Group, implements
from viaduct.cli.options import REGISTRY_INSECURE, arguments, switch, text, texts
from viaduct.cli.out import echo, pass_on

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from viaduct.base.tasks import Stop
    from viaduct.cli.session import Session
    from viaduct.registry.client import Client


@contextlib.contextmanager
def connected(
    session: Session, insecure: Sequence[str], mirrors: Sequence[str]
) -> Iterator[tuple[Client, Stop]]:
    """A client of registries with the options of the command line, and the stop that a signal sets
    for it."""
    from viaduct.cli import values
    from viaduct.cli.stopping import stoppable
    from viaduct.registry import client as registry

    options = values.registries(insecure, mirrors)
    with stoppable() as stop:
        client = registry.connect(
            session.env, insecure=options.insecure, mirrors=options.mirrors, stop=stop
        )
        try:
            yield client, stop
        finally:
            client.close()


command = Group(rows=commands.IMAGETOOLS, help="Work on images in registries.")


@implements("inspect")
@text("--format", metavar="template", help="Print this Go template, like '{{json .Manifest}}'")
@switch("--raw", help="Print the manifest's or index's bytes as the registry has them")
@REGISTRY_INSECURE
@texts("--registry-mirror", metavar="host=url", help="Read from a mirror of this registry")
@arguments("NAME", least=1, most=1)
def inspect(
    session: Session,
    /,
    args: tuple[str, ...],
    *,
    format: str,  # noqa: A002 - the option's name
    raw: bool,
    registry_insecure: tuple[str, ...],
    registry_mirror: tuple[str, ...],
) -> None:
    """Show the details of an image in a registry, or in an oci-layout://DIRECTORY[:TAG]."""
    from viaduct.cli import inspected
    from viaduct.cli.inspected import Inspected
    from viaduct.cli.terminal import visible
    from viaduct.engine import places

    if format and raw:
        raise UsageError("format and raw cannot be used together")
    with connected(session, registry_insecure, registry_mirror) as (client, stop):
        place = places.parse(args[0], client)
        document = place.document()
        found = Inspected(args[0], place, document.descriptor, document.data)
        if format:
            from viaduct.engine import inspection

            seen = inspection.inspect(place, document, stop)
            found = msgspec.structs.replace(
                found,
                configs=seen.configs,
                # Only a template that names them is worth fetching them for.
                sbom=seen.sboms() if "SBOM" in format else {},
                provenance=seen.provenances() if "Provenance" in format else {},
            )
    if raw:
        if sys.stdout.isatty():
            echo(visible(found.raw.decode(errors="replace")), nl=False)
        else:
            pass_on(found.raw)
    elif format:
        out = inspected.formatted(found, format)
        echo(visible(out) if sys.stdout.isatty() else out, nl=False)
    else:
        echo(inspected.text(found), nl=False)
        if cause := inspected.probable_cause(found):
            echo(f"NOTE: {cause}", err=True)
