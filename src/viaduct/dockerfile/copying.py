"""COPY and ADD lowered to file operations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viaduct.base.errors import ContentError, DockerfileError
from viaduct.dockerfile import gotext
from viaduct.dockerfile.contexts import is_http
from viaduct.dockerfile.giturl import is_git, parse_git
from viaduct.dockerfile.gomatch import has_wildcards
from viaduct.dockerfile.gotext import quote
from viaduct.dockerfile.leg import check_owner, owner_of
from viaduct.dockerfile.naming import INLINE_DOCUMENT, shown, step_name
from viaduct.dockerfile.syntax import CopyAdd
from viaduct.graph.ops import Copy, File, HttpSource, MakeFile, Merge
from viaduct.oci import digest as digests

if TYPE_CHECKING:
    from viaduct.dockerfile.giturl import GitReference
    from viaduct.dockerfile.leg import Leg
    from viaduct.dockerfile.state import Command, StageState
    from viaduct.graph.node import Edge
    from viaduct.graph.ops import Owner

_SYMBOLIC_CLAUSE = r"[augo]*(?:[-+=][rstwXxugo]*)+"
_SYMBOLIC = re.compile(f"{_SYMBOLIC_CLAUSE}(?:,{_SYMBOLIC_CLAUSE})*")
_UNNAMED = "__unnamed__"
_DIGESTS = ("sha256", "sha384", "sha512")


def copy(leg: Leg, state: StageState, command: Command) -> None:
    """A handler of `dispatch`."""
    instruction = command.instruction
    assert isinstance(instruction, CopyAdd)
    _Copying(leg, state, instruction, command.sources[0] if command.sources else None).lower()


class _Copying:
    """One instruction, its words expanded."""

    def __init__(
        self, leg: Leg, state: StageState, instruction: CopyAdd, origin: StageState | None
    ) -> None:
        self.leg = leg
        self.state = state
        self.instruction = instruction
        self.origin = origin
        self.chown = leg.text(state, instruction.flag("chown") or "")
        self.chmod = leg.text(state, instruction.flag("chmod") or "")
        self.checksum = leg.text(state, instruction.flag("checksum") or "")
        self.sources = [leg.word(state, word) for word in instruction.sources]
        self.dest_text = leg.word(state, instruction.dest)
        self.contents = [(one.name, leg.content(state, one)) for one in instruction.contents]
        self.parents = instruction.is_set("parents")
        self.inputs: list[Edge] = []
        self.actions: list[Copy] = []

    def lower(self) -> None:
        state, instruction, leg = self.state, self.instruction, self.leg
        self._check_origin()
        self.dest = _destination(self.dest_text, state.directory)
        self.owner: Owner | None = owner_of(self.chown)
        self.mode = _mode(self.chmod)
        self._check_checksum()
        text = shown(instruction.code, state.env, leg.escape)
        name = step_name(state, text, state.platform, state.env)
        linked = instruction.is_set("link") and not self.chmod
        #: On top of nothing, the inputs of the actions are all there is.
        self.base = None if linked else state.edge
        check_owner(self.owner, self.base, hint="write the owner in numbers, or leave --link out")
        for source in self.sources:
            self._add_source(source, name)
        for file, data in self.contents:
            self._add_content(file, data)
        edge = leg.file(
            tuple(self.actions),
            self.base,
            tuple(self.inputs),
            name,
            instruction.span,
            no_cache=state.no_cache,
        )
        if linked and state.edge is not None:
            # Nameless: to a person it is one step with the copy.
            merged = (state.edge, edge)
            edge = leg.node(Merge(), merged, "", instruction.span, no_cache=state.no_cache)
        state.edge = edge
        state.image.record(f"{self._recorded()} # buildkit", layer=True)

    def _recorded(self) -> str:
        words = [self.instruction.name]
        if self.parents:
            words.append("--parents")
        if self.chown:
            words.append(f"--chown={self.chown}")
        if self.chmod:
            words.append(f"--chmod={self.chmod}")
        words += self.sources
        words += [f"<<{name}" for name, _ in self.contents]
        return " ".join((*words, self.dest_text))

    def _check_origin(self) -> None:
        if self.origin is not None and not self.origin.dispatched:
            raise DockerfileError(
                f"cannot copy from stage {quote(self.instruction.flag('from') or '')}, "
                f"it needs to be defined before current stage {quote(self.state.label)}"
            )

    def _check_checksum(self) -> None:
        if not self.checksum:
            return
        if not self.instruction.is_add:
            raise DockerfileError("checksum can't be specified for COPY")
        if len(self.sources) != 1:
            raise DockerfileError("checksum can't be specified for multiple sources")
        if not is_http(self.sources[0]) and not is_git(self.sources[0]):
            raise DockerfileError("checksum requires HTTP(S) or Git sources")

    def _add_source(self, source: str, name: str) -> None:
        git = parse_git(source)
        if git is not None and not git.local_lookalike:
            self._add_git(git, name)
        elif is_http(source):
            self._add_url(source, name)
        elif self.parents:
            self._add_parents(source)
        else:
            self._add_copy(self._tree(source), gotext.join("/", source), unpack=self._unpacks())

    def _add_git(self, git: GitReference, name: str) -> None:
        if not self.instruction.is_add:
            raise DockerfileError("source can't be a git ref for COPY")
        keep = None
        if self.instruction.flag("keep-git-dir") is not None:
            keep = self.instruction.is_set("keep-git-dir")
            if git.keep_git_dir not in (None, keep):
                raise DockerfileError("inconsistent keep-git-dir configuration")
        if self.checksum and git.checksum and self.checksum != git.checksum:
            raise DockerfileError(
                f"checksum mismatch {quote(self.checksum)} != {quote(git.checksum)}"
            )
        op = git.source(keep_git_dir=bool(keep), checksum=self.checksum)
        if op.checksum and not re.fullmatch("[a-fA-F0-9]+", op.checksum):
            raise DockerfileError(
                f"invalid checksum {op.checksum} for Git URL, expected hex commit hash"
            )
        tree = self.leg.node(op, (), name, self.instruction.span)
        self._add_copy(tree, "/", plain=True)

    def _add_url(self, url: str, name: str) -> None:
        if not self.instruction.is_add:
            raise DockerfileError("source can't be a URL for COPY")
        if self.checksum:
            try:
                digests.parse(self.checksum)
            except ContentError as error:
                raise DockerfileError(_digest_mistake(self.checksum), hint=error.hint) from None
        file = _file_name(url)
        op = HttpSource(url=url, checksum=self.checksum, filename=file)
        tree = self.leg.node(op, (), name, self.instruction.span)
        unpack = self.instruction.is_set("unpack")
        self._add_copy(tree, gotext.join("/", file), unpack=unpack, plain=True)

    def _add_parents(self, source: str) -> None:
        pivot, found, pattern = source.partition("/./")
        if not found:
            pivot, pattern = "/", source
        pattern = pattern if pattern.startswith("/") else gotext.join("/", pattern)
        required: tuple[str, ...] = ()
        if not has_wildcards(pivot) and not has_wildcards(pattern):
            required = (gotext.join("/", pivot, pattern),)
        self._add_copy(
            self._tree(source),
            gotext.join("/", pivot),
            unpack=self._unpacks(),
            includes=(pattern.removeprefix("/"),),
            required=required,
        )

    def _add_content(self, name: str, data: str) -> None:
        path = gotext.join("/", name)
        op = File(actions=(MakeFile(path=path, data=data),), base=-1)
        tree = self.leg.node(op, (), INLINE_DOCUMENT, self.instruction.span)
        self._add_copy(tree, path, plain=True)

    def _tree(self, source: str) -> Edge | None:
        """Where paths are taken from: the context, or the stage or image of `--from`."""
        if self.origin is not None:
            return self.origin.edge
        self.leg.context_paths.add(gotext.join("/", source))
        return self.leg.context()

    def _unpacks(self) -> bool:
        """Archives among local files are unpacked by ADD unless it says otherwise."""
        if self.instruction.flag("unpack") is None:
            return self.instruction.is_add
        return self.instruction.is_set("unpack")

    def _add_copy(
        self,
        tree: Edge | None,
        source: str,
        *,
        unpack: bool = False,
        plain: bool = False,
        includes: tuple[str, ...] = (),
        required: tuple[str, ...] = (),
    ) -> None:
        """One source. `plain`: the very path, no wildcards, no links followed."""
        self.actions.append(
            Copy(
                input=self._input(tree),
                source=source,
                dest=self.dest,
                owner=self.owner,
                mode=self.mode,
                unpack=unpack,
                wildcard=not plain,
                contents=not plain,
                follow=not plain,
                parents=self.parents and not plain,
                includes=includes,
                required=required,
                excludes=self.instruction.flag_values("exclude"),
                into=self.dest.endswith(("/", "/.")),
            )
        )

    def _input(self, tree: Edge | None) -> int:
        """The index of a tree among the node's inputs; the base, where there is one, is first."""
        if tree is None:
            return -1
        if tree == self.base:
            return 0
        if tree not in self.inputs:
            self.inputs.append(tree)
        return self.inputs.index(tree) + (self.base is not None)


def _destination(text: str, directory: str) -> str:
    """The absolute destination; a final `/` or `/.`, which means a directory, stays."""
    text = "./" if text in ("", ".") else text
    path = gotext.join("/", text) if text.startswith("/") else gotext.join("/", directory, text)
    if text.endswith("/") and path != "/":
        return f"{path}/"
    if text.endswith("/."):
        return f"{path.rstrip('/')}/."
    return path


def _mode(text: str) -> str:
    """A checked mode, octal ones in four digits. Raises `DockerfileError`."""
    if not text:
        return ""
    octal = DockerfileError(
        f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
    )
    try:
        value = gotext.parse_uint(text, 8)
    except ValueError:
        if text[0] in "0123456789":
            raise octal from None
        if not _SYMBOLIC.fullmatch(text):
            raise DockerfileError("invalid syntax") from None
        return text
    if value > 0o7777:
        raise octal
    return f"{value:04o}"


def _digest_mistake(text: str) -> str:
    """What is wrong with a digest, in the peers' words."""
    found = re.fullmatch(r"([a-z0-9]+(?:[.+_-][a-z0-9]+)*):[a-zA-Z0-9=_-]+", text)
    if found is None:
        return "invalid checksum digest format"
    if found[1] not in _DIGESTS:
        return "unsupported digest algorithm"
    return "invalid checksum digest length"


def _file_name(url: str) -> str:
    """What the file behind a URL is called: the last part of its path."""
    path = re.split(r"[?#]", url.partition("://")[2], maxsplit=1)[0].partition("/")[2]
    try:
        name = gotext.base(gotext.percent_decode(f"/{path}"))
    except ValueError:
        return _UNNAMED
    return _UNNAMED if name == "/" else name
