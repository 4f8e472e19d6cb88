"""RUN lowered to a command with its mounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile import gotext
from viaduct.dockerfile.gotext import SPACE, quote
from viaduct.dockerfile.lex import heredoc_opening
from viaduct.dockerfile.mounts import MountOptions, read_mount
from viaduct.dockerfile.naming import INLINE_DOCUMENT, shown, step_name
from viaduct.dockerfile.syntax import Run
from viaduct.graph.ops import Exec, File, MakeFile, Mount

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viaduct.dockerfile.leg import Leg
    from viaduct.dockerfile.state import Command, StageState
    from viaduct.graph.node import Edge
    from viaduct.oci.platform import Platform

_SCRIPTS = "/dev/pipes"
_HIDDEN = "****"
#: Machines that run another one's programs without an emulator.
_RELATED = {"amd64": ("386",), "arm64": ("arm",)}


def run(leg: Leg, state: StageState, command: Command) -> None:
    """A handler of `dispatch`."""
    instruction = command.instruction
    assert isinstance(instruction, Run)
    platform = state.platform or leg.platform
    inputs: list[Edge] = []
    mounts = [Mount(target="/", input=_input(inputs, state.edge), output=0)]
    args, summary, script = _arguments(leg, state, instruction)
    if script is not None:
        mounts.append(Mount(target=f"{_SCRIPTS}/", input=_input(inputs, script), readonly=True))
    options = [
        read_mount(value, lambda text: leg.text(state, text))
        for value in instruction.flag_values("mount")
    ]
    mounts += _mounts(leg, state, command, options, inputs)
    env = dict(state.env)
    for mount in mounts:
        if mount.kind == "ssh":
            env.setdefault("SSH_AUTH_SOCK", mount.target)
    if instruction.flag_values("device"):
        raise DockerfileError(
            "device feature is not supported",
            hint="steps get no devices of the machine: leave --device out",
        )
    network = instruction.flag("network") or "default"
    security = instruction.flag("security") or "sandbox"
    _check_entitlements(leg, network, security)
    hidden = {option.env: _HIDDEN for option in options if option.env}
    name = step_name(
        state,
        shown(instruction.code + summary, {**state.env, **hidden}, leg.escape, keep_quotes=True),
        platform,
        state.env,
    )
    op = Exec(
        args=args,
        env=tuple(f"{key}={value}" for key, value in env.items()),
        cwd=state.directory,
        user=state.user,
        mounts=tuple(mounts),
        network=leg.options.network if network == "default" else network,
        security=security,
        proxy_env=leg.proxy_env,
        hostname=leg.hostname,
        extra_hosts=leg.options.add_hosts,
        ulimits=leg.options.ulimits,
        shm_size=leg.options.shm_size,
    )
    state.edge = leg.node(
        op,
        tuple(inputs),
        name,
        instruction.span,
        platform=str(platform),
        no_cache=state.no_cache,
        emulated=_is_foreign(platform, leg.options.build_platform),
    )
    state.image.record(f"RUN {_recorded(args, state.args, state.env)} # buildkit", layer=True)


def _input(inputs: list[Edge], edge: Edge | None) -> int:
    """The index of `edge` among the inputs, which it joins when it is new."""
    if edge is None:
        return -1
    for index, known in enumerate(inputs):
        if known is edge or known == edge:
            return index
    inputs.append(edge)
    return len(inputs) - 1


def _arguments(
    leg: Leg, state: StageState, instruction: Run
) -> tuple[tuple[str, ...], str, Edge | None]:
    """What is executed, what the step's name adds to the text, and a script to be mounted."""
    words = tuple(word.text for word in instruction.args)
    summary, script = "", None
    if instruction.heredocs:
        if len(words) != 1 or instruction.json:
            raise DockerfileError(f"parsing produced an invalid run command: [{' '.join(words)}]")
        first = instruction.heredocs[0]
        if heredoc_opening(words[0]) is None:
            # The shell reads the here-documents: give it back what the file had.
            bodies = (f"\n{heredoc.content}{heredoc.name}" for heredoc in instruction.heredocs)
            words = (words[0] + "".join(bodies),)
        else:
            summary = f" ({_summary(first.content)})"
            if first.body.startswith("#!") and state.image.platform.os != "windows":
                script = _script(leg, instruction, first.name, first.body)
                words = (gotext.join(_SCRIPTS, first.name),)
            else:
                words = (first.body,)
    if not instruction.json:
        words = state.image.with_shell(words)
    if not words:
        raise DockerfileError("arguments are required")
    return words, summary, script


def _script(leg: Leg, instruction: Run, name: str, body: str) -> Edge:
    file = MakeFile(path=gotext.join("/", name), data=body, mode="0755")
    return leg.node(File(actions=(file,), base=-1), (), INLINE_DOCUMENT, instruction.span)


def _summary(text: str) -> str:
    first, newline, _ = text.strip(SPACE).replace("\r\n", "\n").partition("\n")
    return first + ("..." if newline else "")


def _recorded(
    args: tuple[str, ...], declared: Mapping[str, str | None], env: Mapping[str, str]
) -> str:
    """The command as history shows it, build arguments first: `|1 A=b /bin/sh -c …`."""
    words = [f"{key}={env.get(key, value or '')}" for key, value in declared.items()]
    count = [f"|{len(words)}"] if words else []
    return " ".join((*count, *words, *args))


def _check_entitlements(leg: Leg, network: str, security: str) -> None:
    for asked, entitlement in (
        (network == "host", "network.host"),
        (security == "insecure", "security.insecure"),
    ):
        if asked and entitlement not in leg.options.allow:
            raise DockerfileError(
                f"{entitlement} is not allowed", hint=f"grant it with --allow {entitlement}"
            )


def _absolute(target: str, directory: str) -> str:
    """Where a mount goes; a relative target is below the working directory."""
    return target if target.startswith("/") else gotext.join("/", directory, target)


def _is_foreign(platform: Platform, native: Platform) -> bool:
    same = platform.architecture == native.architecture
    related = platform.architecture in _RELATED.get(native.architecture, ())
    return platform.os != native.os or not (same or related)


def _mounts(
    leg: Leg, state: StageState, command: Command, options: list[MountOptions], inputs: list[Edge]
) -> list[Mount]:
    """The mounts in the order they are made: trees by target, then secrets, then agents."""
    trees: list[Mount] = []
    secrets: list[Mount] = []
    agents: list[Mount] = []
    where = command.instruction.span
    for option, source in zip(options, command.sources, strict=True):
        if option.type == "secret":
            secret = _secret(option, state.directory)
            state.secrets.setdefault(secret.id, (where, secret.required))
            secrets.append(secret)
        elif option.type == "ssh":
            agent = _ssh(option, len(agents), state.directory)
            state.ssh.setdefault(agent.id, (where, agent.required))
            agents.append(agent)
        else:
            trees.append(_tree(leg, state, option, source, inputs))
    trees.sort(key=lambda mount: mount.target)
    return [*trees, *secrets, *agents]


def _tree(
    leg: Leg, state: StageState, option: MountOptions, source: StageState, inputs: list[Edge]
) -> Mount:
    target = gotext.clean(_absolute(option.target, state.directory))
    edge = None
    if option.origin:
        if not source.dispatched:
            raise DockerfileError(
                f"cannot mount from stage {quote(option.origin)} to {quote(option.target)}, "
                "stage needs to be defined before current command"
            )
        edge = source.edge
    elif option.type == "bind":
        edge = leg.context()
        leg.context_paths.add(gotext.join("/", option.source))
    if target == "/":
        raise DockerfileError(f"invalid mount target {quote(target)}")
    selector = gotext.join("/", option.source)
    if option.type == "tmpfs":
        return Mount(target=target, kind="tmpfs", size=option.size, readonly=option.readonly)
    if option.type == "bind":
        return Mount(
            target=target,
            input=_input(inputs, edge),
            selector=selector,
            readonly=option.readonly,
        )
    return _cache(leg, state, option, target, edge, selector, inputs)


def _cache(
    leg: Leg,
    state: StageState,
    option: MountOptions,
    target: str,
    edge: Edge | None,
    selector: str,
    inputs: list[Edge],
) -> Mount:
    """A directory that stays.

    Two platforms that share one by accident ruin each other's packages, so the default is one per
    platform; who writes `id=` has chosen a name and means the same directory everywhere.
    """
    name = option.id or gotext.clean(option.target)
    owned = any(value is not None for value in (option.mode, option.uid, option.gid))
    mount = Mount(
        target=target,
        kind="cache",
        id=f"{leg.cache_namespace}/{name}" if leg.cache_namespace else name,
        cache_platform="" if option.id else str(state.platform or leg.platform),
        sharing=option.sharing or "shared",
        readonly=option.readonly,
        mode=0o755,
    )
    if owned and selector == "/":
        # Permissions are those of a new empty directory, in place of what `from` would seed.
        return msgspec.structs.replace(
            mount,
            mode=0o755 if option.mode is None else option.mode,
            uid=option.uid or 0,
            gid=option.gid or 0,
        )
    return msgspec.structs.replace(mount, input=_input(inputs, edge), selector=selector)


def _secret(option: MountOptions, directory: str) -> Mount:
    name = option.source or option.id or gotext.base(option.target)
    target = option.target
    if option.env is None and not target:
        target = f"/run/secrets/{gotext.base(name)}"
    return Mount(
        target=_absolute(target, directory) if target else "",
        kind="secret",
        id=name,
        env="" if option.env is None else option.env or name,
        required=option.required,
        mode=0o400 if option.mode is None else option.mode,
        uid=option.uid or 0,
        gid=option.gid or 0,
    )


def _ssh(option: MountOptions, index: int, directory: str) -> Mount:
    if option.source:
        raise DockerfileError("ssh does not support source")
    return Mount(
        target=_absolute(option.target or f"/run/buildkit/ssh_agent.{index}", directory),
        kind="ssh",
        id=option.id or "default",
        required=option.required,
        mode=0o600 if option.mode is None else option.mode,
        uid=option.uid or 0,
        gid=option.gid or 0,
    )
