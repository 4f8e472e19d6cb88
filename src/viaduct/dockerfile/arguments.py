"""Arguments outside of all stages: the automatic ones, and ARG before the first FROM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile.expand import expand_word
from viaduct.dockerfile.state import DeclaredArg
from viaduct.dockerfile.syntax import Arg

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viaduct.dockerfile.options import LowerOptions
    from viaduct.dockerfile.syntax import Document
    from viaduct.oci.platform import Platform

#: Arguments that reach every RUN without being declared, in either case.
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
#: Arguments that are for the builder and never become variables of a step.
SCAN_ARGS = ("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE")
_BUILTIN = frozenset(
    "BUILDPLATFORM BUILDOS BUILDOSVERSION BUILDARCH BUILDVARIANT TARGETPLATFORM TARGETOS "
    "TARGETOSVERSION TARGETARCH TARGETVARIANT TARGETSTAGE SOURCE_DATE_EPOCH".split()
)


class GlobalArgs:
    """What FROM lines see, and what an ARG without default inherits in a stage.

    `values` are in order of the last assignment; `declared` those that the file declares.
    """

    def __init__(self, document: Document, options: LowerOptions, platform: Platform) -> None:
        """Raises `DockerfileError`."""
        #: A copy, because SOURCE_DATE_EPOCH is replaced by what it turns out to be.
        self.build_args = dict(options.build_args)
        target = options.target or document.stages[-1].name or "default"
        self.values = automatic_args(platform, options.build_platform, target)
        for key in self.values.keys() & self.build_args.keys():
            self.values[key] = self.build_args[key]
        self.declared: dict[str, DeclaredArg] = {}
        for instruction in document.global_args:
            try:
                for pair in instruction.pairs:
                    key = pair.key.text
                    value = self.build_args.get(key)
                    needs: set[str] = set()
                    if value is None and pair.value is not None:
                        value = expand_word(
                            pair.value.text, self.values, escape=document.escape, matched=needs
                        )
                        if key in needs:
                            needs.discard(key)
                            if before := self.declared.get(key):
                                needs |= before.needs
                    if value is not None:
                        self.set(key, value)
                    self.declared[key] = DeclaredArg(pair, instruction.span, value or "", needs)
            except DockerfileError as error:
                error.where = error.where or instruction.span
                raise

    def set(self, key: str, value: str) -> None:
        self.values.pop(key, None)
        self.values[key] = value

    def settle_epoch(self, epoch: int | None) -> None:
        """Put what SOURCE_DATE_EPOCH was found to mean in its place."""
        key = "SOURCE_DATE_EPOCH"
        for where in (self.build_args, self.values):
            if key in where:
                if epoch is None:
                    del where[key]
                else:
                    where[key] = str(epoch)


def automatic_args(platform: Platform, build: Platform, target: str) -> dict[str, str]:
    """The platform arguments of a build leg."""
    return {
        "BUILDPLATFORM": str(build),
        "BUILDOS": build.os,
        "BUILDOSVERSION": build.os_version,
        "BUILDARCH": build.architecture,
        "BUILDVARIANT": build.variant,
        "TARGETPLATFORM": platform.full,
        "TARGETOS": platform.os,
        "TARGETOSVERSION": platform.os_version,
        "TARGETARCH": platform.architecture,
        "TARGETVARIANT": platform.variant,
        "TARGETSTAGE": target,
    }


def proxy_environment(build_args: Mapping[str, str]) -> tuple[str, ...]:
    """Proxy arguments as variables, in both cases; of one given in both, the later name wins."""
    given = {key.upper(): build_args[key] for key in sorted(build_args)}
    return tuple(
        f"{name}={given[key]}" for key in PROXIES if given.get(key) for name in (key, key.lower())
    )


def unused_args(document: Document, declared: set[str], build_args: Mapping[str, str]) -> list[str]:
    """Build arguments that no ARG declares and that mean nothing to the builder either."""
    known = declared | _BUILTIN
    for instruction in document.instructions:
        if isinstance(instruction, Arg):
            known.update(pair.key.text for pair in instruction.pairs)
    return sorted(
        key
        for key in build_args
        if key not in known and key.upper() not in PROXIES and not key.startswith("BUILDKIT_")
    )
