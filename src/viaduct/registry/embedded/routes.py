"""Which verb answers which path of the distribution specification."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from viaduct.oci import reference
from viaduct.registry.embedded.blobs import Blobs
from viaduct.registry.embedded.guard import refuse_web_pages
from viaduct.registry.embedded.manifests import Manifests
from viaduct.registry.embedded.uploads import Uploads
from viaduct.registry.embedded.wire import Incoming, Problem, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from viaduct.registry.embedded.storage import Storage
    from viaduct.registry.embedded.wire import Body, Headers

_PATH = re.compile(
    r"/v2/(?P<name>.+)/(?:"
    r"(?P<tags>tags/list)|(?P<uploads>blobs/uploads)/(?P<upload>[^/]*)"
    r"|(?P<kind>blobs|manifests|referrers)/(?P<target>[^/]+))"
)
_MOST_PARAMETERS = 200


class Routes:
    """The registry as one function from request to reply. Raises `Problem`. `public` is one that
    other machines can reach anyway."""

    def __init__(self, storage: Storage, *, public: bool) -> None:
        self._public = public
        blobs, manifests = Blobs(storage, Uploads(storage)), Manifests(storage)
        self._catalog = manifests.catalog
        self._table: Mapping[tuple[str, str], Callable[[Incoming], Reply]] = {
            ("tags", "GET"): manifests.tags,
            ("manifests", "GET"): manifests.get,
            ("manifests", "HEAD"): manifests.get,
            ("manifests", "PUT"): manifests.put,
            ("manifests", "DELETE"): manifests.delete,
            ("referrers", "GET"): manifests.referrers,
            ("blobs", "GET"): blobs.get,
            ("blobs", "HEAD"): blobs.get,
            ("blobs", "DELETE"): blobs.delete,
            ("uploads", "POST"): blobs.start,
            ("upload", "GET"): blobs.status,
            ("upload", "PATCH"): blobs.append,
            ("upload", "PUT"): blobs.finish,
            ("upload", "DELETE"): blobs.cancel,
        }

    def answer(self, method: str, url: str, headers: Headers, body: Body) -> Reply:
        if not self._public:
            refuse_web_pages(headers)
        split = urlsplit(url)
        path = unquote(split.path)
        try:
            query = parse_qs(split.query, max_num_fields=_MOST_PARAMETERS)
        except ValueError:
            raise Problem(414, "UNSUPPORTED", "too many parameters") from None
        if path in ("/v2", "/v2/"):
            self._allow(method, ("GET", "HEAD"))
            return Reply(200, {"Content-Type": "application/json"}, b"{}")
        if path == "/v2/_catalog":
            self._allow(method, ("GET",))
            return self._catalog(Incoming(method, "", "", query, headers, body))
        match = _PATH.fullmatch(path)
        if match is None:
            raise Problem(404, "UNSUPPORTED", "no such path")
        name = match["name"]
        if not reference.is_repository(name):
            raise Problem(400, "NAME_INVALID", f"{name[:300]!r} is not the name of a repository")
        target = match["upload"] or match["target"] or ""
        if match["kind"]:
            kind = match["kind"]
        elif match["uploads"]:
            kind = "upload" if target else "uploads"
        else:
            kind = "tags"
        verb = self._table.get((kind, method))
        if verb is None:
            self._allow(method, tuple(verb for found, verb in self._table if found == kind))
            raise AssertionError  # unreachable: the method is not in the table
        return verb(Incoming(method, name, target, query, headers, body))

    def _allow(self, method: str, methods: tuple[str, ...]) -> None:
        if method not in methods:
            raise Problem(
                405,
                "UNSUPPORTED",
                f"{method} is not possible here",
                headers={"Allow": ", ".join(methods)},
            )
