"""`viaduct version`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import viaduct
from viaduct.cli.command import implements
from viaduct.cli.options import arguments
from viaduct.cli.out import echo

if TYPE_CHECKING:
    from viaduct.cli.session import Session


@implements("version")
@arguments("", most=0)
def command(_session: Session, /, args: tuple[str, ...]) -> None:  # noqa: ARG001 - checked to be empty
    """Show the version."""
    from viaduct.oci.platform import native

    system = sys.platform if sys.platform != "linux" else str(native())
    echo(f"viaduct v{viaduct.__version__} {system}")
