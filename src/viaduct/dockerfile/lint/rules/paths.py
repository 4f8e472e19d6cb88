"""WorkdirRelativePath and CopyIgnoredFile."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viaduct.dockerfile.gotext import clean, quote
from viaduct.dockerfile.lint.rule import Hit, Rule
from viaduct.dockerfile.syntax import CopyAdd, Workdir

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viaduct.dockerfile.lint.checked import Checked, StageView

_WINDOWS_ROOT = re.compile(r"(?:[A-Za-z]:)?[\\/]")
_REMOTE = re.compile(r"https?://|git://|ssh://|git@|github\.com/")


def _relative(checked: Checked) -> Iterator[Hit]:
    for view in checked.visible:
        # One WORKDIR of the Dockerfile's own, in this stage or in one that it starts from, is
        # what later relative ones stand on.
        if any(
            isinstance(instruction, Workdir)
            for parent in list(checked.chain(view))[1:]
            for instruction in checked.run(parent)
        ):
            continue
        for instruction, scope in checked.steps(view):
            if isinstance(instruction, Workdir):
                path = scope.expand(instruction.path.text).text
                if path is not None and not _is_absolute(path, windows=_on_windows(checked, view)):
                    yield Hit(
                        f"Relative workdir {quote(path)} can have unexpected results if the base "
                        "image changes",
                        instruction,
                    )
                break


def _on_windows(checked: Checked, view: StageView) -> bool:
    """Whether a stage runs on Windows: by its platform, and by its looks when that is unknown."""
    root = list(checked.chain(view))[-1]
    platform = root.facts.wanted or (None if view.pin else checked.context.platform)
    return platform.os == "windows" if platform else view.is_windows


def _is_absolute(path: str, *, windows: bool) -> bool:
    return bool(_WINDOWS_ROOT.match(path)) if windows else path.startswith("/")


def _ignored(checked: Checked) -> Iterator[Hit]:
    ignored = checked.context.ignored
    if ignored is None:
        return
    for view in checked.visible:
        for instruction, scope in checked.steps(view):
            if not isinstance(instruction, CopyAdd) or instruction.flag("from"):
                continue
            verb = "Add" if instruction.is_add else "Copy"
            for word in instruction.sources:
                source = scope.expand(word.text).text
                if source is None or _REMOTE.match(source):
                    continue
                path = clean(source)
                if ignored(path):
                    text = f"Attempting to {verb} file {quote(path)} that is excluded by"
                    yield Hit(f"{text} .dockerignore", instruction)


WORKDIR_RELATIVE_PATH = Rule(
    "WorkdirRelativePath",
    "Relative workdir without an absolute workdir declared within the build can have unexpected "
    "results if the base image changes",
    _relative,
)

COPY_IGNORED_FILE = Rule(
    "CopyIgnoredFile",
    "Attempting to Copy file that is excluded by .dockerignore",
    _ignored,
)
