"""What steps are called: `[linux/arm64 stage 2/4] RUN …`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from viaduct.base.errors import DockerfileError, PlatformError
from viaduct.dockerfile.expand import expand_word
from viaduct.oci import platform as platforms
from viaduct.oci.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viaduct.dockerfile.state import StageState

INLINE_DOCUMENT = "[internal] preparing inline document"


def step_name(
    state: StageState, text: str, platform: Platform | None, env: Mapping[str, str]
) -> str:
    """The name of the next step of a stage. Counts it."""
    if not state.step_count:
        return text
    state.step += 1
    words: list[str] = []
    if state.show_platform and platform is not None:
        words.append(f"{platform.full}{_cross_target(platform, env)}")
    if state.label:
        words.append(state.label)
    width = len(str(state.step_count))
    words.append(f"{state.step:{width}d}/{state.step_count}")
    trigger = "ONBUILD " if state.in_trigger else ""
    return f"[{' '.join(words)}] {trigger}{text}"


def shown(text: str, env: Mapping[str, str], escape: str, *, keep_quotes: bool = False) -> str:
    """An instruction's text with variables in place and its keyword in upper case.

    `keep_quotes` is for RUN, whose quotes and unset variables belong to the shell.
    """
    # Quotes that only a shell understands are no mistake here: then the text is shown as it is.
    with contextlib.suppress(DockerfileError):
        text = expand_word(text, env, escape=escape, raw_quotes=keep_quotes, skip_unset=keep_quotes)
    keyword, space, rest = text.partition(" ")
    return f"{keyword.upper()}{space}{rest}"


def _cross_target(base: Platform, env: Mapping[str, str]) -> str:
    """`->arm64` where a stage that runs on `base` has declared TARGET arguments for another."""
    target = _target_of(env)
    if target is None:
        return ""
    target = platforms.normalize(
        Platform(target.os or base.os, target.architecture or base.architecture, target.variant)
    )
    if target.os != base.os:
        return f"->{target.full}"
    if target.architecture == base.architecture:
        return ""
    return "->" + "/".join(filter(None, (target.architecture, target.variant)))


def _target_of(env: Mapping[str, str]) -> Platform | None:
    """The platform that TARGET… variables of a stage tell, TARGETPLATFORM before its parts."""
    text = env.get("TARGETPLATFORM")
    if text is not None:
        try:
            return platforms.parse(text)
        except PlatformError:
            pass
    parts = [env.get(f"TARGET{name}") for name in ("OS", "ARCH", "VARIANT")]
    if all(part is None for part in parts):
        return None
    system, architecture, variant = (part or "" for part in parts)
    return Platform(system, architecture, variant)
