"""`viaduct completion SHELL`, and the answers that the scripts it prints ask for.

click brings the scripts for bash, zsh and fish; what fits at a place of the line is decided here,
because the line is read as pflag reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from viaduct.base.errors import UsageError
from viaduct.cli.command import Command, Group, implements, load
from viaduct.cli.options import GLOBAL, arguments
from viaduct.cli.out import echo
from viaduct.cli.pflag import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from viaduct.cli.pflag import Option
    from viaduct.cli.session import Session

_SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_VIADUCT_COMPLETE"

_HELP = """Print a shell completion script.

Load it in the running shell, or from the shell's start-up file:

  bash:  source <(viaduct completion bash)
  zsh:   source <(viaduct completion zsh)
  fish:  viaduct completion fish | source"""


@implements("completion", help=_HELP)
@arguments("bash | zsh | fish", least=1, most=1)
def command(_session: Session, /, args: tuple[str, ...]) -> None:
    if args[0] not in _SHELLS:
        raise UsageError(f"no completion for {args[0]!r}", hint="choose bash, zsh or fish")
    # The script calls the program by its plain name, wherever this process was started from.
    echo(_shell(args[0], Group(rows=(), help=""), "viaduct").source(), nl=False)


def answer(root: Group, prog: str, instruction: str) -> int:
    """Print the completions for the line in the environment (`bash_complete` and so on)."""
    shell, _, what = instruction.partition("_")
    if shell not in _SHELLS or what != "complete":
        return 1
    echo(_shell(shell, root, prog).complete())
    return 0


def _shell(name: str, root: Group, prog: str) -> ShellComplete:
    base: Any = get_completion_class(name)

    class Shell(base):  # type: ignore[misc] # the base is looked up by name
        def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
            return candidates(root, args, incomplete)

    made: ShellComplete = Shell(click.Command(prog), {}, prog, _VARIABLE)
    return made


def candidates(root: Group, args: Sequence[str], incomplete: str) -> list[CompletionItem[str]]:
    """What may stand at the end of a line that begins with the words `args`."""
    command, rest = _descend(root, args)
    options = [option for option in (*command.options, *GLOBAL) if not option.hidden]
    words = list(rest)
    if incomplete.startswith("--") and "=" in incomplete:
        name, _, incomplete = incomplete.partition("=")
        words.append(name)
    if words and (option := _waiting(options, words[-1])):
        return _values(option, incomplete)
    if incomplete.startswith("-") and "--" not in words:
        return [
            CompletionItem(name, help=option.help)
            for option in options
            for name in option.names
            if name.startswith(incomplete) and (name.startswith("--") or incomplete == "-")
        ]
    if isinstance(command, Group):
        return [
            CompletionItem(row.name, help=row.summary)
            for row in command.rows
            if row.name.startswith(incomplete)
        ]
    if not command.arguments.usage:
        return []
    kind = "dir" if command.arguments.directories else "file"
    return [CompletionItem(incomplete, type=kind)]


def _descend(root: Group, args: Sequence[str]) -> tuple[Command | Group, Sequence[str]]:
    """The command that the words lead to, and the words after its name."""
    command: Command | Group = root
    while isinstance(command, Group):
        rest = read((*command.options, *GLOBAL), args, interspersed=False, lenient=True).rest
        row = command.row(rest[0]) if rest else None
        if row is None:
            break
        args = rest[1:]
        command = load(row)
    return command, args


def _waiting(options: Iterable[Option], word: str) -> Option | None:
    """The option that takes the next word as its value."""
    return next((one for one in options if word in one.names and not one.switch), None)


def _values(option: Option, incomplete: str) -> list[CompletionItem[str]]:
    if option.path:
        return [CompletionItem(incomplete, type="file")]
    return [CompletionItem(word) for word in option.choices if word.startswith(incomplete)]
