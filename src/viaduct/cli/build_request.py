"""From the text of `viaduct build`'s options to a `BuildRequest`, or to an error that helps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viaduct.base.errors import UsageError
from viaduct.base.values import Value
from viaduct.cli import attests, git_labels, outputs, values
from viaduct.cli.units import parse_binary_size
from viaduct.engine.request import STDIO, BuildRequest, Output
from viaduct.oci import platform as platforms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FILES = frozenset(("local", "tar"))

NO_OUTPUT = (
    "No output specified. Build result will only remain in the build cache. "
    "To push result image into registry use --push or to load image into the local store use --load"
)
NO_REMOTE_CACHE = (
    "--cache-from and --cache-to have no effect yet: the cache of this machine is always used, "
    "and no other"
)
NO_PROVENANCE = "no provenance is attached: not available yet"
NO_TAG = (
    "The image has no name, so that it will only remain in the build cache. "
    "Name it with --tag to find it in the local store"
)


class BuildFlags(Value, kw_only=True):
    """The options of `viaduct build` as given; names are the options' names."""

    add_host: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    annotation: tuple[str, ...] = ()
    attest: tuple[str, ...] = ()
    build_arg: tuple[str, ...] = ()
    build_context: tuple[str, ...] = ()
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    call: str = "build"
    check: bool = False
    file: str = ""
    iidfile: str = ""
    label: tuple[str, ...] = ()
    load: bool = False
    metadata_file: str = ""
    network: str = "default"
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    output: tuple[str, ...] = ()
    platform: tuple[str, ...] = ()
    policy: tuple[str, ...] = ()
    progress: str = "auto"
    provenance: str = ""
    pull: bool = False
    push: bool = False
    quiet: bool = False
    registry_insecure: tuple[str, ...] = ()
    registry_mirror: tuple[str, ...] = ()
    sbom: str = ""
    secret: tuple[str, ...] = ()
    shm_size: str = ""
    ssh: tuple[str, ...] = ()
    tag: tuple[str, ...] = ()
    target: str = ""
    ulimit: tuple[str, ...] = ()


class BuildCall(Value):
    """A build as the command line carries it out: the request, what is printed and what is
    written beside it. `notices` are said before the build begins."""

    request: BuildRequest
    call: values.Call
    mode: str
    print_id: bool
    metadata_file: str = ""
    iidfile: str = ""
    notices: tuple[str, ...] = ()


def read(
    flags: BuildFlags,
    context: str,
    env: Mapping[str, str],
    *,
    stdout_is_terminal: bool = False,
    default_load: bool = False,
) -> BuildCall:
    """Check and combine the options. Raises `UsageError` and `PlatformError`.

    `default_load` says that the builder loads images for which no output was chosen.
    """
    notices = _missing_parts(flags)
    mode, print_id = _progress(flags, env)
    call = values.call("check" if flags.check else flags.call)
    if context == STDIO and flags.file == STDIO:
        raise UsageError(
            "invalid argument: can't use stdin for both build context and dockerfile",
            hint="give one of them as a path",
        )
    if flags.no_cache and flags.no_cache_filter:
        raise UsageError("--no-cache and --no-cache-filter cannot currently be used together")
    filtered = _split(flags.no_cache_filter)
    wanted = flags.platform or (env.get("DOCKER_DEFAULT_PLATFORM", ""),)
    targets = platforms.parse_list(wanted)
    chosen = outputs.parse(flags.output, stdout_is_terminal=stdout_is_terminal)
    chosen = _complete(chosen, flags, platforms=len(targets))
    if flags.cache_from or flags.cache_to:
        # Without effect on the result: a script that shares its cache builds all the same.
        notices.append(NO_REMOTE_CACHE)
    if not chosen and call.method == "build":
        if default_load:
            # An engine's classic store may not hold several platforms; ours does.
            chosen = outputs.with_names((Output("image", load=len(targets) <= 1),), flags.tag)
        if print_id or flags.iidfile:
            # An id is asked for, so there has to be an image; it stays in the store, unnamed.
            chosen = chosen or (Output("image"),)
        elif not default_load:
            notices.append(NO_OUTPUT)
        elif not flags.tag:
            notices.append(NO_TAG)
    request = BuildRequest(
        context=context,
        dockerfile=flags.file,
        platforms=targets,
        tags=tuple(dict.fromkeys(outputs.complete_tag(tag) for tag in flags.tag)),
        outputs=chosen,
        build_args=values.build_args(flags.build_arg, env),
        target=flags.target,
        labels={**git_labels.labels(env, context, flags.file), **values.pairs(flags.label)},
        annotations=values.annotated(flags.annotation),
        # A filter that names no stage is for all of them.
        no_cache=flags.no_cache or bool(flags.no_cache_filter and not filtered),
        no_cache_filter=filtered,
        pull=flags.pull,
        network=_network(flags.network),
        add_hosts=values.hosts(flags.add_host),
        shm_size=parse_binary_size(flags.shm_size) if flags.shm_size else 0,
        ulimits=values.ulimits(flags.ulimit),
        named_contexts=values.named_contexts(flags.build_context),
        secrets=values.secrets(flags.secret, env),
        ssh=values.ssh_agents(flags.ssh, env, context=context),
        allow=_allow(flags),
        registries=values.registries(flags.registry_insecure, flags.registry_mirror),
        call=call.method,
        call_json=call.json,
    )
    return BuildCall(
        request=request,
        call=call,
        mode=mode,
        print_id=print_id and call.method == "build",
        metadata_file=flags.metadata_file,
        iidfile=flags.iidfile,
        notices=tuple(notices),
    )


def _complete(
    chosen: tuple[Output, ...], flags: BuildFlags, *, platforms: int
) -> tuple[Output, ...]:
    """The outputs with what `--push`, `--load` and `--tag` say about them."""
    if flags.iidfile and any(output.kind in _FILES for output in chosen):
        raise UsageError("local and tar exporters are incompatible with image ID file")
    for output in chosen:
        # What is loaded depends on the engine that answers; the engine's exports look at that.
        if output.kind == "docker" and platforms > 1 and not output.load:
            raise UsageError(
                "docker exporter does not support exporting manifest lists, "
                "use the oci exporter instead",
                hint=f"-o type=oci,dest={output.dest}",
            )
    if "buildx.local.delete" not in flags.allow:
        outputs.check_deletes(chosen)
    if flags.push:
        chosen = outputs.with_push(chosen)
    if flags.load:
        chosen = outputs.with_load(chosen)
    return outputs.with_names(chosen, flags.tag)


def _progress(flags: BuildFlags, env: Mapping[str, str]) -> tuple[str, bool]:
    """The display mode, and whether the image id is printed at the end."""
    mode = values.progress_mode(flags.progress, env)
    if flags.quiet and flags.progress not in ("auto", "quiet", "none"):
        raise UsageError(f"progress={flags.progress} and quiet cannot be used together")
    if flags.quiet or flags.progress == "quiet":
        return "none" if flags.progress == "none" else "quiet", True
    return mode, False


def _network(mode: str) -> str:
    if mode in ("", "default", "none", "host"):
        return mode or "default"
    raise UsageError(
        f'network mode "{mode}" not supported', hint="use --network default, none or host"
    )


def _allow(flags: BuildFlags) -> tuple[str, ...]:
    allowed = values.entitlements(flags.allow)
    if flags.network == "host" and "network.host" not in allowed:
        allowed = (*allowed, "network.host")
    return allowed


def _missing_parts(flags: BuildFlags) -> list[str]:
    """What scripts written for the peers ask for and Viaduct does not do yet: refused, or a notice.
    CI actions ask for provenance of their own accord, so that an image without it serves; whoever
    asks for an SBOM or a policy means it."""
    wanted = attests.asked(flags.attest, provenance=flags.provenance, sbom=flags.sbom)
    for kind, option in wanted.items():
        if kind != "provenance":
            hint = "use --sbom=false" if option.startswith("--sbom") else "leave it out"
            raise _not_yet(option, hint)
    if flags.policy:
        raise _not_yet("--policy", "build without a policy")
    return [NO_PROVENANCE] if wanted else []


def _not_yet(what: str, hint: str) -> UsageError:
    return UsageError(f"{what} is not available yet", hint=hint)


def _split(given: Sequence[str]) -> tuple[str, ...]:
    return tuple(part for value in given for part in value.split(",") if part)
