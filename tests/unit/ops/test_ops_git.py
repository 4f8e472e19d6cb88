"""Git repositories as sources, over the protocol that real servers speak."""

from __future__ import annotations

import base64
import contextlib
import http.server
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from viaduct.base.errors import BuildError
from viaduct.graph.ops import GitSource
from viaduct.ops.git import Repositories

if TYPE_CHECKING:
    from collections.abc import Iterator


def _git(repository: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    done = subprocess.run(
        ["git", "-C", str(repository), *identity, *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """A repository with two commits: `v1` is the first, `main` the second."""
    path = tmp_path / "remote"
    (path / "sub").mkdir(parents=True)
    _git(path, "init", "--quiet", "--initial-branch", "main")
    for number, name in ((1, "first"), (2, "second")):
        (path / "sub" / name).write_text(name)
        _git(path, "add", ".")
        _git(path, "commit", "--quiet", "--message", name)
        _git(path, "tag", "--annotate", "--message", name, f"v{number}")
    return path


@pytest.fixture
def repositories(tmp_path: Path) -> Repositories:
    found = Repositories(tmp_path / "git")
    # Only network protocols are allowed to Dockerfiles; a local one speaks the same language.
    found._env["GIT_ALLOW_PROTOCOL"] = "file"
    return found


def _checkout(repositories: Repositories, source: GitSource, into: Path) -> list[str]:
    into.mkdir()
    commit, ref = repositories.resolve(source)
    repositories.checkout(source, commit, ref, into)
    return sorted(path.name for path in into.iterdir())


def test_branches_tags_and_commits_are_checked_out(
    repositories: Repositories, remote: Path, tmp_path: Path
) -> None:
    url = f"file://{remote}"
    first = _git(remote, "rev-parse", "v1^{commit}")
    for ref, files in (
        ("", ["first", "second"]),
        ("main", ["first", "second"]),
        ("v1", ["first"]),
        ("refs/tags/v1", ["first"]),
        (first, ["first"]),
    ):
        source = GitSource(remote=url, ref=ref, subdir="sub")
        found = _checkout(repositories, source, tmp_path / (ref.replace("/", "-") or "head"))
        assert found == files


def test_what_changed_since_is_fetched(
    repositories: Repositories, remote: Path, tmp_path: Path
) -> None:
    source = GitSource(remote=f"file://{remote}", ref="main", subdir="sub")
    assert _checkout(repositories, source, tmp_path / "before") == ["first", "second"]
    (remote / "sub" / "third").touch()
    _git(remote, "add", ".")
    _git(remote, "commit", "--quiet", "--message", "third")
    assert _checkout(repositories, source, tmp_path / "after") == ["first", "second", "third"]


def test_the_git_directory_stands_alone_where_it_is_kept(
    repositories: Repositories, remote: Path, tmp_path: Path
) -> None:
    source = GitSource(remote=f"file://{remote}", ref="main", keep_git_dir=True)
    assert _checkout(repositories, source, tmp_path / "tree") == [".git", "sub"]
    tree = tmp_path / "tree"
    subprocess.run(["rm", "-rf", str(tmp_path / "git")], check=True)
    assert _git(tree, "status", "--short") == ""
    assert _git(tree, "log", "--format=%s") == "second"
    assert _git(tree, "remote", "get-url", "origin") == f"file://{remote}"


def test_a_ref_that_is_not_there_is_told(repositories: Repositories, remote: Path) -> None:
    with pytest.raises(BuildError, match="does not contain ref nowhere"):
        repositories.resolve(GitSource(remote=f"file://{remote}", ref="nowhere"))


class _Guarded(http.server.BaseHTTPRequestHandler):
    """git's own server program, for who knows the name and the password."""

    directory = ""
    #: What any program on the machine was started with while somebody asked.
    arguments: ClassVar[list[bytes]] = []

    def do_GET(self) -> None:
        for program in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                self.arguments.append(program.read_bytes())
        login = base64.b64encode(b"user:tok@n").decode()
        if self.headers.get("Authorization") != f"Basic {login}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        env = {
            **os.environ,
            "GIT_PROJECT_ROOT": self.directory,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        backend = [str(shutil.which("git")), "http-backend"]
        done = subprocess.run(backend, input=body, env=env, capture_output=True, check=True)
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Says nothing."""


@contextlib.contextmanager
def _served(directory: Path) -> Iterator[str]:
    """`host:port` of a server that wants a login."""
    with _answering(type("Handler", (_Guarded,), {"directory": str(directory)})) as address:
        yield address


def test_a_token_in_the_url_is_used_and_shown_to_nobody(remote: Path, tmp_path: Path) -> None:
    """Not in arguments, which everybody on the machine sees, nor in the checkout or the error; a
    submodule next to the repository is fetched with it as well."""
    library = tmp_path / "library"
    shutil.copytree(remote, library)
    _git(remote, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add",
         str(library), "lib")  # fmt: skip
    _git(remote, "config", "--file", ".gitmodules", "submodule.lib.url", "../../library/.git")
    _git(remote, "commit", "--quiet", "--all", "--message", "third")
    repositories = Repositories(tmp_path / "git")
    _Guarded.arguments.clear()
    with _served(tmp_path) as address:
        url = f"http://user:tok%40n@{address}/remote/.git"
        source = GitSource(remote=url, ref="main", keep_git_dir=True)
        into = tmp_path / "tree"
        assert _checkout(repositories, source, into) == [".git", ".gitmodules", "lib", "sub"]
        with pytest.raises(BuildError) as caught:
            repositories.resolve(GitSource(remote=url.replace("/remote/", "/nowhere/")))
    assert (into / "lib" / "sub" / "second").exists()
    assert _git(into, "remote", "get-url", "origin") == f"http://{address}/remote/.git"
    assert "tok%40n" not in str(caught.value)
    assert caught.value.hint == "check the URL, and who may read it"
    seen = b"".join(_Guarded.arguments)
    assert b"remote-http" in seen
    for form in (b"tok%40n", b"tok@n", base64.b64encode(b"user:tok@n")):
        assert form not in seen
        for kept in (into, tmp_path / "git"):
            found = subprocess.run(
                ["grep", "-rF", form, str(kept)], capture_output=True, check=False
            )
            assert found.stdout == b""


class _Moved(http.server.BaseHTTPRequestHandler):
    """A server that sends everybody on to another one."""

    target = ""

    def do_GET(self) -> None:
        self.send_response(301)
        self.send_header("Location", self.target + self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Says nothing."""


class _Curious(http.server.BaseHTTPRequestHandler):
    """A repository for everybody, which notes what it is told about them."""

    told: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.told.append(self.headers.get("Authorization"))
        lines = [
            "# service=git-upload-pack\n",
            "",
            "version 2\n",
            "ls-refs\n",
            "fetch=shallow\n",
            "",
        ]
        data = "".join(f"{len(line) + 4:04x}{line}" if line else "0000" for line in lines).encode()
        posted = self.command == "POST"
        kind = "result" if posted else "advertisement"
        self.send_response(200)
        self.send_header("Content-Type", f"application/x-git-upload-pack-{kind}")
        self.send_header("Content-Length", "0" if posted else str(len(data)))
        self.end_headers()
        self.wfile.write(b"" if posted else data)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Says nothing."""


@contextlib.contextmanager
def _answering(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_token_in_the_url_does_not_follow_a_redirect(tmp_path: Path) -> None:
    _Curious.told.clear()
    with _answering(_Curious) as other:
        moved = type("Moved", (_Moved,), {"target": f"http://{other}"})
        with _answering(moved) as address, pytest.raises(BuildError):
            remote = GitSource(remote=f"http://user:secret@{address}/r.git")
            Repositories(tmp_path / "git").resolve(remote)
    assert len(_Curious.told) >= 2, "git never went on at the other place"
    assert set(_Curious.told) == {None}


def test_ssh_offers_no_key_that_the_build_was_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key in `~/.ssh` opens repositories that a Dockerfile's author could not read."""
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -G "$@" >{tmp_path}/asked 2>&1\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(ssh.parent), prepend=os.pathsep)
    with pytest.raises(BuildError):
        Repositories(tmp_path / "git").resolve(GitSource(remote="git@example.invalid:a/b.git"))
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [line for line in asked if line.startswith("identityfile")] == ["identityfile none"]
    assert "hostname example.invalid" in asked


@pytest.mark.parametrize("login", ["user:a%0Ahost=b", "a%0Ab"])
def test_a_login_is_one_line(login: str, tmp_path: Path) -> None:
    source = GitSource(remote=f"http://{login}@127.0.0.1:1/r.git")
    with pytest.raises(BuildError, match="line end"):
        Repositories(tmp_path / "git").resolve(source)
