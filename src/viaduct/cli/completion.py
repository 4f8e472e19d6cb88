"""`viaduct completion SHELL`, and the answers that the scripts it prints ask for.

click brings the scripts for bash, zsh and fish; what fits at a place of the line is decided here,
because the line is read as pflag reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from viaduct.base.errors import UsageError
from viaduct.cli.command import Command, Group
from viaduct.cli.options import arguments
from viaduct.cli.pflag import Switch, canonical

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_VIADUCT_COMPLETE"

_HELP = """Print a shell completion script.

Load it in the running shell, or from the shell's start-up file:

  bash:  source <(viaduct completion bash)
  zsh:   source <(viaduct completion zsh)
  fish:  viaduct completion fish | source"""


@click.command("completion", cls=Command, help=_HELP)
@arguments("bash | zsh | fish", least=1, most=1)
def command(args: tuple[str, ...]) -> None:
    if args[0] not in _SHELLS:
        raise UsageError(f"no completion for {args[0]!r}", hint="choose bash, zsh or fish")
    # The script calls the program by its plain name, wherever this process was started from.
    click.echo(_shell(args[0], click.Group("viaduct"), "viaduct").source(), nl=False)


def answer(root: click.Group, prog: str, instruction: str) -> int:
    """Print the completions for the line in the environment (`bash_complete` and so on)."""
    shell, _, what = instruction.partition("_")
    if shell not in _SHELLS or what != "complete":
        return 1
    click.echo(_shell(shell, root, prog).complete())
    return 0


def _shell(name: str, root: click.Group, prog: str) -> ShellComplete:
    base: Any = get_completion_class(name)

    class Shell(base):  # type: ignore[misc] # the base is looked up by name
        def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
            return candidates(root, prog, args, incomplete)

    made: ShellComplete = Shell(root, {}, prog, _VARIABLE)
    return made


def candidates(
    root: click.Command, prog: str, args: Sequence[str], incomplete: str
) -> list[CompletionItem[str]]:
    """What may stand at the end of a line that begins with the words `args`."""
    ctx = click.Context(root, info_name=prog, resilient_parsing=True)
    command, rest = _descend(ctx, root, args)
    options = [
        param
        for param in command.get_params(ctx)
        if isinstance(param, click.Option) and not param.hidden
    ]
    words = list(rest)
    if incomplete.startswith("--") and "=" in incomplete:
        name, _, incomplete = incomplete.partition("=")
        words.append(name)
    if words and (option := _waiting(options, words[-1])):
        return list(option.type.shell_complete(ctx, option, incomplete))
    if incomplete.startswith("-") and "--" not in words:
        return [
            CompletionItem(name, help=option.help)
            for option in options
            for name in option.opts
            if name.startswith(incomplete) and (name.startswith("--") or incomplete == "-")
        ]
    if isinstance(command, Group):
        return [
            CompletionItem(row.name, help=row.summary)
            for row in command.rows
            if row.name.startswith(incomplete)
        ]
    for param in command.params:
        if isinstance(param, click.Argument):
            return list(param.type.shell_complete(ctx, param, incomplete))
    return []


def _descend(
    ctx: click.Context, command: click.Command, args: Sequence[str]
) -> tuple[click.Command, Sequence[str]]:
    """The command that the words lead to, and the words after its name."""
    while isinstance(command, Group):
        words = canonical(command.get_params(ctx), args, interspersed=False, lenient=True)
        rest = words[words.index("--") + 1 :]
        found = command.get_command(ctx, rest[0]) if rest else None
        if found is None:
            break
        args = rest[1:]
        command = found
    return command, args


def _waiting(options: Sequence[click.Option], word: str) -> click.Option | None:
    """The option that takes the next word as its value."""
    for option in options:
        if word in option.opts and not isinstance(option, Switch) and not option.is_flag:
            return option
    return None
