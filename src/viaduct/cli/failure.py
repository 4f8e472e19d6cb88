"""Failures as a person sees them: the place, what happened, what to do next; and exit statuses."""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING

from viaduct.base.errors import Canceled, ViaductError

if TYPE_CHECKING:
    from collections.abc import Iterator

_STATUS = "exit_status"


class Leave(Exception):
    """Ends the program with `status`, after everything has been said."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Interrupted(KeyboardInterrupt):
    """A signal asked the program to end; `status` is 128 plus its number."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


def status_of(error: BaseException) -> int:
    """The exit status of an error."""
    if isinstance(error, Interrupted):
        return error.status
    if isinstance(error, (KeyboardInterrupt, Canceled)):
        return 130
    status = error.__dict__.get(_STATUS, 1)
    assert isinstance(status, int)
    return status


def with_status(error: ViaductError, status: int) -> ViaductError:
    """The same error for a command whose failures have a status of their own."""
    told = copy.copy(error)
    told.__dict__[_STATUS] = status
    return told


def explain(error: BaseException, *, debug: bool) -> str:
    """The text for standard error, with a final newline."""
    return "\n".join(_lines(error, debug=debug)) + "\n"


def _is_nowhere() -> bool:
    try:
        os.getcwd()
    except OSError:
        return True
    return False


def _lines(error: BaseException, *, debug: bool) -> Iterator[str]:
    if debug and not isinstance(error, KeyboardInterrupt):
        import traceback

        yield "".join(traceback.format_exception(error)).rstrip()
    if isinstance(error, KeyboardInterrupt):
        yield "ERROR: canceled"
        return
    if isinstance(error, FileNotFoundError) and _is_nowhere():
        yield "ERROR: the current directory is not there any more"
        yield 'hint: change to another one, or to its successor: cd "$PWD"'
        return
    if not isinstance(error, ViaductError):
        detail = f"{type(error).__name__}: {error}".rstrip(": ")
        yield f"ERROR: internal error: {detail}"
        if not debug:
            yield "hint: this is a bug in Viaduct; repeat with --debug to see where, and report it"
        return
    if error.where is not None:
        yield error.where.excerpt().rstrip("\n")
    yield f"ERROR: {error.what}"
    if error.hint:
        yield f"hint: {error.hint}"
    if usage := getattr(error, "usage", ""):
        path = getattr(error, "command_path", "viaduct")
        yield f"\nUsage:  {usage}\n\nRun '{path} --help' for more information"
