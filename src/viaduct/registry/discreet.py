"""Values that carry secrets and do not show them."""

from __future__ import annotations

import msgspec


class Discreet(msgspec.Struct, frozen=True):
    """A frozen value whose `repr` is its name only, so that no log, traceback or debugger's view
    of local variables shows what it holds."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return []
