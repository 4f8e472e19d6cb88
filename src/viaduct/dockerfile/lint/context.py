"""What a Dockerfile's text cannot tell, and those who resolve a build can: the door for facts.

Every field may be left out. A check that needs a missing fact finds nothing, so that `--check`
works without a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from viaduct.dockerfile.syntax import Instruction
from viaduct.oci.platform import Platform


class BaseFacts(msgspec.Struct, frozen=True):
    """What is known of the image that a stage starts from (`scratch` and stages need none).

    `environment` is the image's own, None when unknown. `has_shell` says that its configuration
    sets SHELL. `platform` is what its configuration says it is made for, `wanted` what the stage
    asked for. `is_single_manifest` says that the reference's digest names one platform's manifest
    and not an index. `triggers` are its ONBUILD instructions.
    """

    environment: Mapping[str, str] | None = None
    has_shell: bool = False
    platform: Platform | None = None
    wanted: Platform | None = None
    is_single_manifest: bool = False
    triggers: tuple[Instruction, ...] = ()


class SourceFacts(msgspec.Struct, frozen=True):
    """What is known of an image that the instruction at a line copies or mounts from."""

    line: int
    reference: str
    platform: Platform
    wanted: Platform


class Binary(NamedTuple):
    """An ELF file in the build context; `architecture` as platforms call it (`amd64`)."""

    path: str
    architecture: str


class LintContext(msgspec.Struct, frozen=True):
    """The facts of one build.

    `target` names the wanted stage (last one when empty); with `all_stages` the stages that it
    does not need are checked as well. `platform` is the target's and gives the platform arguments
    their values. `bases` maps a stage's index to what is known of its image, `sources` are the
    images that instructions read from. `ignored` tells whether `.dockerignore` hides all that a
    COPY of this clean source path could find: that is `hides_source` of `dockerfile.ignore`.
    `binaries` lists the ELF files that a COPY's source patterns select from the context.
    """

    target: str = ""
    all_stages: bool = True
    build_args: Mapping[str, str] = {}
    platform: Platform | None = None
    build_platform: Platform | None = None
    bases: Mapping[int, BaseFacts] = {}
    sources: tuple[SourceFacts, ...] = ()
    ignored: Callable[[str], bool] | None = None
    binaries: Callable[[tuple[str, ...]], tuple[Binary, ...]] | None = None
