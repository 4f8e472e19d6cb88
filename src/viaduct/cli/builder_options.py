"""What the builder commands share: which builder is meant, and options that do nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from viaduct.cli.options import text
from viaduct.cli.out import echo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from viaduct.cli.session import Session
    from viaduct.engine.builder.values import Builder
    from viaduct.engine.builders import Builders

F = TypeVar("F", bound="Callable[..., Any]")

#: Why an option that scripts carry is taken and then left alone.
_REASONS = {
    "buildkitd-flags": "there is no daemon to pass them to",
    "buildkitd-config": "there is no daemon to configure; registries are set up with "
    "--registry-insecure and --registry-mirror",
}


def timeout(command: F) -> F:
    """`--timeout`, which scripts carry: what is asked answers at once."""
    return text("--timeout", hidden=True, help="Accepted for scripts: there is no daemon")(command)


def say_without_effect(given: Mapping[str, object]) -> None:
    """Tell on standard error which of the options that were given do nothing, and why."""
    for name, value in given.items():
        if value:
            echo(f"WARNING: --{name} has no effect: {_REASONS[name]}", err=True)


def chosen(session: Session, args: Sequence[str]) -> str:
    """The builder that a command is about: its argument, or the global option; empty for the one in
    use."""
    return args[0] if args else session.builder


def check(session: Session) -> None:
    """Raise `NotFound` unless the builder that was named is there, for commands on what all
    builders share."""
    from viaduct.engine.builders import Builders

    Builders.of(session.env).find(session.builder)


def boot(builders: Builders, builder: Builder) -> None:
    """Start the builder, and say which of its nodes did not run before."""
    for node in sorted(builders.start(builder)):
        echo(f"{node} started", err=True)
