"""Who a URL logs in as, kept out of what people and files get to see. Pure."""

from __future__ import annotations

import re
from typing import Final

# Up to the last @ before the path: passwords with an @ in them are seen, if not allowed.
_LOGIN: Final = re.compile(r"\b([a-z][a-z0-9+.-]*)://([^\s/?#]+)@", re.IGNORECASE)
_MASK: Final = "xxxxx"


def masked(text: str) -> str:
    """`text` with the names and passwords in its URLs replaced, as BuildKit shows them. The bare
    user of an ssh URL is no secret."""
    return _LOGIN.sub(_mask, text) if "://" in text else text


def _mask(found: re.Match[str]) -> str:
    scheme, login = found[1], found[2]
    if ":" in login:
        return f"{scheme}://{_MASK}:{_MASK}@"
    return found[0] if scheme.lower() == "ssh" else f"{scheme}://{_MASK}@"


def without_login(url: str) -> tuple[str, str]:
    """An http(s) URL without its name and password, and these as written, or empty."""
    found = _LOGIN.match(url)
    if found is None or found[1].lower() not in ("http", "https"):
        return url, ""
    return f"{found[1]}://{url[found.end() :]}", found[2]
