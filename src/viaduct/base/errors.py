"""Every error Viaduct raises on purpose, on one page.

    ViaductError
    ├── UsageError            the command line or a request field makes no sense
    ├── DockerfileError       the Dockerfile is wrong; carries the place
    ├── BuildError            a build could not be carried out
    │   ├── StepFailed        a RUN step ended with a non-zero status or a signal
    │   └── Canceled          somebody asked us to stop
    ├── NotFound              something named does not exist (image, file, stage, builder)
    ├── PlatformError         a platform is malformed, missing from an image, or cannot run here
    ├── SandboxError          namespaces, mounts or the OCI runtime are not available
    ├── StoreError            the state on disk cannot be read or written
    ├── ContentError          bytes do not match their digest or size, or an archive is hostile
    └── RegistryError         a registry refused, or could not be reached

An error says what happened (`what`), what to do next (`hint`), and where in a source file it
happened (`where`). Only the command line turns it into text on a terminal and an exit status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from viaduct.base.spans import Span


class ViaductError(Exception):
    """An expected failure, addressed to a person.

    `what` is one sentence without a trailing period; `hint` is one sentence or command that mends
    it, or empty; `where` is the place in a source file that caused it.
    """

    def __init__(self, what: str, *, hint: str = "", where: Span | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.where = where

    def __str__(self) -> str:
        return self.what

    def __reduce__(self) -> tuple[object, ...]:
        # An error crosses from the engine's process to the caller's; the default would call the
        # constructor without its keywords.
        return (_restore, (type(self), self.args, self.__dict__))


def _restore(
    kind: type[ViaductError], args: tuple[object, ...], state: dict[str, object]
) -> ViaductError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class UsageError(ViaductError):
    """The command line or a request field makes no sense."""


class DockerfileError(ViaductError):
    """The Dockerfile is wrong."""


class BuildError(ViaductError):
    """A build could not be carried out."""


class StepFailed(BuildError):
    """A step ended with a non-zero status; `exit_code` is 128 + n after signal n.

    `vertex` names the step in the event stream, so that a renderer can show its log tail.
    """

    def __init__(
        self,
        what: str,
        *,
        exit_code: int,
        vertex: str = "",
        hint: str = "",
        where: Span | None = None,
    ) -> None:
        super().__init__(what, hint=hint, where=where)
        self.exit_code = exit_code
        self.vertex = vertex


class Canceled(BuildError):
    """Somebody asked us to stop."""

    def __init__(self, what: str = "canceled", *, hint: str = "") -> None:
        super().__init__(what, hint=hint)


class NotFound(ViaductError):
    """Something named does not exist."""


class PlatformError(ViaductError):
    """A platform is malformed, missing from an image, or cannot run here."""


class SandboxError(ViaductError):
    """Namespaces, mounts, emulators or the OCI runtime are not available."""


class StoreError(ViaductError):
    """The state on disk cannot be read or written."""


class ContentError(ViaductError):
    """Bytes do not match their digest or size, or an archive tries to leave its root."""


class RegistryError(ViaductError):
    """A registry refused, or could not be reached.

    `status` is the HTTP status (0 when there was no answer); `code` is the first error code of the
    distribution specification (`MANIFEST_UNKNOWN`, `DENIED`, …) or empty.
    """

    def __init__(self, what: str, *, status: int = 0, code: str = "", hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.status = status
        self.code = code
