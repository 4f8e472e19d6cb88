"""`viaduct binfmt`: the machine's own table of emulators.

Viaduct's builds do without it wherever the kernel lets them keep a table of their own; this is for
machines where it does not, and for everybody else's programs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from viaduct.base.errors import SandboxError, UsageError
from viaduct.cli.command import implements
from viaduct.cli.failure import Leave
from viaduct.cli.options import arguments, switch, text, texts
from viaduct.cli.out import echo

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from viaduct.cli.session import Session
    from viaduct.sandbox.binfmt import Outcome, Status
    from viaduct.sandbox.machines import Machine

_TABLE = "/proc/sys/fs/binfmt_misc"

#: The order in which `all` is installed; machines that are not named here follow.
_FIRST = ("arm64", "amd64", "riscv64")

NOT_NEEDED = "Viaduct's builds need none of this: each has a table of its own, without root"


@implements("binfmt")
@texts("--install", metavar="arch,…", choices=("all", "arm64", "amd64", "riscv64"),
       help="Register emulators for these architectures, or all")  # fmt: skip
@texts("--uninstall", metavar="arch,…", choices=("all", "qemu-*"),
       help="Remove emulators by architecture, handler or pattern, or all")  # fmt: skip
@text("--mount", metavar="path", path=True, default=_TABLE, help="Where the table is mounted")
@switch("--json", help="Print what runs here and what is registered as JSON")
@switch("--version", help="Show the versions of Viaduct and of the emulators")
@arguments("", most=0)
def command(
    session: Session,
    /,
    args: tuple[str, ...],  # noqa: ARG001 - checked to be empty
    *,
    install: tuple[str, ...],
    uninstall: tuple[str, ...],
    mount: str,
    json: bool,
    version: bool,
) -> None:
    """Show or change which programs of other machines this machine runs."""
    if version:
        echo(_versions(session.env))
        return
    table = Path(mount)
    added, removed = _words(install, "--install"), _words(uninstall, "--uninstall")
    failed = _change(session.env, table, added, removed) if added or removed else False
    if json or not (added or removed):
        _show(table, json=json)
    if failed:
        raise Leave(1)


def _words(values: Iterable[str], option: str) -> list[str]:
    words = [word.strip() for value in values for word in value.split(",")]
    if not all(words):
        raise UsageError(f"{option} has an empty name", hint=f"{option} all, or {option} arm64")
    return list(dict.fromkeys(_architecture(word) for word in words))


def _architecture(word: str) -> str:
    """`arm64` also where somebody writes `aarch64` or `linux/arm64`; anything else as it is."""
    from viaduct.base.errors import PlatformError
    from viaduct.oci import platform as platforms
    from viaduct.sandbox.machines import of_uname

    try:
        return platforms.parse(word).architecture
    except PlatformError:
        return of_uname(word)


def _change(
    env: Mapping[str, str], table: Path, added: Sequence[str], removed: Sequence[str]
) -> bool:
    """Remove, then add, with a line for each; whether something failed."""
    from viaduct.sandbox import binfmt, emulate, kernel

    done: list[Outcome] = []
    try:
        binfmt.mount_host(table)
        for outcome in binfmt.uninstall(removed, table) if removed else ():
            _line("uninstalling", outcome)
            done.append(outcome)
        if added:
            outcomes = binfmt.install(
                _architectures(env, added),
                table,
                find=lambda machine: _emulator(env, machine),
                kernel=kernel.version(),
                natives=emulate.natives(),
            )
            for outcome in outcomes:
                _line("installing", outcome)
                done.append(outcome)
    except SandboxError as error:
        raise _explained(error, added, removed) from error
    _note(done, installed=bool(added))
    return not all(outcome.done for outcome in done)


def _architectures(env: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """What `--install` names; `all` is what runs by itself and what an emulator is here for."""
    from viaduct.sandbox import emulate
    from viaduct.sandbox.machines import MACHINES

    if "all" not in names:
        return list(names)
    order = [*_FIRST, *(arch for arch in MACHINES if arch not in _FIRST)]
    emulated = [arch for arch in order if _emulator(env, MACHINES[arch])]
    natives = emulate.natives()
    if not set(emulated) - natives:
        raise SandboxError("no emulator is installed", hint=f"sudo apt-get install {_package()}")
    wanted = {*emulated, *natives, *names} - {"all"}
    return [arch for arch in order if arch in wanted] + sorted(wanted - set(order))


def _emulator(env: Mapping[str, str], machine: Machine) -> str | None:
    from viaduct.sandbox import emulate

    directory = env.get("QEMU_BINARY_PATH", "")
    return emulate.find_emulator(machine, Path(directory) if directory else None)


def _line(doing: str, outcome: Outcome) -> None:
    """As the peers' tool has it: one architecture, and `OK` or what stood in the way."""
    said = "OK" if outcome.result in ("ok", "native") else outcome.detail
    echo(f"{doing}: {outcome.name} {said}", err=True)


def _note(done: Sequence[Outcome], *, installed: bool) -> None:
    """What the lines leave unsaid."""
    if natives := [outcome.name for outcome in done if outcome.result == "native"]:
        verb = "runs" if len(natives) == 1 else "run"
        echo(f"note: {', '.join(natives)} {verb} without an emulator here", err=True)
    if absent := [o for o in done if o.result == "missing" and o.detail.endswith("installed")]:
        names = ", ".join(outcome.name for outcome in absent)
        echo(f"hint: for {names}: sudo apt-get install {_package()}", err=True)
    if installed and _private():
        echo(f"note: {NOT_NEEDED}", err=True)


def _explained(error: SandboxError, added: Sequence[str], removed: Sequence[str]) -> SandboxError:
    """The error with the command that would have worked, and whether it is wanted at all."""
    if error.hint:
        return error
    words = ["sudo viaduct binfmt"]
    words += [f"--uninstall {','.join(removed)}"] if removed else []
    words += [f"--install {','.join(added)}"] if added else []
    needless = f" ({NOT_NEEDED})" if _private() else ""
    hint = f"only the machine's root may change its table: {' '.join(words)}{needless}"
    return SandboxError(error.what, hint=hint)


def _show(table: Path, *, json: bool) -> None:
    from viaduct.sandbox import binfmt
    from viaduct.sandbox.supported import supported

    found = binfmt.seen(table)
    platforms = [str(platform) for platform in supported(own_namespace=False)]
    names = [entry.name for entry in found.registrations]
    if json:
        from json import dumps

        echo(dumps({"supported": platforms, "emulators": names}, indent=2))
        return
    echo(_table(found), nl=False)
    echo(f"Runs here: {', '.join(platforms)}")
    if _private():
        echo(f"{NOT_NEEDED}.")
    else:
        echo("Viaduct's builds run what is listed here: `viaduct doctor` says why.")


def _table(found: Status) -> str:
    from viaduct.cli.listing import aligned
    from viaduct.sandbox.machines import MACHINES

    if not found.registrations:
        return "No emulator is registered.\n" if found.mounted else "The table cannot be seen.\n"
    rows = [["HANDLER", "PLATFORM", "FLAGS", "STATUS", "INTERPRETER"]]
    for entry in found.registrations:
        arch = next((arch for arch, m in MACHINES.items() if entry.matches(m)), "")
        state = "enabled" if entry.enabled and found.enabled else "disabled"
        platform = f"linux/{arch}" if arch else "-"
        rows.append([entry.name, platform, entry.flags, state, entry.interpreter])
    return aligned(rows)


def _versions(env: Mapping[str, str]) -> str:
    """The line of the peers' tool, with Python's version where they name their compiler's."""
    from viaduct import __version__
    from viaduct.sandbox import qemu
    from viaduct.sandbox.machines import MACHINES

    found = (program for m in MACHINES.values() if (program := _emulator(env, m)))
    first = next(found, "")
    version = ".".join(map(str, qemu.version(first))) if first else "none"
    return f"binfmt/v{__version__} qemu/v{version} python/{sys.version.split()[0]}"


def _private() -> bool:
    from viaduct.sandbox import trial

    return trial.private_table()


def _package() -> str:
    from viaduct.sandbox.qemu import PACKAGE

    return PACKAGE
