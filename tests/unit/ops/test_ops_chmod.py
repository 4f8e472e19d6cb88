from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viaduct.base.errors import BuildError
from viaduct.ops import chmod

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "before", "is_dir", "after"),
    [
        ("755", 0o600, False, 0o755),
        ("0640", 0o4755, False, 0o640),
        ("7777", 0, True, 0o7777),
        ("u=rwX,go=rX", 0o600, False, 0o644),
        ("u=rwX,go=rX", 0o700, False, 0o755),
        ("u=rwX,go=rX", 0o600, True, 0o755),
        ("a+x", 0o644, False, 0o755),
        ("+x", 0o644, False, 0o755),
        ("go-w", 0o666, False, 0o644),
        ("g=u", 0o640, False, 0o660),
        ("u+s,g+s,+t", 0o755, False, 0o7755),
        ("u=rw,u+x", 0o077, False, 0o777),
        ("ug=o", 0o4711, False, 0o4111),
        ("u-X", 0o711, False, 0o611),
    ],
)
def test_a_mode_changes_as_chmod_would(text: str, before: int, is_dir: bool, after: int) -> None:
    assert oct(chmod.parse(text)(before, is_dir=is_dir)) == oct(after)


@pytest.mark.parametrize("text", ["8", "99", "17777", "u~x", "", "z+x", "u+q", "0o755"])
def test_what_is_no_mode_is_refused_in_the_words_of_the_peers(text: str) -> None:
    with pytest.raises(BuildError, match="invalid chmod parameter"):
        chmod.parse(text)


_clause = st.builds(
    "{}{}{}".format,
    st.sampled_from(["u", "g", "o", "a", "ug", "go", "ugo"]),
    st.sampled_from("+-="),
    st.text("rwx", max_size=4),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_clause, min_size=1, max_size=3).map(",".join), st.integers(0, 0o777))
def test_symbolic_modes_agree_with_chmod_of_the_system(
    tmp_path_factory: pytest.TempPathFactory, text: str, before: int
) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "chmod-oracle"
    path.touch()
    path.chmod(before)
    subprocess.run(["chmod", "--", text, str(path)], check=True)
    assert oct(chmod.parse(text)(before, is_dir=False)) == oct(os.stat(path).st_mode & 0o7777)
