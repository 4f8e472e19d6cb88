"""What a URL logs in with is shown to nobody."""

from __future__ import annotations

import pytest

from viaduct.base.urls import masked, without_login
from viaduct.graph.node import Node
from viaduct.graph.ops import HttpSource


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ADD https://user:pass@h/x https://h/y /", "ADD https://xxxxx:xxxxx@h/x https://h/y /"),
        ("load https://token@h.example/r.git#v1", "load https://xxxxx@h.example/r.git#v1"),
        ("https://u:p@ss@h/x", "https://xxxxx:xxxxx@h/x"),
        ("ssh://git@h/x and git@h:x", "ssh://git@h/x and git@h:x"),
        ("https://h/@x?a=b@c", "https://h/@x?a=b@c"),
    ],
)
def test_names_and_passwords_in_urls_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_the_name_of_a_node_shows_no_password() -> None:
    url = "https://user:pass@h/x"
    assert Node(HttpSource(url=url), name=f"ADD {url} /").name == "ADD https://xxxxx:xxxxx@h/x /"


def test_a_url_is_parted_from_its_login() -> None:
    assert without_login("https://u:p%40@h:1/x@y") == ("https://h:1/x@y", "u:p%40")
    assert without_login("https://h/x") == ("https://h/x", "")
    assert without_login("ssh://git@h/x") == ("ssh://git@h/x", "")
