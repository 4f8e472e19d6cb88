"""The colours of the live view, with BuildKit's ways to change them.

`BUILDKIT_COLORS=run=cyan:error=light-red:cancel=yellow:warning=255,165,0` names colours or gives
red, green and blue; what cannot be read is left as it is. `NO_COLOR` turns all of them off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from viaduct.base.errors import UsageError
from viaduct.base.values import Value
from viaduct.cli import csvline

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = ("default", "black", "blue", "cyan", "green", "magenta", "red", "white", "yellow")


class Palette(Value):
    """Styles in rich's words; empty for none."""

    run: str = "blue"
    cancel: str = "yellow"
    error: str = "red"
    warning: str = "yellow"
    faint: str = "dim"


def palette(env: Mapping[str, str]) -> Palette:
    """The colours that the environment asks for."""
    if env.get("NO_COLOR"):
        return Palette(run="", cancel="", error="", warning="")
    colors = Palette()
    try:
        entries = csvline.fields(env.get("BUILDKIT_COLORS") or "-", comma=":")
    except UsageError:
        return colors
    for entry in entries:
        name, _, value = entry.partition("=")
        style = _style(value.strip().lower())
        if style and name.strip().lower() in ("run", "cancel", "error", "warning"):
            change = {name.strip().lower(): style}
            colors = replace(colors, **change)
    return colors


def _style(value: str) -> str:
    if value in _NAMES:
        return value
    light, _, name = value.partition("-")
    if light == "light" and name in _NAMES[1:]:
        return f"bright_{name}"
    numbers = value.split(",")
    if len(numbers) == 3 and all(n.isdecimal() and int(n) <= 255 for n in numbers):
        return f"rgb({','.join(str(int(n)) for n in numbers)})"
    return ""
