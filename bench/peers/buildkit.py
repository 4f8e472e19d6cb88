"""BuildKit: a buildkitd of the benchmark's own, driven by buildctl.

The programs are looked for in `$VIADUCT_BENCH_BUILDKIT`, directories separated by colons, and then
on PATH. It runs arm64 steps where the kernel has a handler for them or, with a
`buildkit-qemu-aarch64` among its programs, by itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

from bench.peers.state import State
from bench.peers.viaduct import registered, search_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.peers.peer import Build

# Steps share the machine's network, as Viaduct's rootless default does: setting up a bridge would
# cost every step time that is not the builder's. The cache must not be collected while measured.
_CONFIG = """
[worker.oci]
  networkMode = "host"
  gc = false
[worker.containerd]
  enabled = false
[registry."localhost"]
  http = true
[registry."127.0.0.1"]
  http = true
"""


class BuildKit:
    name = "buildkit"

    def __init__(self, place: Path) -> None:
        self._place = place / "buildkit"
        self._state = State(self._place / "state")
        self._daemon: subprocess.Popen[bytes] | None = None
        self._path = search_path()
        self._address = f"unix://{self._place / 'buildkitd.sock'}"

    def why_not(self, *, foreign: bool) -> str:
        for program in ("buildkitd", "buildctl"):
            if not self._find(program):
                return f"{program} is not on PATH (or in VIADUCT_BENCH_BUILDKIT)"
        if os.geteuid() != 0:
            return "its daemon needs root here"
        if foreign and not (self._find("buildkit-qemu-aarch64") or registered()):
            return "no buildkit-qemu-aarch64 and no handler for arm64 programs"
        return ""

    def version(self) -> str:
        argv = [self._find("buildkitd") or "buildkitd", "--version"]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()

    def start(self) -> None:
        self._state.renew()
        self._start_daemon()

    def _start_daemon(self) -> None:
        config = self._place / "buildkitd.toml"
        config.write_text(_CONFIG)
        with (self._place / "buildkitd.log").open("wb") as log:
            self._daemon = subprocess.Popen(
                [
                    *[self._find("buildkitd") or "buildkitd", "--config", str(config)],
                    *["--root", str(self._state.path), "--addr", self._address],
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment(),
            )
        deadline = time.monotonic() + 30
        while subprocess.run(
            self._buildctl("debug", "workers"), capture_output=True, check=False
        ).returncode:
            if self._daemon.poll() is not None or time.monotonic() > deadline:
                text = (self._place / "buildkitd.log").read_text(errors="replace")
                raise RuntimeError(f"buildkitd did not start:\n{text[-2000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        self._stop_daemon()
        self._state.remove()

    def _stop_daemon(self) -> None:
        if self._daemon is not None:
            self._daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._daemon.wait(20)
            self._daemon.kill()
            self._daemon.wait()
            self._daemon = None

    def commands(self, build: Build) -> list[list[str]]:
        argv = self._buildctl("build", "--progress", "plain", "--frontend", "dockerfile.v0")
        argv += ["--local", f"context={build.context}", "--local", f"dockerfile={build.context}"]
        argv += ["--opt", f"platform={','.join(build.platforms)}"]
        for name, value in build.args.items():
            argv += ["--opt", f"build-arg:{name}={value}"]
        if build.tag:
            argv += ["--output", f"type=image,name={build.tag},push=true"]
        return [argv]

    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "PATH": self._path, "OTEL_SDK_DISABLED": "true"}

    def daemons(self) -> Sequence[int]:
        return (self._daemon.pid,) if self._daemon else ()

    def forget(self) -> None:
        self._stop_daemon()
        self._state.renew()
        self._start_daemon()

    def _find(self, program: str) -> str | None:
        return shutil.which(program, path=self._path)

    def _buildctl(self, *arguments: str) -> list[str]:
        return [self._find("buildctl") or "buildctl", "--addr", self._address, *arguments]
