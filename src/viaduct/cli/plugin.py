"""Viaduct as Docker's plugin `buildx`: what the file that `viaduct install` writes starts.

Docker's command line asks a plugin for its metadata before every command that it passes on, so that
answer comes before anything else is imported.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import viaduct

METADATA = "docker-cli-plugin-metadata"


def main() -> NoReturn:
    """Carry out the process's command line as docker gave it, and end the process."""
    args = sys.argv[1:]
    if args[:1] == [METADATA]:
        print(metadata())  # noqa: T201 - nothing is imported that could print it
        sys.exit(0)
    from viaduct.cli import docker_call, hangup
    from viaduct.cli import main as program

    call = docker_call.read(args, os.environ)
    os.environ.update(call.env)
    if call.completing:
        docker_call.complete(program.root, call)
        program.end(0)
    with hangup.watched(os.environ):
        status = program.run(call.prog, call.args)
    program.end(status)


def metadata() -> str:
    """Who this is, as docker wants to know it: one JSON document."""
    return (
        '{"SchemaVersion":"0.1.0","Vendor":"Viaduct",'
        f'"Version":"v{viaduct.__version__}",'
        '"ShortDescription":"Build images for every architecture (Viaduct)"}'
    )
