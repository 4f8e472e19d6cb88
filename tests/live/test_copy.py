"""COPY: what lands where in the image, whose it is, and what it looks like."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from tests.parts.filetree import build_layers, build_tree

if TYPE_CHECKING:
    from tests.parts.contexts import Context

_ACCOUNTS = (
    'RUN printf "root:x:0:0::/:\\napp:x:1000:1001::/:\\n" > /etc/passwd'
    ' && printf "root:x:0:\\nstaff:x:50:\\n" > /etc/group\n'
)


def test_owners_are_read_as_names_of_the_image_or_as_numbers(context: Context) -> None:
    wanted = {
        "app": (1000, 1001),
        "app:staff": (1000, 50),
        "app:none": (1000, 1001),
        "app:": (1000, 0),
        "none": (0, 0),
        "none:5": (0, 5),
        ":staff": (0, 50),
        "7": (7, 7),
        "7:8": (7, 8),
        "+7": (7, 7),
        "7:staff": (7, 50),
        "root": (0, 0),
        "4294967296": (0, 0),
    }
    context.file("f")
    lines = [f"COPY --chown={owner} f /o{n}/f\n" for n, owner in enumerate(wanted)]
    context.dockerfile(f"FROM BASE\n{_ACCOUNTS}{''.join(lines)}")
    tree = build_tree(context)
    found = {owner: tree.owner(f"o{n}/f") for n, owner in enumerate(wanted)}
    assert found == wanted
    assert tree.owner("o1") == (1000, 50)


def test_a_scratch_stage_is_an_empty_source(context: Context) -> None:
    """And not what happens to stand below the COPY."""
    context.dockerfile(
        "FROM scratch AS none\nFROM BASE\nCOPY --from=none / /a/\nRUN ls -A /a > /o\n"
    )
    tree = build_tree(context)
    assert tree.text("o") == ""
    context.dockerfile("FROM scratch AS none\nFROM BASE\nCOPY --from=none /x /a/\n")
    failed = context.build(check=False)
    assert (failed.status, '"/x": not found' in failed.stderr) == (1, True)


def test_set_id_bits_sockets_and_devices_of_a_context_come_along(context: Context) -> None:
    context.file("su", mode=0o4755)
    os.mknod(context.root / "fifo", 0o010640)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(context.root / "sock"))
        context.dockerfile("FROM scratch\nCOPY . /\n")
        tree = build_tree(context)
    assert tree.mode("su") == 0o4755
    assert tree.mode("fifo") == 0o640
    assert tree.text("sock") == ""


def test_link_makes_the_same_layer_on_every_base_even_of_files_the_base_has(
    context: Context,
) -> None:
    context.dockerfile(
        "FROM BASE\nRUN cp /etc/passwd /copy\nCOPY --link --from=BASE /etc/passwd /etc/\n"
    )
    first = build_layers(context)
    context.dockerfile("FROM BASE\nRUN rm /etc/passwd\nCOPY --link --from=BASE /etc/passwd /etc/\n")
    second = build_layers(context)
    assert first[-1] == second[-1]
    assert first[-1][1] == ("etc", "etc/passwd")
    assert "etc/passwd" in build_tree(context)


def test_a_name_cannot_be_looked_up_where_no_base_is(context: Context) -> None:
    context.file("f")
    context.dockerfile("FROM BASE\nCOPY --link --chown=root:app f /f\n")
    failed = context.build(check=False)
    assert failed.status == 1
    assert 'cannot look up "app": below this layer is no /etc/passwd' in failed.stderr
    assert "Dockerfile:2" in failed.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("COPY [a /n/", "invalid includepatterns: [[a]: syntax error in pattern"),
        ("COPY --from=BASE /[a /n/", "syntax error in pattern"),
        ("COPY --exclude=[ . /n/", "invalid excludepatterns: [[]: syntax error in pattern"),
        ("COPY dang* /n/", '"/dangling": not found'),
        ('COPY <<"a/b" /n/\nx\na/b', "open /a/b: no such file or directory"),
        ("RUN --device=vendor.com/x=y true", "device feature is not supported"),
    ],
)
def test_what_cannot_be_copied_is_said_in_a_line(context: Context, text: str, message: str) -> None:
    (context.root / "dangling").symlink_to("nowhere")
    context.dockerfile(f"FROM BASE\n{text}\n")
    failed = context.build(check=False)
    assert failed.status == 1
    assert f"ERROR: failed to build: failed to solve: {message}\n" in failed.stderr
