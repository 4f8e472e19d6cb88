"""Running a step with an OCI runtime: crun (4 ms a step and what its system call filter takes) or
runc (three times that)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from viaduct.base import proc
from viaduct.base.errors import PlatformError, SandboxError
from viaduct.base.tasks import Stop
from viaduct.base.values import Value
from viaduct.sandbox import etc, failure, kernel, spec
from viaduct.sandbox.inside import make_directory
from viaduct.sandbox.namespace import current
from viaduct.sandbox.runlog import last_error
from viaduct.sandbox.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from viaduct.sandbox.spec import ContainerSpec
    from viaduct.sandbox.watch import OnOutput

Kind: TypeAlias = Literal["crun", "runc"]

_UNIFIED = Path("/sys/fs/cgroup/cgroup.controllers")


class Exit(Value):
    """How a program ended.

    `status` is its exit status, 128 + n after signal n, which is then `signal`: the program's own
    death, or that of one which its shell reports. When it could not even start, `message` says so
    as the peers do. `hint` says what to do about it, where that is known.
    """

    status: int
    signal: int = 0
    message: str = ""
    hint: str = ""

    def __str__(self) -> str:
        return f"exit code: {self.status}"


class Runtime(Value):
    """An OCI runtime and where it keeps what it needs while a step runs.

    `scratch` is a directory of ours in memory. Safe to use from several threads.
    """

    kind: Kind
    program: str
    scratch: Path
    around: spec.Surroundings

    @classmethod
    def find(cls, scratch: Path, *, env: Mapping[str, str] = os.environ) -> Runtime:
        """The runtime of this machine, for use inside of `viaduct.sandbox.enter`.

        `$VIADUCT_RUNTIME` names another one, by path or name. Raises `SandboxError` when there is
        none that can work here.
        """
        found = {kind: path for kind in ("crun", "runc") if (path := proc.find(kind))}
        asked = env.get("VIADUCT_RUNTIME", "")
        kind, program = choose(
            found,
            unified=_UNIFIED.exists(),
            asked=(proc.find(asked) or "") if asked else None,
        )
        namespace = current()
        columns, rows = _terminal_size()
        around = spec.Surroundings(
            machine=os.uname().machine,
            squashed=namespace.squashed if namespace else False,
            capabilities=_held(),
            # mount_setattr(2)
            recursive_readonly=kernel.version() >= (5, 12),
            columns=columns,
            rows=rows,
        )
        return cls(kind, program, scratch, around)

    def run(
        self,
        container: ContainerSpec,
        *,
        on_output: OnOutput | None = None,
        stdin: int | None = None,
        stop: Stop | None = None,
        grace: float = 2.0,
    ) -> Exit:
        """Run `container` to its end.

        `on_output(stream, data)` gets what it writes to stream 1 or 2, as it comes, in this
        thread; without it, it goes to our own output. `stdin` is a descriptor to read from, by
        default an empty one. With a terminal, the container has our standard streams instead.
        On `stop`, the program gets SIGTERM if it handles that, and SIGKILL after `grace` seconds or
        else at once. Nothing of it is left when this returns or raises.

        Raises `Canceled` after a stop; `PlatformError` when the program is for a machine that
        nothing emulates here; `SandboxError` when the runtime could not do its part.
        """
        stop = stop or Stop()
        stop.check()
        make_directory(
            container.rootfs, container.cwd, container.user, squashed=self.around.squashed
        )
        with self._bundle(container) as bundle:
            watch = Watch(
                self._argv(bundle),
                pid_file=bundle / "pid",
                on_output=on_output or _pass_on,
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                terminal=container.terminal,
                scoped=container.security == "sandbox" and container.network == "host",
            )
            try:
                status = watch.until_end(stop, grace)
            finally:
                watch.close()
                self._forget(bundle.name)
            stop.check()
            ended = self._report(container, status, watch, bundle / "log")
        if ended.message:
            (on_output or _pass_on)(2, f"{ended.message}\n".encode())
        return ended

    def _argv(self, bundle: Path) -> list[str]:
        # A step neither needs a session keyring nor a cgroup; both cost time and rights.
        own = ["--cgroup-manager=disabled"] if self.kind == "crun" else ["--rootless=true"]
        # For crun, what stands before the first colon is the kind of log.
        log = f"file:{bundle / 'log'}" if self.kind == "crun" else str(bundle / "log")
        return [
            self.program,
            *own,
            f"--root={self._state}",
            f"--log={log}",
            "--log-format=json",
            "run",
            "--no-new-keyring",
            f"--pid-file={bundle / 'pid'}",
            f"--bundle={bundle}",
            bundle.name,
        ]

    @property
    def _state(self) -> Path:
        return self.scratch / "state"

    @contextlib.contextmanager
    def _bundle(self, container: ContainerSpec) -> Iterator[Path]:
        """A directory with what the runtime reads; its name is the container's id."""
        bundle = self.scratch / f"step-{os.urandom(6).hex()}"
        resolv_conf, hosts = bundle / "resolv.conf", bundle / "hosts"
        document = spec.document(container, self.around, resolv_conf=resolv_conf, hosts=hosts)
        try:
            bundle.mkdir(mode=0o711)
            host = Path("/etc/resolv.conf")
            text = host.read_text(errors="surrogateescape") if host.exists() else ""
            # Steps read these two whoever they run as, and whatever our umask is.
            for path, data in (
                (resolv_conf, etc.resolv_conf(text, network=container.network)),
                (hosts, etc.hosts(container.hostname, container.extra_hosts)),
            ):
                path.write_bytes(data)
                path.chmod(0o644)
            (bundle / "config.json").write_bytes(document)
            yield bundle
        finally:
            with contextlib.suppress(OSError):
                for path in bundle.iterdir():
                    path.unlink()
                bundle.rmdir()

    def _forget(self, name: str) -> None:
        """Have the runtime delete a container that it could not delete itself."""
        if (self._state / name).exists():
            own = self._argv(self.scratch / name)
            options = own[1 : own.index("run")]
            proc.run([self.program, *options, "delete", "--force", name], check=False, timeout=30)

    def _report(self, container: ContainerSpec, status: int, watch: Watch, log: Path) -> Exit:
        said = (last_error(log) or watch.held()) if status != 0 else ""
        if said:
            try:
                verdict = failure.judge(container, said, machine=self.around.machine)
            except PlatformError:
                # What people look for in a log, whichever words the runtime chose around it.
                if "exec format error" in said.lower():
                    watch.say(f"exec {container.args[0]}: exec format error")
                raise
            if verdict is not None:
                return Exit(verdict.status, 0, verdict.message, verdict.hint)
            if last_error(log):
                raise SandboxError(
                    f"{self.kind} could not run the step: {said.strip()}",
                    hint="`viaduct doctor` looks at each part of the machine that steps need",
                )
        watch.release()
        if status == 0:
            return Exit(0)
        hint = failure.advice(container, watch.tail(), machine=self.around.machine)
        if status < 0:
            # The runtime itself was killed, by somebody else or for want of memory.
            return Exit(128 - status, -status, hint=hint)
        number = status - 128
        return Exit(status, number if number in _FATAL else 0, hint=hint)


_FATAL = frozenset(
    int(number)
    for number in (
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGILL,
        signal.SIGTRAP,
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGKILL,
        signal.SIGSEGV,
        signal.SIGPIPE,
        signal.SIGALRM,
        signal.SIGTERM,
        signal.SIGSYS,
    )
)


def choose(
    found: Mapping[str, str], *, unified: bool, asked: str | None = None
) -> tuple[Kind, str]:
    """Which of the runtimes `found` (path by name) to use, as kind and path.

    `unified` says that cgroup v2 alone is to be seen; crun refuses a mixture. `asked` is the path
    of the one that somebody insists on, empty when it does not exist. Raises `SandboxError`.
    """
    if asked is not None:
        if not asked:
            raise SandboxError(
                "VIADUCT_RUNTIME names no program", hint="set it to the path of runc or crun"
            )
        return ("crun" if "crun" in os.path.basename(asked) else "runc"), asked
    if unified and "crun" in found:
        return "crun", found["crun"]
    if "runc" in found:
        return "runc", found["runc"]
    if "crun" in found:
        raise SandboxError(
            "crun does not work with this machine's cgroup v1 hierarchies",
            hint="sudo apt-get install runc",
        )
    raise SandboxError("no OCI runtime is installed", hint="sudo apt-get install crun")


def _terminal_size() -> tuple[int, int]:
    """Columns and rows of the terminal that is our standard input; zeros for something else."""
    try:
        return os.get_terminal_size(0)
    except OSError:
        return 0, 0


def _held() -> int:
    """Our effective capabilities as a bit mask."""
    for row in Path("/proc/self/status").read_text().splitlines():
        if row.startswith("CapEff:"):
            return int(row.split()[1], 16)
    return 0


def _pass_on(stream: int, data: bytes) -> None:
    while data:
        data = data[os.write(stream, data) :]
