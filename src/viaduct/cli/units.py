"""Sizes and times as Docker and BuildKit spell them."""

from __future__ import annotations

from viaduct.base.errors import UsageError

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_BINARY = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


def human_size(size: float, *, digits: int = 4) -> str:
    """`3.071MB`: decimal units and `digits` significant digits (`docker images` shows 3)."""
    for unit in _DECIMAL[:-1]:
        if size < 1000:
            return f"{size:.{digits}g}{unit}"
        size /= 1000
    return f"{size:.{digits}g}{_DECIMAL[-1]}"


def transfer_size(size: int) -> str:
    """`1.85MB`, `343B`: two decimals above a kilobyte, as BuildKit shows transfers."""
    if abs(size) < 1000:
        return f"{size}B"
    value = float(size)
    for unit in _DECIMAL[:-1]:
        if abs(value) < 1000:
            return f"{value:.2f}{unit}"
        value /= 1000
    return f"{value:.2f}{_DECIMAL[-1]}"


def binary_size(size: float) -> str:
    """`2MiB`, `200KiB`: binary units without trailing zeros."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            return f"{size:.4g}{unit}"
        size /= 1024
    raise AssertionError("unreachable")


def parse_binary_size(text: str) -> int:
    """Bytes from `64m`, `1.5g`, `2GiB`, `512` (Docker's memory sizes: all units are binary).

    Raises `UsageError`.
    """
    cut = len(text.rstrip("bBiIkKmMgGtTpP"))
    number, suffix = text[:cut].rstrip(" "), text[cut:].lower()
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not number or not number.isascii() or not 0 <= value < float("inf"):
        raise UsageError(f"invalid size: '{text}'", hint="write it as 64m, 1g or a number of bytes")
    if suffix in ("", "b"):
        return int(value)
    if suffix[0] in _BINARY and suffix[1:] in ("", "b", "ib"):
        return int(value * _BINARY[suffix[0]])
    raise UsageError(
        f"invalid suffix: '{text[cut:]}'", hint="write it as 64m, 1g or a number of bytes"
    )


def human_duration(seconds: float) -> str:
    """`About a minute`, `3 hours`, `2 weeks`: the roundings of Docker's tables."""
    whole = int(seconds)
    minutes, hours = whole // 60, int(seconds / 3600 + 0.5)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 14:
        return f"{hours // 24} days"
    if hours < 24 * 60:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(seconds / 3600) // 24 // 365} years"


def ago(then: float, now: float) -> str:
    """`3 hours ago`; both are seconds since the epoch."""
    return f"{human_duration(max(0.0, now - then))} ago"
