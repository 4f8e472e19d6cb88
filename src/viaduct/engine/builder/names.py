"""Names for builders that were given none: a quality and a river that has a viaduct over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Container

_QUALITIES = (
    "airy ample bold brisk calm clever coastal dapper early fabled fleet gentle golden hardy "
    "humble keen level lofty lucid mellow merry misty noble patient placid plucky proud quiet "
    "rapid ready robust rustic serene silver slender solid steady stout sunny sturdy tidy tranquil "
    "vivid wide wiry"
).split()
_RIVERS = (
    "adda aire allier arda avon clyde dee douro eden elbe esk garonne gard isar kelvin lune "
    "main medway meuse moselle neckar ouse po ribble rhone saale saar seine severn sill spey stour "
    "tagus tarn tay tees trent tweed tyne ure wear wharfe"
).split()


def generate(taken: Container[str], rng: random.Random) -> str:
    """A name that is not `taken`."""
    while True:
        for _ in range(10):
            name = f"{rng.choice(_QUALITIES)}_{rng.choice(_RIVERS)}"
            if name not in taken:
                return name
        name = f"{name}{rng.randrange(1000)}"
        if name not in taken:
            return name
