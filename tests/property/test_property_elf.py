"""Headers of programs come out of images: whatever is in them, reading them ends well."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from viaduct.oci import elf
from viaduct.sandbox.machines import MACHINES, of_header

_MACHINES = st.sampled_from(sorted(MACHINES.values(), key=lambda machine: machine.arch))


@given(st.binary(max_size=600))
def test_any_bytes_can_be_asked_for_their_machine_and_loader(data: bytes) -> None:
    assert isinstance(of_header(data), str)
    assert isinstance(elf.loader(data), str)
    head = b"\x7fELF" + data
    assert isinstance(of_header(head), str)
    assert isinstance(elf.loader(head), str)


@given(_MACHINES, st.integers(0, 255), st.sampled_from([2, 3]), st.integers(0, 7))
def test_a_program_has_the_machine_of_its_header_whatever_its_abi(
    machine: object, abi: int, kind: int, flags: int
) -> None:
    """The header is put together by the fields of the ELF specification."""
    assert machine in MACHINES.values()
    found = next(m for m in MACHINES.values() if m is machine)
    order = ">" if found.big else "<"
    ident = bytes((0x7F, 0x45, 0x4C, 0x46, found.bits // 32, 2 if found.big else 1, 1, abi))
    header = ident + bytes(8) + struct.pack(f"{order}HHI", kind, found.code, flags)
    assert of_header(header) == found.arch


@given(
    _MACHINES,
    st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=60),
    st.integers(0, 3),
)
def test_the_loader_is_found_behind_other_segments(machine: object, name: str, before: int) -> None:
    found = next(m for m in MACHINES.values() if m is machine)
    order, wide = ">" if found.big else "<", found.bits == 64
    head, segment = (64, 56) if wide else (52, 32)
    at = head + segment * (before + 1)
    text = name.encode() + b"\0"
    word = "Q" if wide else "I"
    header = found.magic + struct.pack(
        f"{order}I{word}{word}{word}IHHHHHH", 1, 0, head, 0, 0, head, segment, before + 1, 0, 0, 0
    )
    other = struct.pack(f"{order}I", 1).ljust(segment, b"\0")
    if wide:
        interp = struct.pack(f"{order}IIQQQQQQ", 3, 4, at, 0, 0, len(text), len(text), 1)
    else:
        interp = struct.pack(f"{order}IIIIIIII", 3, at, 0, 0, len(text), len(text), 4, 1)
    assert elf.loader(header + other * before + interp + text) == name
