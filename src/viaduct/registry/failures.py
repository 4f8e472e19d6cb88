"""What can go wrong between us and a registry, and how a person is told.

Every failure of this package is a `RegistryError`. The two kinds below say in addition whether
trying again can help: `Broken` when no whole answer came, `Refused` when one came that says no.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from viaduct.base.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Mapping

_RETRY_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_RETRY_KIND = frozenset({"reset", "timeout", "dns-again"})


class Broken(RegistryError):
    """An exchange that did not come to its end.

    `kind` is `refused`, `unreachable`, `dns`, `dns-again`, `tls` (it speaks TLS, but not with us),
    `not-tls`, `timeout`, `reset` or `protocol`.
    """

    def __init__(self, what: str, *, kind: str, hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.kind = kind


class Refused(RegistryError):
    """An answer that says no; `retry_after` is the wait in seconds that it asks for, or None."""

    def __init__(
        self,
        what: str,
        *,
        status: int,
        code: str = "",
        hint: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(what, status=status, code=code, hint=hint)
        self.retry_after = retry_after


def may_help_to_retry(error: RegistryError) -> bool:
    """Whether the same request can succeed a moment later."""
    if isinstance(error, Broken):
        return error.kind in _RETRY_KIND
    return isinstance(error, Refused) and error.status in _RETRY_STATUS


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait by a Retry-After header (RFC 9110, 10.2.3), never negative; None without."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    if not text:
        return None
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def read_errors(body: bytes, content_type: str) -> tuple[str, str]:
    """Code and message of a distribution error body, or empty strings.

    Reads the specification's `{"errors": […]}`, the `{"details"|"message"|"error": …}` of token
    servers, and short plain text; HTML pages say nothing to a person and are dropped.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        text = body.decode("utf-8", "replace").strip()
        is_page = "html" in content_type or text.startswith("<")
        return "", "" if is_page else _one_line(text)
    if not isinstance(value, dict):
        return "", ""
    errors = value.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        code = errors[0].get("code")
        message = errors[0].get("message")
        detail = errors[0].get("detail")
        if not isinstance(message, str) or not message:
            message = detail if isinstance(detail, str) else ""
        return code if isinstance(code, str) else "", _one_line(message)
    for key in ("error_description", "details", "message", "error"):
        if isinstance(found := value.get(key), str):
            return "", _one_line(found)
    return "", ""


def refusal(
    what: str,
    *,
    host: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    now: float,
    identity: str,
    account: str = "",
) -> Refused:
    """The error for an answer that was not hoped for.

    `what` names the attempt (`push of localhost:5000/app`); `identity` says as whom we asked;
    `account` is the registry to log in to, where it is not `host` that answered.
    """
    account = account or host
    code, message = read_errors(body, headers.get("content-type", ""))
    said = f": {message}" if message else f": {code}" if code else ""
    hint = ""
    if status == 401:
        text, hint = f"{what}: {host} wants other credentials ({identity})", _login(account)
    elif status == 403:
        text = f"{what}: {host} denies access ({identity})"
        hint = f"check the name and the rights of the account, or {_login(account)}"
    elif status == 404 and code == "NAME_UNKNOWN":
        text = f"{what}: {host} has no such repository"
        hint = "check the name; some registries hide what the account may not see"
    elif status == 404:
        text = f"{what}: not found on {host}"
        hint = "check the name and the tag; some registries hide what the account may not see"
        if "html" in headers.get("content-type", ""):
            hint = f"{host} answered with a web page: is it an image registry?"
    elif status == 405 or code == "UNSUPPORTED":
        text = f"{what}: {host} does not allow this operation"
    elif status == 413:
        text = f"{what}: {host} refuses a body of this size"
        hint = "raise the limit of the registry or of the proxy in front of it"
    elif status == 429:
        text = f"{what}: {host} allows no more requests for now"
        hint = f"wait, use a mirror, or {_login(account)} for a higher limit"
    elif status >= 500:
        text = f"{what}: {host} failed with status {status}"
        hint = "the fault is the registry's: try again later, or look at its log"
    else:
        text = f"{what}: unexpected status {status} from {host}"
    return Refused(
        f"{text}{said}",
        status=status,
        code=code,
        hint=hint,
        retry_after=retry_after(headers, now),
    )


def _login(host: str) -> str:
    return f"run `docker login {'' if host == 'docker.io' else host}".rstrip() + "`"


def _one_line(text: str) -> str:
    # Control characters of a registry's answer must not reach a terminal.
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text).strip()[:300]
