"""What there is to say about an image that was verified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from viaduct.base.values import Value

if TYPE_CHECKING:
    from viaduct.oci.models import Descriptor

#: A problem is why an image is not what it claims to be; a note is worth knowing.
Level: TypeAlias = Literal["problem", "note"]


class Finding(Value):
    """One thing that was noticed. `rule` is its kind, the same in every version; `text` a sentence;
    `hint` what mends it.

    Of machine code that does not belong: its `machine`, the `files`, and the `layer` that they are
    in with the line of the Dockerfile that made it (`created_by`), as far as the image tells.
    """

    level: Level
    rule: str
    text: str
    hint: str = ""
    machine: str = ""
    layer: str = ""
    created_by: str = ""
    files: tuple[str, ...] = ()


class Checked(Value):
    """One platform's image: how many `layers` and `programs` (executables and shared objects) it
    has, and how many of these are of a machine that does not belong. `platform` is empty for what
    is no image; `attests` is the digest of the image that it is about."""

    platform: str
    digest: str
    layers: int
    programs: int
    foreign: int
    findings: tuple[Finding, ...] = ()
    attests: str = ""

    @property
    def ok(self) -> bool:
        return all(finding.level != "problem" for finding in self.findings)


class Verdict(Value):
    """Everything about `name`, which pointed to `root`: image by image in the order of the index,
    and `findings` about all of it."""

    name: str
    root: Descriptor
    images: tuple[Checked, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it is what it claims to be."""
        return self.problems == 0

    @property
    def problems(self) -> int:
        found = [*self.findings, *(each for image in self.images for each in image.findings)]
        return sum(finding.level == "problem" for finding in found)
