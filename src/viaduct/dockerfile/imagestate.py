"""An image configuration while instructions change it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from viaduct.base.urls import masked
from viaduct.oci.models import Healthcheck, History, ImageConfig, RootFS, RunConfig
from viaduct.oci.platform import Platform, normalize

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMENT = "buildkit.dockerfile.v0"
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ImageState:
    """The mutable twin of `ImageConfig`, without layers.

    `epoch` is the RFC 3339 time of new history entries, empty when the export gives them theirs.
    """

    __slots__ = (
        "args_escaped",
        "author",
        "cmd",
        "entrypoint",
        "env",
        "epoch",
        "healthcheck",
        "history",
        "labels",
        "on_build",
        "platform",
        "ports",
        "shell",
        "stop_signal",
        "user",
        "volumes",
        "working_dir",
    )

    def __init__(self, config: ImageConfig | None, epoch: str) -> None:
        run = config.config if config else RunConfig()
        self.platform = (
            Platform(
                config.os,
                config.architecture,
                config.variant,
                config.os_version,
                config.os_features,
            )
            if config
            else Platform("", "")
        )
        self.author = config.author if config else ""
        self.epoch = epoch
        self.user = run.user
        self.env = list(run.env)
        self.entrypoint: Sequence[str] = run.entrypoint or ()
        self.cmd: Sequence[str] = run.cmd or ()
        self.healthcheck: Healthcheck | None = run.healthcheck
        self.args_escaped = run.args_escaped
        self.ports: dict[str, dict[str, Any]] = dict(run.exposed_ports)
        self.volumes: dict[str, dict[str, Any]] = dict(run.volumes)
        self.working_dir = run.working_dir
        self.on_build = list(run.on_build or ())
        self.labels = dict(run.labels)
        self.stop_signal = run.stop_signal
        self.shell: Sequence[str] = run.shell or ()
        self.history = list(config.history) if config else []

    def copy(self) -> ImageState:
        """An independent copy."""
        out = ImageState.__new__(ImageState)
        for name in self.__slots__:
            value = getattr(self, name)
            setattr(out, name, value.copy() if isinstance(value, list | dict) else value)
        return out

    def environment(self) -> list[tuple[str, str]]:
        """ENV as pairs, in order."""
        return [(key, value) for key, _, value in (entry.partition("=") for entry in self.env)]

    def set_env(self, key: str, value: str) -> None:
        """Replace the variable where it stands, or add it at the end."""
        entry = f"{key}={value}"
        for index, old in enumerate(self.env):
            if old.partition("=")[0] == key:
                self.env[index] = entry
                return
        self.env.append(entry)

    def set_default_path(self, system: str) -> None:
        """Programs need a PATH; images that have none get the usual one."""
        if system != "windows" and not any(entry.startswith("PATH=") for entry in self.env):
            self.env.append(f"PATH={_DEFAULT_PATH}")

    def with_shell(self, words: Sequence[str]) -> tuple[str, ...]:
        """A shell form as arguments."""
        shell = self.shell or default_shell(self.platform.os)
        return (*shell, " ".join(words))

    def record(self, text: str, *, layer: bool = False) -> None:
        """Add a line to the history. What ADD logs in with is no part of the image."""
        text = masked(text) if text.startswith("ADD ") else text
        self.history.append(
            History(created=self.epoch, created_by=text, comment=COMMENT, empty_layer=not layer)
        )

    def config(self) -> ImageConfig:
        """The finished configuration, with maps in the order of their keys."""
        platform = normalize(self.platform)
        return ImageConfig(
            author=self.author,
            architecture=platform.architecture,
            os=platform.os,
            os_version=platform.os_version,
            os_features=platform.os_features,
            variant=platform.variant,
            config=RunConfig(
                user=self.user,
                exposed_ports=dict(sorted(self.ports.items())),
                env=tuple(self.env),
                entrypoint=tuple(self.entrypoint) or None,
                cmd=tuple(self.cmd) or None,
                healthcheck=self.healthcheck,
                args_escaped=self.args_escaped,
                volumes=dict(sorted(self.volumes.items())),
                working_dir=self.working_dir,
                on_build=tuple(self.on_build) or None,
                labels=dict(sorted(self.labels.items())),
                stop_signal=self.stop_signal,
                shell=tuple(self.shell) or None,
            ),
            rootfs=RootFS(),
            history=tuple(self.history),
        )


def empty_image(platform: Platform, epoch: str) -> ImageState:
    """What `FROM scratch` starts with."""
    image = ImageState(None, epoch)
    image.platform = platform
    image.working_dir = "/"
    image.set_default_path(platform.os)
    return image


def default_shell(system: str) -> tuple[str, ...]:
    """SHELL of images that have none."""
    return ("cmd", "/S", "/C") if system == "windows" else ("/bin/sh", "-c")


def without_created(config: ImageConfig) -> ImageConfig:
    """A base's configuration for a new image, which is not as old as its base."""
    return msgspec.structs.replace(config, created="")
