"""docs/compatibility.md says of every option of docker buildx, and of ours, what becomes of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from viaduct.cli import commands
from viaduct.cli.command import Command, Group, load
from viaduct.cli.main import root

TOP = Path(__file__).resolve().parents[3]
PAGE = (TOP / "docs/compatibility.md").read_text()
PEER: dict[str, list[str]] = json.loads((TOP / "tests/fixtures/buildx-options.json").read_text())[
    "commands"
]
GLOBAL = {"builder", "debug", "help"}
HERE = {"same", "accepted", "refused"}


def told(command: str) -> dict[str, str]:
    """The options of a command's table, and what is said of each."""
    section = re.search(rf"^## {command}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section, f"docs/compatibility.md has no section {command}"
    return dict(re.findall(r"^\| `--([a-z-]+)` \| (\w+) \|", section[1], re.MULTILINE))


def options(command: str) -> dict[str, bool]:
    """Our options of a command, and whether each is hidden from help."""
    found: Command | Group = root
    for word in command.split():
        assert isinstance(found, Group)
        row = found.row(word)
        assert row is not None, f"there is no command {command}"
        found = load(row)
    return {
        name.removeprefix("--"): option.hidden
        for option in found.options
        for name in option.names
        if name.startswith("--") and name.removeprefix("--") not in GLOBAL
    }


@pytest.mark.parametrize("command", sorted(PEER))
def test_every_option_of_the_peer_has_a_row(command: str) -> None:
    rows = {name for name, what in told(command).items() if what in HERE}
    assert rows == set(PEER[command]) - GLOBAL


@pytest.mark.parametrize("command", sorted(PEER))
def test_every_row_is_an_option_that_we_take(command: str) -> None:
    assert set(told(command)) - set(options(command)) == set()


@pytest.mark.parametrize("command", sorted(PEER))
def test_every_visible_option_of_ours_has_a_row(command: str) -> None:
    """Hidden ones are those of the classic builder, or other names of these."""
    shown = {name for name, hidden in options(command).items() if not hidden}
    assert shown - set(told(command)) == set()


def test_commands_said_to_be_missing_are_missing() -> None:
    absent = re.findall(r"`([a-z-]+)`", PAGE.rpartition("## Commands that are not here")[2])
    here = {row.name for row in commands.ROOT}
    assert absent
    assert here & set(absent) == set()
