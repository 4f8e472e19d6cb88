"""What a hostile step, image or neighbour must not get at: the promises of docs/security.md."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from tests.parts import images
from tests.parts.filetree import build_tree

from viaduct.sandbox import kernel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.parts.contexts import Context


def test_a_step_cannot_have_files_of_the_machine_removed_with_its_mount_points(
    context: Context, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    (victim / "directory").mkdir(parents=True)
    (victim / "file").touch()
    before = victim.stat().st_mtime_ns
    context.file("f")
    context.dockerfile(
        "FROM BASE\nRUN --mount=type=tmpfs,target=/a/directory --mount=source=f,target=/a/file"
        f" mv /a /b && ln -s {victim} /a\n"
    )
    tree = build_tree(context)
    assert tree.link("a") == str(victim)
    assert sorted(path.name for path in victim.iterdir()) == ["directory", "file"]
    assert victim.stat().st_mtime_ns == before


def test_a_cache_that_another_step_changes_meanwhile_never_shows_the_machine(
    context: Context, tmp_path: Path
) -> None:
    """One step swaps a directory of a shared cache for a link to the machine as fast as it can,
    while others, started meanwhile, mount it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "private").write_text("private")
    cache = "--mount=type=cache,id=swap,target=/c"
    victims = "".join(
        f"FROM made AS v{n}\nRUN {cache},source=sub ls /c > /seen{n}; touch /c/mark || echo {n}\n"
        for n in range(24)
    )
    copies = "".join(f"COPY --from=v{n} /seen{n} /\n" for n in range(24))
    context.dockerfile(
        f"FROM BASE AS made\nRUN {cache} mkdir -p /c/sub\n"
        f"FROM made AS swap\nRUN {cache} ln -s {outside} /c/link;"
        " i=0; while [ $i -lt 3000 ]; do i=$((i+1));"
        " mv -T /c/sub /c/real; mv -T /c/link /c/sub; mv -T /c/sub /c/link; mv -T /c/real /c/sub;"
        " done; touch /done\n"
        f"{victims}FROM scratch\nCOPY --from=swap /done /\n{copies}"
    )
    context.build(check=False)
    assert [path.name for path in outside.iterdir()] == ["private"]


def test_a_step_cannot_change_the_emulator_that_runs_it(context: Context) -> None:
    context.file(
        "attack",
        "n=/n/busybox\n"
        "until [ -s /pid ]; do :; done; read p < /pid\n"
        "until $n readlink /proc/$p/exe | $n grep -q qemu; do :; done\n"
        "$n chmod 0755 /proc/$p/exe 2> /said; kill $p\n",
    )
    context.dockerfile(
        "FROM --platform=linux/amd64 BASE AS native\nFROM BASE\n"
        "COPY --from=native /bin/busybox /n/busybox\nCOPY attack /\n"
        "RUN (sleep 100 & echo $! > /pid; wait) & /n/busybox sh /attack\n"
    )
    tree = build_tree(context, "--platform", "linux/arm64")
    assert "Read-only file system" in tree.text("said")


def test_a_step_sees_no_process_and_no_variable_of_the_builder(context: Context) -> None:
    context.dockerfile(
        "FROM BASE\nRUN cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n' > /seen;"
        " ls -d /proc/[0-9]*/root/*/viaduct.db >> /seen 2> /dev/null;"
        " ls /proc | grep -c '^[0-9]' > /count\n"
    )
    secret = "only-the-builder-knows"
    built = context.build(
        "-o", f"type=local,dest={context.root}/out", env={**os.environ, "HTTP_TOKEN": secret}
    )
    assert secret not in built.stderr
    seen = (context.root / "out" / "seen").read_text()
    assert "/bin/sh" in seen
    assert "python" not in seen
    assert secret not in seen
    assert int((context.root / "out" / "count").read_text()) < 8


def test_a_secret_is_in_no_layer_log_or_file_of_the_store(context: Context, tmp_path: Path) -> None:
    value = "s3cr3t-of-the-test"
    home = tmp_path / "home"
    context.dockerfile(
        "FROM BASE\nRUN --mount=type=secret,id=a --mount=type=secret,id=a,env=A,target=/x"
        " wc -c /run/secrets/a /x && test -n $A\n"
    )
    built = context.build(
        *("--secret", "id=a,env=VALUE", "--progress", "rawjson", "--debug"),
        *("--metadata-file", str(tmp_path / "metadata"), "-t", "secret:1"),
        *("-o", f"type=oci,dest={tmp_path / 'image.tar'}"),
        env={**os.environ, "VALUE": value, "VIADUCT_HOME": str(home)},
        progress="",
    )
    assert value not in built.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert home / "viaduct.db" in files
    assert [path for path in files if value.encode() in path.read_bytes()] == []


def test_a_step_reaches_no_abstract_socket_of_the_machine(
    context: Context, registry: str, tmp_path: Path
) -> None:
    """Who listens there may trust a user id, and a step has that of who builds. Steps on the
    machine's network keep everything else of it, and sockets of their own."""
    name = f"{registry}/security/debian:1"
    images.push(images.debian_layout(), name)
    mark = f"viaduct-{os.getpid()}"
    connect = (
        "use Socket; my $to = sub { socket(my $s, PF_UNIX, SOCK_STREAM, 0);"
        ' connect($s, pack_sockaddr_un("\\0" . $_[0])) ? "yes" : "no: $!" };'
    )
    context.file("other.pl", f'{connect} print $to->("{mark}"), "\\n";')
    context.file(
        "own.pl",
        f'{connect} socket(my $l, PF_UNIX, SOCK_STREAM, 0); bind($l, pack_sockaddr_un("\\0$$"));'
        ' listen($l, 1); print $to->($$), "\\n";',
    )
    context.dockerfile(
        f"FROM {name}\nCOPY *.pl /\nRUN perl /other.pl > /other; perl /own.pl > /own;"
        " mkdir /a /b && echo x > /a/f && mv /a/f /b/f\n"
    )
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{mark}")
        listener.listen()
        tree = build_tree(context)
    landlock = kernel.version() >= (6, 12)
    assert tree.text("other") == ("no: Operation not permitted\n" if landlock else "yes\n")
    assert tree.text("own") == "yes\n"


@pytest.mark.parametrize("name", ["Dockerfile", ".dockerignore"])
@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: os.mkfifo(path), "not a regular file"),
        (lambda path: _sparse(path, 1 << 34), "larger than 67108864 bytes"),
        (lambda path: path.symlink_to("/dev/zero"), "no such file"),
    ],
)
def test_a_context_cannot_hold_a_build_up_with_its_own_files(
    context: Context, name: str, make: Callable[[Path], None], told: str
) -> None:
    context.dockerfile("FROM scratch\n")
    (context.root / name).unlink(missing_ok=True)
    make(context.root / name)
    done = context.build(check=False)
    assert "internal error" not in done.stderr
    # A context without a proper ignore file is one that has none.
    assert told in done.stderr or (name == ".dockerignore" and done.status == 0)


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def test_an_ignore_file_that_is_a_link_does_not_show_a_file_of_the_machine(
    context: Context, tmp_path: Path
) -> None:
    private = tmp_path / "private"
    private.write_text("[secret\n")
    context.dockerfile("FROM scratch\nCOPY . /\n")
    (context.root / ".dockerignore").symlink_to(private)
    assert "secret" not in context.build(check=False).stderr


def test_what_a_step_leaves_behind_ends_in_words_when_it_is_copied(context: Context) -> None:
    """Directories deeper than any path is long."""
    deep = "while [ $i -lt 420 ]; do i=$((i+1)); mkdir dddddddddd && cd dddddddddd || exit 1; done"
    context.dockerfile(
        f"FROM BASE AS made\nRUN mkdir /d && cd /d && i=0 && {deep}\n"
        "FROM scratch\nCOPY --from=made /d /d\n"
    )
    done = context.build(check=False)
    assert done.status == 1
    assert "File name too long" in done.stderr
    assert "internal error" not in done.stderr
