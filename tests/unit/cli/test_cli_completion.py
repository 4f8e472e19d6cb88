from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from viaduct.cli.completion import candidates
from viaduct.cli.main import root

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run


def offered(*words: str) -> list[str]:
    *args, incomplete = words
    return [item.value for item in candidates(root, args, incomplete)]


def test_commands_are_offered() -> None:
    assert {"build", "imagetools", "version"} <= set(offered(""))
    assert offered("imaget") == ["imagetools"]
    assert offered("imagetools", "") == ["create", "inspect"]
    assert offered("nonsense", "bu") == ["build"]


def test_options_are_offered_but_hidden_ones_are_not() -> None:
    assert offered("build", "--pu") == ["--pull", "--push"]
    assert offered("--builder", "x", "build", "--met") == ["--metadata-file"]
    assert offered("build", "--squ") == []
    assert "-t" in offered("build", "-")
    assert offered("build", "--", "--pu") == ["--pu"]


def test_values_are_offered() -> None:
    assert offered("build", "--progress", "p") == ["plain"]
    assert offered("build", "--progress=t") == ["tty"]
    assert offered("build", "--platform", "linux/arm") == ["linux/arm64", "linux/arm/v7"]
    assert offered("build", "--call", "") == ["build", "check", "outline", "targets"]


def test_a_switch_takes_no_value_so_the_context_is_offered() -> None:
    (item,) = candidates(root, ["build", "--push"], "")
    assert item.type == "dir"
    (item,) = candidates(root, ["build", "--file"], "Dock")
    assert item.type == "file"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script(shell: str, viaduct: Run) -> None:
    done = viaduct("completion", shell)
    assert done.returncode == 0
    assert "_VIADUCT_COMPLETE" in done.stdout


def test_another_shell_is_refused(viaduct: Run) -> None:
    done = viaduct("completion", "tcsh")
    assert done.stderr == "ERROR: no completion for 'tcsh'\nhint: choose bash, zsh or fish\n"


def test_bash_completes_with_the_script(viaduct: Run, tmp_path: Path) -> None:
    program = tmp_path / "viaduct"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m viaduct "$@"\n')
    program.chmod(0o755)
    script = viaduct("completion", "bash").stdout
    bash = shutil.which("bash")
    assert bash
    ask = (
        f"{script}\nCOMP_WORDS=(viaduct build --pu)\nCOMP_CWORD=2\n"
        f'_viaduct_completion {program}\nprintf "%s\\n" "${{COMPREPLY[@]}}"\n'
    )
    done = subprocess.run(
        [bash, "--norc", "-c", ask],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[3] / "src")},
        check=True,
    )
    assert done.stdout.splitlines() == ["--pull", "--push"]
