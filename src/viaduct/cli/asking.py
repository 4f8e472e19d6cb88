"""Asking a person before something is lost."""

from __future__ import annotations

import sys

from viaduct.cli.out import echo


def agreed(warning: str) -> bool:
    """Whether standard input says yes to `warning`; its end says no."""
    echo(f"{warning} Are you sure you want to continue? [y/N] ", nl=False)
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() == "y"
