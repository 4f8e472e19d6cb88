"""--chown: who an owner is, by name or by number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile.leg import owner_of
from viaduct.graph.ops import Owner, owner_id
from viaduct.sandbox import users

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("root", 0),
        ("1000", 1000),
        ("+5", 5),
        ("010", 10),
        ("2147483647", 2147483647),
        ("-1", 0),
        ("app", None),
        ("4294967294", None),
        ("0x10", None),
        ("9" * 5000, None),
        ("1.5", None),
        ("", None),
    ],
)
def test_an_owner_is_a_number_of_32_bits_or_a_name(text: str, number: int | None) -> None:
    assert owner_id(text) == number


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        ("", None),
        ("app", Owner(user="app")),
        ("app:staff", Owner(user="app", group="staff")),
        ("app:", Owner(user="app", group="0")),
        (":5", Owner(user="0", group="5")),
        ("a:b:c", Owner(user="a", group="b:c")),
    ],
)
def test_a_colon_without_a_name_means_root(text: str, owner: Owner | None) -> None:
    assert owner_of(text) == owner


def test_names_are_found_in_the_images_own_files_first_entry_first(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("app:x:7:8::/:\napp:x:9:9::/:\n12:x:500:600::/:\n")
    (tmp_path / "etc/group").write_text("staff:x:50:\n12:x:800:\n")
    assert users.find_user(tmp_path, "app") == (7, 8)
    assert users.find_user(tmp_path, "12") == (500, 600)
    assert users.find_group(tmp_path, "staff") == 50
    assert users.find_user(tmp_path, "none") is None
    assert users.find_group(tmp_path, "none") is None
    assert users.find_user(tmp_path / "etc", "app") is None


@pytest.mark.parametrize("line", ["COPY --chown=app f /f", "COPY --link --chown=1:app f /f"])
def test_a_name_needs_a_base_image_to_be_looked_up_in(line: str) -> None:
    from tests.parts.lowering import lowered

    with pytest.raises(DockerfileError, match="below this layer is no /etc/passwd"):
        lowered(f"FROM scratch\n{line}\n")
