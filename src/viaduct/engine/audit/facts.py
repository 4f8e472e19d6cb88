"""What was found of an image, before anything is thought about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from viaduct.base.values import Value

if TYPE_CHECKING:
    from viaduct.oci.digest import Digest
    from viaduct.oci.elf import Header
    from viaduct.oci.models import Descriptor, ImageConfig, Manifest


class Program(Value):
    """What an ELF file says of itself: its header, and the dynamic loader that it asks for;
    `executable` is what its mode says."""

    header: Header
    loader: str = ""
    executable: bool = True

    @property
    def machine(self) -> str:
        """An OCI architecture; empty for a machine that no image is made for."""
        return self.header.architecture


class ElfFile(Value):
    """An ELF file of the flattened image. `layer` counts from the lowest up; `loadable` says that
    the loader it asks for, if any, is in the image."""

    path: str
    layer: int
    program: Program
    loadable: bool = True


#: `missing`: it is not where it should be; `damaged`: it is not what it should be; `mismatch`: it
#: is well and says something else than what leads to it.
Wrong: TypeAlias = Literal["missing", "damaged", "mismatch"]


class Fault(Value):
    """Something wrong that was met on the way."""

    kind: Wrong
    text: str


class Layer(Value):
    """A layer that was read to its end: the digest of what is in it, uncompressed. `diff_id` is
    None where it was not, or is no layer of files."""

    descriptor: Descriptor
    diff_id: Digest | None = None


class Image(Value):
    """One manifest and all that belongs to it.

    `entry` is how its index lists it; for a manifest that a name points to (not `listed`), its own
    descriptor. `config` is None for what is not an image of files, or when it cannot be read.
    `audited` says that `files` are all the ELF files that it has.
    """

    entry: Descriptor
    listed: bool
    manifest: Manifest | None = None
    config: ImageConfig | None = None
    layers: tuple[Layer, ...] = ()
    faults: tuple[Fault, ...] = ()
    files: tuple[ElfFile, ...] = ()
    audited: bool = False


class Facts(Value):
    """All that a name leads to. `faults` belong to no image: those of nested indexes."""

    name: str
    root: Descriptor
    images: tuple[Image, ...]
    faults: tuple[Fault, ...] = ()
