"""Records: values, which never change and compare and hash by what they hold, and mutable ones.

Dataclasses in all but name. The standard library writes and compiles six methods for each
dataclass when its module is imported, which takes half a millisecond; with a hundred of them that
would be a third of the time in which a command starts.
"""

from __future__ import annotations

from typing import dataclass_transform

import msgspec


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Value(msgspec.Struct, frozen=True):
    """The base of values; `msgspec.structs.replace` makes changed copies."""


@dataclass_transform(field_specifiers=(msgspec.field,))
class Mutable(msgspec.Struct):
    """The base of records that change; they compare by what they hold, and have no hash."""
