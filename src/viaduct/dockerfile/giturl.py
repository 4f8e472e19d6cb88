"""References to git repositories: `repo#ref:subdir`, query form and `git@host:path`.

The grammar is BuildKit's, for contexts and for ADD alike. An `http(s)` URL means a repository only
when its path ends in `.git`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from viaduct.base import decoding
from viaduct.base.errors import DockerfileError
from viaduct.dockerfile import gotext
from viaduct.dockerfile.gotext import percent_decode, quote
from viaduct.graph.ops import GitSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PROTOCOL = re.compile(r"[a-zA-Z0-9]+(?=://)")
_SCP = re.compile(r"([a-zA-Z0-9_-]+)@([a-zA-Z0-9.-]+):(.*?)(?:\?(.*?))?(?:#(.*))?")
_URL = re.compile(r"([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_FLAGS = ("submodules", "keep-git-dir", "fetch-by-commit")


class GitReference(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed reference. None: the reference does not say.

    `local_lookalike` marks `github.com/…`, which is a repository as a context, but a path in ADD.
    """

    remote: str
    ref: str = ""
    subdir: str = ""
    checksum: str = ""
    keep_git_dir: bool | None = None
    submodules: bool | None = None
    mtime: str = ""
    fetch_by_commit: bool = False
    local_lookalike: bool = False

    def source(
        self, *, keep_git_dir: bool = False, commit_times: bool = False, checksum: str = ""
    ) -> GitSource:
        """The graph operation that checks it out.

        The arguments are what is wanted where the reference does not say.
        """
        remote = f"https://{self.remote}" if self.local_lookalike else self.remote
        return GitSource(
            remote=remote,
            ref=self.ref,
            subdir=self.subdir,
            keep_git_dir=keep_git_dir or bool(self.keep_git_dir),
            submodules=self.submodules is not False,
            checksum=self.checksum or checksum,
            mtime={"": "commit" if commit_times else "", "checkout": ""}.get(
                self.mtime, self.mtime
            ),
            fetch_by_commit=self.fetch_by_commit,
        )


def parse_git(text: str) -> GitReference | None:
    """The reference in `text`, or None when it is not one.

    Raises `DockerfileError` when it is one and its query is wrong.
    """
    if text.startswith(("./", "../")):
        return None
    if text.startswith("github.com/"):
        url = _URL.fullmatch(text)
        assert url is not None
        remote, query, fragment = url[1], _query(url[2]), url[3]
        return _reference(remote, query, percent_decode(fragment or ""), local_lookalike=True)
    protocol = _PROTOCOL.match(text)
    if protocol:
        return _from_url(protocol[0].lower(), text)
    scp = _SCP.fullmatch(text)
    if scp is None or "\n" in text:
        return None
    return _reference(f"{scp[1]}@{scp[2]}:{scp[3]}", _query(scp[4]), scp[5] or "")


def is_git(text: str) -> bool:
    """Whether the text names a git repository, rightly or wrongly written."""
    try:
        return parse_git(text) is not None
    except DockerfileError:
        return True


def _from_url(protocol: str, text: str) -> GitReference | None:
    if protocol not in ("http", "https", "ssh", "git"):
        return None
    url = _URL.fullmatch(text)
    assert url is not None
    try:
        path = percent_decode(url[1].partition("://")[2].partition("/")[2])
        fragment = percent_decode(url[3] or "")
    except ValueError:
        return None
    if protocol in ("http", "https") and not path.endswith(".git"):
        return None
    scheme, _, rest = url[1].partition("://")
    return _reference(f"{scheme.lower()}://{rest}", _query(url[2]), fragment)


def _reference(
    remote: str,
    query: Mapping[str, list[str]],
    fragment: str,
    *,
    local_lookalike: bool = False,
) -> GitReference:
    if _CONTROL.search(remote + fragment):
        raise DockerfileError(f"the git URL {quote(remote)} has control characters in it")
    ref, _, subdir = fragment.partition(":")
    values: dict[str, object] = {
        "ref": ref,
        "subdir": gotext.join("/", subdir)[1:] if fragment else "",
    }
    for key, given in query.items():
        if len(given) > 1:
            raise DockerfileError(f"query {quote(key)} has multiple values")
        value = given[0]
        if _CONTROL.search(value):
            raise DockerfileError(f"query {quote(key)} has control characters in it")
        if not value and key not in _FLAGS:
            raise DockerfileError(f"query {quote(key)} has no value")
        if key in ("ref", "subdir"):
            _merge(values, key, value)
        elif key in ("checksum", "commit"):
            values["checksum"] = value
        elif key in _FLAGS:
            values[key.replace("-", "_")] = _flag(key, value)
        elif key == "mtime":
            if value not in ("checkout", "commit"):
                raise DockerfileError(
                    f'invalid mtime value: {quote(value)} (must be "checkout" or "commit")'
                )
            values["mtime"] = value
        elif key not in ("tag", "branch"):
            raise DockerfileError(f"unexpected query {quote(key)}")
    tag, branch = (query.get(name, [""])[0] for name in ("tag", "branch"))
    if tag:
        _merge(values, "ref", "refs/tags/" + tag.removeprefix("refs/tags/"))
    if branch:
        if tag:
            raise DockerfileError("branch conflicts with tag")
        _merge(values, "ref", "refs/heads/" + branch.removeprefix("refs/heads/"))
    values["remote"] = remote
    values["local_lookalike"] = local_lookalike
    return decoding.from_plain(values, GitReference)


def _merge(values: dict[str, object], key: str, value: str) -> None:
    before = values[key]
    if before and before != value:
        raise DockerfileError(f"{key} conflicts: {quote(str(before))} vs {quote(value)}")
    values[key] = value


def _flag(key: str, value: str) -> bool:
    if not value:
        return True
    try:
        return gotext.parse_bool(value)
    except ValueError:
        raise DockerfileError(f"invalid {key} value: {quote(value)}") from None


def _query(text: str | None) -> Mapping[str, list[str]]:
    """The parameters of a query; malformed ones are dropped, as Go's `URL.Query` does."""
    out: dict[str, list[str]] = {}
    for part in _parts(text or ""):
        key, _, value = part.partition("=")
        try:
            name, content = percent_decode(key, plus=True), percent_decode(value, plus=True)
        except ValueError:
            continue
        out.setdefault(name, []).append(content)
    return out


def _parts(text: str) -> Iterable[str]:
    return (part for part in text.split("&") if part and ";" not in part)
