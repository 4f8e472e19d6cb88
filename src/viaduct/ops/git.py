"""Git repositories as sources, fetched by the `git` program.

One bare repository per remote is kept under the state root, so that only what changed travels. A
checkout holds files as `0644` or `0755`, without `.git` unless asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
import tempfile
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from viaduct.base import proc
from viaduct.base.errors import BuildError, SandboxError
from viaduct.base.fs import locked
from viaduct.base.urls import masked, without_login
from viaduct.graph.node import canonical
from viaduct.oci import digest as digests
from viaduct.ops.source import Source
from viaduct.ops.trees import Filesystem
from viaduct.solve.plan import CacheMap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from viaduct.base.tasks import Stop
    from viaduct.graph.node import Node
    from viaduct.graph.ops import GitSource
    from viaduct.ops.trees import Trees
    from viaduct.solve.plan import Job, Result

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_INSTALL = "install git: apt-get install git"


def _environment(auth_sock: str) -> dict[str, str]:
    """A git that asks nobody, reads nobody's configuration and speaks only network protocols."""
    env = {
        "PATH": proc.search_path(),
        "HOME": "/nonexistent",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ALLOW_PROTOCOL": "http:https:ssh:git",
        # With the keys that --ssh offers and no others: a Dockerfile names the repository.
        "GIT_SSH_COMMAND": "ssh -F none -o BatchMode=yes -o IdentityFile=none",
        "LC_ALL": "C.UTF-8",
    }
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "SSL_CERT_FILE"):
        for spelling in (name, name.upper()):
            if value := os.environ.get(spelling):
                env[spelling] = value
    if auth_sock:
        env["SSH_AUTH_SOCK"] = auth_sock
    return env


class Repositories:
    """The bare repositories under `root`, one per remote."""

    def __init__(self, root: Path, *, auth_sock: str = "") -> None:
        self._root = root
        self._env = _environment(auth_sock)

    def resolve(self, source: GitSource) -> tuple[str, str]:
        """(commit, full ref name or empty) that the source's ref means at the remote right now.

        Raises `BuildError` when the remote cannot be read or has no such ref.
        """
        ref = source.ref
        if _COMMIT.fullmatch(ref):
            return ref, ""
        if source.fetch_by_commit and _COMMIT.fullmatch(source.checksum):
            return source.checksum, ""
        listing = self._git(["ls-remote", "--symref", "--", _address(source)], source)
        refs: dict[str, str] = {}
        head = ""
        for line in listing.splitlines():
            value, _, name = line.partition("\t")
            if value.startswith("ref: ") and name == "HEAD":
                head = value.removeprefix("ref: ")
            else:
                refs[name] = value
        wanted = [ref, f"refs/tags/{ref}", f"refs/heads/{ref}"] if ref else [head, "HEAD"]
        for name in filter(None, wanted):
            if name in refs:
                # An annotated tag is an object of its own; ^{} is the commit it points to.
                return refs.get(f"{name}^{{}}", refs[name]), name
        raise BuildError(
            f"repository {masked(source.remote)} does not contain ref {ref or 'HEAD'}",
            hint="name a branch, a tag or a full commit after #",
        )

    def checkout(self, source: GitSource, commit: str, ref: str, into: Path) -> None:
        """Write the files of `commit` (of its `subdir`) into the empty directory `into`."""
        with self._bare(source) as bare:
            self._fetch(bare, source, commit, ref)
            with tempfile.TemporaryDirectory(dir=self._root, prefix="checkout-") as temp:
                self._write(bare, source, commit, ref, os.path.join(temp, "tree"))
                inside = _subdirectory(os.path.join(temp, "tree"), source)
                for entry in os.listdir(inside):
                    shutil.move(os.path.join(inside, entry), into / entry)
        _normal_modes(os.fsencode(into))

    def commit_time(self, source: GitSource) -> int:
        """When the commit that the source means was made, in seconds since the epoch."""
        commit, ref = self.resolve(source)
        with self._bare(source) as bare:
            self._fetch(bare, source, commit, ref)
            show = ["--git-dir", str(bare), "show", "-s", "--format=%ct", commit]
            return int(self._git(show, source))

    @contextlib.contextmanager
    def _bare(self, source: GitSource) -> Iterator[Path]:
        """The remote's repository, for us alone; made when it is new, and used now."""
        bare = self._root / hashlib.sha256(source.remote.encode()).hexdigest()[:32]
        lock = bare.with_suffix(".lock")
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(lock):
            os.utime(lock)
            if not bare.exists():
                self._git(["init", "--quiet", "--bare", "--", str(bare)], source)
                # Where git itself keeps what people shall know about a repository.
                (bare / "description").write_text(_address(source))
            yield bare

    def _fetch(self, bare: Path, source: GitSource, commit: str, ref: str) -> None:
        have = ["--git-dir", str(bare), "cat-file", "-e", f"{commit}^{{commit}}"]
        with contextlib.suppress(SandboxError):
            proc.run(["git", *have], env=self._env, hint=_INSTALL)
            return
        base = ["--git-dir", str(bare), "fetch", "--quiet", "--no-tags", "--force"]
        try:
            self._git([*base, "--depth=1", "--", _address(source), ref or commit], source)
        except BuildError:
            # Some servers refuse single commits; then everything has to come.
            refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
            self._git([*base, "--", _address(source), *refs], source)

    def _write(self, bare: Path, source: GitSource, commit: str, ref: str, tree: str) -> None:
        self._git(["init", "--quiet", "--", tree], source)
        # A clone would bring what branches and tags lead to; a single commit has neither.
        borrowed = os.path.join(tree, ".git/objects/info/alternates")
        with open(borrowed, "w", encoding="utf-8") as file:
            file.write(f"{bare}/objects\n")
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(bare / "shallow", os.path.join(tree, ".git/shallow"))
        inside = ["-C", tree, "-c", "advice.detachedHead=false", "-c", "core.symlinks=true"]
        self._git([*inside, "checkout", "--quiet", "--force", "--detach", commit], source)
        self._git([*inside, "remote", "add", "origin", _address(source)], source)
        if source.submodules and os.path.lexists(os.path.join(tree, ".gitmodules")):
            update = ["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"]
            self._git([*inside, *update], source)
        if source.keep_git_dir:
            # The object store is shared with the bare repository; make the copy self-contained.
            self._git([*inside, "repack", "-a", "-d", "-q"], source)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(borrowed)
            if ref.startswith("refs/"):
                self._git([*inside, "update-ref", ref, commit], source)
        else:
            for directory, names, files in os.walk(tree):
                if ".git" in names:
                    shutil.rmtree(os.path.join(directory, ".git"))
                    names.remove(".git")
                if ".git" in files:
                    os.unlink(os.path.join(directory, ".git"))

    def _git(self, args: Sequence[str], source: GitSource) -> str:
        try:
            with self._logged_in(source) as (env, fds):
                done = proc.run(["git", *args], env=env, pass_fds=fds, hint=_INSTALL)
        except SandboxError as error:
            hint = "check the URL, and who may read it" if proc.find("git") else error.hint
            # The cause, which is shown with --debug, holds what git said.
            raise BuildError(f"git: {masked(error.what)}", hint=hint) from None
        return done.stdout.decode(errors="replace")

    @contextlib.contextmanager
    def _logged_in(self, source: GitSource) -> Iterator[tuple[dict[str, str], tuple[int, ...]]]:
        """Environment and descriptors of a git that knows the name and password in the remote's
        URL. Arguments can be seen by everybody on the machine, and what git is told as an origin
        ends up in the checkout; so it is told by a configuration that only it can read. The answer
        is for the remote's own scheme, host and port: a header would follow git to wherever a
        redirect leads."""
        address, login = without_login(source.remote)
        if not login:
            yield self._env, ()
            return
        user, _, password = map(unquote_to_bytes, login.partition(":"))
        if b"\n" in user + password:
            raise BuildError(f"the login in {masked(source.remote)} has a line end in it")
        scheme, _, rest = address.partition("://")
        host = rest.partition("/")[0].replace("\\", "").replace('"', "")
        with _in_memory(b"username=%b\npassword=%b\n" % (user, password)) as answer:
            helper = f"!f() {{ test $1 != get || cat /proc/self/fd/{answer}; }}; f"
            config = f'[credential "{scheme}://{host}"]\n\thelper = "{helper}"\n'
            with _in_memory(config.encode()) as told:
                env = {**self._env, "GIT_CONFIG_GLOBAL": f"/proc/self/fd/{told}"}
                yield env, (answer, told)


@contextlib.contextmanager
def _in_memory(data: bytes) -> Iterator[int]:
    """The descriptor of a file that lies nowhere."""
    fd = os.memfd_create("viaduct")
    try:
        os.write(fd, data)
        yield fd
    finally:
        os.close(fd)


def _address(source: GitSource) -> str:
    """The remote without the name and password that a URL may carry."""
    return without_login(source.remote)[0]


def _subdirectory(tree: str, source: GitSource) -> str:
    from viaduct.ops.rootpath import resolve

    inside = os.fsdecode(resolve(os.fsencode(tree), os.fsencode(source.subdir)))
    if not os.path.isdir(inside):
        raise BuildError(f"subdir {source.subdir!r} not found in {masked(source.remote)}")
    return inside


def _normal_modes(root: bytes) -> None:
    """0755 for directories and executables, 0644 for the rest, whatever the umask was."""
    for directory, names, files in os.walk(root):
        for name in names + files:
            path = os.path.join(directory, name)
            info = os.lstat(path)
            if not stat.S_ISLNK(info.st_mode):
                executable = stat.S_ISDIR(info.st_mode) or info.st_mode & 0o100
                os.chmod(path, 0o755 if executable else 0o644)


class GitOp(Source):
    """Evaluates a `GitSource` node; its key is the commit."""

    remote = True

    def __init__(self, node: Node, op: GitSource, repositories: Repositories, trees: Trees) -> None:
        self._node = node
        self._op = op
        self._repositories = repositories
        self._trees = trees
        self._resolved: tuple[str, str] | None = None

    def cache_map(self, stop: Stop) -> CacheMap:
        commit, ref = self._resolved = self._repositories.resolve(self._op)
        if self._op.checksum and not commit.startswith(self._op.checksum):
            raise BuildError(
                f"expected checksum to match {self._op.checksum}, got {commit}",
                hint="the ref has moved, or the checksum belongs to another commit",
            )
        shape = (self._op.subdir, self._op.keep_git_dir, self._op.submodules)
        kept = ref if self._op.keep_git_dir else ""
        return CacheMap(digests.of(canonical(("git", commit, kept, shape))))

    def run(self, inputs: Sequence[Result], job: Job) -> list[Filesystem]:
        assert self._resolved is not None
        commit, ref = self._resolved
        with self._trees.change(
            Filesystem(), description=self._node.name, stop=job.stop, kind="source.git.checkout"
        ) as change:
            self._repositories.checkout(self._op, commit, ref, change.path)
            return [self._trees.commit(change)]
