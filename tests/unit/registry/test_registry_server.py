"""The embedded registry, by the distribution specification 1.1 and against rude clients."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import http.client
import json
import socket
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.parts import pictures
from tests.parts.registry import running_registry

from viaduct.base.errors import UsageError
from viaduct.oci import digest as digests
from viaduct.oci import media
from viaduct.registry import server
from viaduct.registry.embedded import handler, manifests, uploads
from viaduct.registry.server import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATA = pictures.noise(100_000, 3)
DIGEST = digests.of(DATA)
EMPTY = digests.EMPTY_JSON


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["errors"][0]["code"])


@dataclass
class Raw:
    """One keep-alive connection to a registry, without any of our client."""

    host: str
    connection: http.client.HTTPConnection

    def __call__(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        self.connection.request(method, path, body or None, headers or {})
        response = self.connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())

    def blob(self, name: str, data: bytes) -> str:
        digest = digests.of(data)
        answer = self("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", data)
        assert answer.status == 201
        return digest

    def manifest(self, name: str, reference: str, **fields: Any) -> Answer:
        document = {
            "schemaVersion": 2,
            "mediaType": media.OCI_MANIFEST,
            "config": {"mediaType": media.OCI_EMPTY, "digest": self.blob(name, b"{}"), "size": 2},
            "layers": [],
            **fields,
        }
        data = json.dumps(document).encode()
        kind = str(document["mediaType"])
        reference = reference or digests.of(data)
        return self("PUT", f"/v2/{name}/manifests/{reference}", data, {"Content-Type": kind})


@pytest.fixture
def raw(ours: str) -> Iterator[Raw]:
    connection = http.client.HTTPConnection(ours, timeout=20)
    yield Raw(ours, connection)
    connection.close()


# --- the base


def test_every_answer_says_what_time_it_is_here(raw: Raw) -> None:
    for path in ("/v2/", "/v2/absent/manifests/1"):
        said = parsedate_to_datetime(raw("GET", path).headers["date"])
        assert abs(said.timestamp() - time.time()) < 60


def test_the_api_is_announced(raw: Raw) -> None:
    for path in ("/v2/", "/v2"):
        answer = raw("GET", path)
        assert (answer.status, answer.body) == (200, b"{}")
        assert answer.headers["docker-distribution-api-version"] == "registry/2.0"
    assert raw("HEAD", "/v2/").status == 200
    assert raw("GET", "/").status == 404
    assert raw("GET", "/v1/").status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/v2/../../etc/blobs/uploads/",
        "/v2/%2e%2e/%2e%2e/etc/blobs/uploads/",
        "/v2/a%2f..%2f..%2fetc/blobs/uploads/",
        "/v2/UPPER/blobs/uploads/",
        "/v2/a//b/blobs/uploads/",
        "/v2/_uploads/blobs/uploads/",
        "/v2/" + "a" * 256 + "/blobs/uploads/",
        "/v2/a%00b/blobs/uploads/",
    ],
)
def test_no_name_leaves_its_place(raw: Raw, path: str, tmp_path: Path) -> None:
    answer = raw("POST", path)
    assert (answer.status, answer.code) == (400, "NAME_INVALID")
    assert list((tmp_path / "registry/uploads").iterdir()) == []


@pytest.mark.parametrize(
    "target", ["sha256:../../../registry.db", "sha256:abc", "md5:" + "a" * 32, "sha256:" + "A" * 64]
)
@pytest.mark.parametrize("kind", ["blobs", "manifests", "referrers"])
def test_no_digest_is_a_path(raw: Raw, kind: str, target: str) -> None:
    answer = raw("GET", f"/v2/app/{kind}/{target.replace('/', '%2F')}")
    assert answer.status in (400, 404)
    assert b"SQLite" not in answer.body


def test_other_methods_are_named(raw: Raw) -> None:
    answer = raw("POST", "/v2/app/manifests/1")
    assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    assert answer.headers["allow"] == "GET, HEAD, PUT, DELETE"
    assert raw("PUT", "/v2/").status == 405


# --- pushing blobs


def test_a_blob_in_one_post(raw: Raw) -> None:
    answer = raw("POST", f"/v2/app/blobs/uploads/?digest={DIGEST}", DATA)
    assert answer.status == 201
    assert answer.headers["location"] == f"/v2/app/blobs/{DIGEST}"
    assert answer.headers["docker-content-digest"] == DIGEST
    assert raw("GET", answer.headers["location"]).body == DATA


def test_a_blob_by_post_and_put(raw: Raw) -> None:
    begun = raw("POST", "/v2/app/blobs/uploads/")
    assert begun.status == 202
    assert begun.headers["docker-upload-uuid"] in begun.headers["location"]
    answer = raw("PUT", f"{begun.headers['location']}?digest={DIGEST}", DATA)
    assert (answer.status, answer.headers["docker-content-digest"]) == (201, DIGEST)


def test_a_blob_in_pieces(raw: Raw) -> None:
    location = raw("POST", "/v2/app/blobs/uploads/").headers["location"]
    for start in range(0, 90_000, 30_000):
        piece = DATA[start : start + 30_000]
        answer = raw(
            "PATCH",
            location,
            piece,
            {"Content-Range": f"{start}-{start + 29_999}", "Content-Type": "x/y"},
        )
        assert answer.status == 202
        assert answer.headers["range"] == f"0-{start + 29_999}"
        location = answer.headers["location"]
    status = raw("GET", location)
    assert (status.status, status.headers["range"]) == (204, "0-89999")
    answer = raw(
        "PUT", f"{location}?digest={DIGEST}", DATA[90_000:], {"Content-Range": "90000-99999"}
    )
    assert answer.status == 201
    assert raw("GET", location).code == "BLOB_UPLOAD_UNKNOWN"
    assert raw("GET", f"/v2/app/blobs/{DIGEST}").body == DATA


def test_a_blob_in_chunks_of_unknown_length(raw: Raw) -> None:
    location = raw("POST", "/v2/app/blobs/uploads/").headers["location"]
    pieces = [DATA[n : n + 7777] for n in range(0, len(DATA), 7777)]
    raw.connection.request("PATCH", location, iter(pieces), encode_chunked=True,
                           headers={"Transfer-Encoding": "chunked"})  # fmt: skip
    response = raw.connection.getresponse()
    response.read()
    assert response.status == 202
    assert raw("PUT", f"{location}?digest={DIGEST}").status == 201


@pytest.mark.parametrize(
    "span", ["1-10", "0-5", "5-0", "x", "bytes 3-12/*", "0-99999999999999999999"]
)
def test_a_piece_out_of_order_is_refused_with_the_place(raw: Raw, span: str) -> None:
    location = raw("POST", "/v2/app/blobs/uploads/").headers["location"]
    answer = raw("PATCH", location, b"0123456789", {"Content-Range": span})
    assert answer.status in (400, 416)
    assert answer.code == "BLOB_UPLOAD_INVALID"
    assert raw("GET", location).headers["range"] == "0-0"


def test_other_bytes_than_the_digest_are_refused(raw: Raw, tmp_path: Path) -> None:
    location = raw("POST", "/v2/app/blobs/uploads/").headers["location"]
    answer = raw("PUT", f"{location}?digest={DIGEST}", DATA[:-1])
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert raw("HEAD", f"/v2/app/blobs/{DIGEST}").status == 404
    assert list((tmp_path / "registry/uploads").iterdir()) == []
    assert raw("PUT", f"{location}?digest={DIGEST}", DATA).status == 404


def test_a_put_needs_a_digest(raw: Raw) -> None:
    location = raw("POST", "/v2/app/blobs/uploads/").headers["location"]
    for query in ("", "?digest=", "?digest=sha256:zz", "?digest=nonsense"):
        answer = raw("PUT", location + query, DATA)
        assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


def test_longer_digests_are_known(raw: Raw) -> None:
    digest = "sha512:" + hashlib.sha512(DATA).hexdigest()
    assert raw("POST", f"/v2/app/blobs/uploads/?digest={digest}", DATA).status == 201
    assert raw("GET", f"/v2/app/blobs/{digest}").body == DATA


def test_an_upload_belongs_to_its_repository(raw: Raw) -> None:
    location = raw("POST", "/v2/one/blobs/uploads/").headers["location"]
    other = location.replace("/v2/one/", "/v2/two/")
    assert raw("PUT", f"{other}?digest={DIGEST}", DATA).code == "BLOB_UPLOAD_UNKNOWN"
    assert raw("GET", "/v2/one/blobs/uploads/..%2f..%2fregistry.db").status in (400, 404)


def test_an_upload_can_be_given_up(raw: Raw, tmp_path: Path) -> None:
    location = raw("POST", "/v2/app/blobs/uploads/").headers["location"]
    assert raw("DELETE", location).status == 204
    assert raw("DELETE", location).status == 404
    assert list((tmp_path / "registry/uploads").iterdir()) == []


def test_a_broken_upload_keeps_what_came(raw: Raw) -> None:
    location = raw("POST", "/v2/app/blobs/uploads/").headers["location"]
    host, _, port = raw.host.rpartition(":")
    with socket.create_connection((host, int(port))) as sock:
        head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(DATA)}\r\n\r\n"
        sock.sendall(head.encode() + DATA[:60_000])
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
    assert raw("GET", location).headers["range"] == "0-59999"
    rest = {"Content-Range": f"60000-{len(DATA) - 1}"}
    assert raw("PATCH", location, DATA[60_000:], rest).status == 202
    assert raw("PUT", f"{location}?digest={DIGEST}").status == 201


def test_an_upload_survives_a_restart(tmp_path: Path) -> None:
    with running_registry(tmp_path) as host:
        one = Raw(host, http.client.HTTPConnection(host))
        location = one("POST", "/v2/app/blobs/uploads/").headers["location"]
        one("PATCH", location, DATA[:50_000])
        one.connection.close()
    with running_registry(tmp_path) as host:
        two = Raw(host, http.client.HTTPConnection(host))
        assert two("GET", location).headers["range"] == "0-49999"
        assert two("PUT", f"{location}?digest={DIGEST}", DATA[50_000:]).status == 201
        assert two("GET", f"/v2/app/blobs/{DIGEST}").body == DATA
        two.connection.close()


def test_what_nobody_came_back_for_is_removed(tmp_path: Path) -> None:
    import os

    with running_registry(tmp_path) as host:
        one = Raw(host, http.client.HTTPConnection(host))
        for _ in range(2):
            one("POST", "/v2/app/blobs/uploads/")
        one.connection.close()
    old, new = (tmp_path / "registry/uploads").iterdir()
    past = time.time() - uploads._STALE_SECONDS - 60
    os.utime(old, (past, past))
    with running_registry(tmp_path):
        assert list((tmp_path / "registry/uploads").iterdir()) == [new]


def test_a_blob_is_mounted(raw: Raw) -> None:
    raw.blob("one", DATA)
    answer = raw("POST", f"/v2/two/blobs/uploads/?mount={DIGEST}&from=one")
    assert answer.status == 201
    assert answer.headers["location"] == f"/v2/two/blobs/{DIGEST}"
    assert raw("GET", f"/v2/two/blobs/{DIGEST}").body == DATA
    for source in ("none", "..%2F..", "UPPER"):
        answer = raw("POST", f"/v2/three/blobs/uploads/?mount={DIGEST}&from={source}")
        assert answer.status == 202  # an upload instead
    assert raw("POST", f"/v2/four/blobs/uploads/?mount={DIGEST}").status == 201


# --- pulling blobs


def test_a_blob_belongs_to_its_repository(raw: Raw) -> None:
    raw.blob("one", DATA)
    assert raw("GET", f"/v2/two/blobs/{DIGEST}").code == "BLOB_UNKNOWN"
    head = raw("HEAD", f"/v2/one/blobs/{DIGEST}")
    assert (head.status, head.headers["content-length"]) == (200, str(len(DATA)))
    assert head.headers["docker-content-digest"] == DIGEST
    assert head.body == b""


@pytest.mark.parametrize(
    ("span", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=99999-", 99_999, 100_000),
        ("bytes=99990-200000", 99_990, 100_000),
        ("bytes=-5", 99_995, 100_000),
        ("bytes=-200000", 0, 100_000),
    ],
)
def test_a_part_of_a_blob(raw: Raw, span: str, start: int, end: int) -> None:
    raw.blob("app", DATA)
    answer = raw("GET", f"/v2/app/blobs/{DIGEST}", headers={"Range": span})
    assert answer.status == 206
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(DATA)}"
    assert answer.body == DATA[start:end]


@pytest.mark.parametrize("span", ["bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "bytes=-", "x"])
def test_a_part_that_makes_no_sense_is_the_whole(raw: Raw, span: str) -> None:
    raw.blob("app", DATA)
    answer = raw("GET", f"/v2/app/blobs/{DIGEST}", headers={"Range": span})
    assert (answer.status, answer.body) == (200, DATA)


@pytest.mark.parametrize("span", ["bytes=100000-", "bytes=100001-100002", "bytes=-0"])
def test_a_part_behind_the_end(raw: Raw, span: str) -> None:
    raw.blob("app", DATA)
    answer = raw("GET", f"/v2/app/blobs/{DIGEST}", headers={"Range": span})
    assert answer.status == 416
    assert answer.headers["content-range"] == f"bytes */{len(DATA)}"


def test_an_empty_blob(raw: Raw) -> None:
    digest = digests.of(b"")
    assert raw("POST", f"/v2/app/blobs/uploads/?digest={digest}").status == 201
    answer = raw("GET", f"/v2/app/blobs/{digest}")
    assert (answer.status, answer.body) == (200, b"")


# --- manifests


def test_a_manifest_keeps_its_bytes_and_type(raw: Raw) -> None:
    put = raw.manifest("app", "1", annotations={"z": "1", "a": "2"})
    assert put.status == 201
    digest = put.headers["docker-content-digest"]
    by_tag, by_digest = raw("GET", "/v2/app/manifests/1"), raw("GET", put.headers["location"])
    assert by_tag.body == by_digest.body
    assert digests.of(by_tag.body) == digest
    assert by_tag.headers["content-type"] == media.OCI_MANIFEST
    head = raw("HEAD", "/v2/app/manifests/1")
    assert head.headers["docker-content-digest"] == digest
    assert head.headers["content-length"] == str(len(by_tag.body))


def test_missing_manifests_and_repositories(raw: Raw) -> None:
    assert raw("GET", "/v2/app/manifests/1").code == "NAME_UNKNOWN"
    raw.manifest("app", "1")
    assert raw("GET", "/v2/app/manifests/2").code == "MANIFEST_UNKNOWN"
    assert raw("GET", f"/v2/app/manifests/{DIGEST}").code == "MANIFEST_UNKNOWN"
    assert raw("GET", "/v2/none/tags/list").code == "NAME_UNKNOWN"


def entry(digest: str = DIGEST, kind: str = media.OCI_LAYER_GZIP, size: int = 1) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest, "size": size}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"layers": [entry()]}, "MANIFEST_BLOB_UNKNOWN"),
        ({"config": entry()}, "MANIFEST_BLOB_UNKNOWN"),
        ({"mediaType": media.OCI_INDEX, "config": None, "layers": None,
          "manifests": [entry(kind=media.OCI_MANIFEST)]}, "MANIFEST_BLOB_UNKNOWN"),
        ({"layers": [entry(digest="sha256:x")]}, "MANIFEST_INVALID"),
        ({"layers": [entry(size=-1)]}, "MANIFEST_INVALID"),
        ({"layers": "x"}, "MANIFEST_INVALID"),
        ({"schemaVersion": 1}, "MANIFEST_INVALID"),
        ({"mediaType": "application/json"}, "MANIFEST_INVALID"),
        ({"layers": [entry(digest=EMPTY, size=3)]}, "SIZE_INVALID"),
    ],
)  # fmt: skip
def test_a_manifest_must_make_sense(raw: Raw, fields: dict[str, Any], code: str) -> None:
    answer = raw.manifest("app", "1", **fields)
    assert (answer.status, answer.code) == (400, code)
    assert raw("GET", "/v2/app/manifests/1").status == 404


def test_foreign_layers_may_be_elsewhere(raw: Raw) -> None:
    layers = [entry(kind=media.OCI_LAYER_NONDIST + "+gzip"), entry(kind=media.DOCKER_LAYER_FOREIGN)]
    assert raw.manifest("app", "1", layers=layers).status == 201


def test_type_and_header_must_agree(raw: Raw) -> None:
    raw.blob("app", b"{}")
    body = json.dumps({"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": []}).encode()
    answer = raw("PUT", "/v2/app/manifests/1", body, {"Content-Type": media.DOCKER_LIST})
    assert answer.code == "MANIFEST_INVALID"
    parameters = {"Content-Type": f"{media.OCI_INDEX}; charset=utf-8"}
    assert raw("PUT", "/v2/app/manifests/1", body, parameters).status == 201


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b'{"schemaVersion":2}'])
def test_what_is_no_manifest_is_refused(raw: Raw, body: bytes) -> None:
    answer = raw("PUT", "/v2/app/manifests/1", body, {"Content-Type": media.OCI_MANIFEST})
    assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")


def test_a_manifest_by_another_digest_is_refused(raw: Raw) -> None:
    assert raw.manifest("app", DIGEST).code == "DIGEST_INVALID"


@pytest.mark.parametrize("tag", [".x", "-x", "a" * 129, "a%20b", "%C3%A4", "%2e%2e"])
def test_a_tag_has_a_grammar(raw: Raw, tag: str) -> None:
    assert raw.manifest("app", tag).code == "MANIFEST_INVALID"


def test_a_manifest_has_a_largest_size(raw: Raw) -> None:
    huge = b" " * (manifests._MANIFEST_LIMIT + 1)
    answer = raw("PUT", "/v2/app/manifests/1", huge, {"Content-Type": media.OCI_MANIFEST})
    assert (answer.status, answer.code) == (413, "SIZE_INVALID")
    padding = {"pad": "x" * (4 << 20)}
    assert raw.manifest("app", "1", annotations=padding).status == 201


def test_a_put_may_set_several_tags(raw: Raw) -> None:
    index = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    digest = digests.of(index)
    answer = raw(
        "PUT", f"/v2/app/manifests/{digest}?tag=1&tag=1.2&tag=1", index,
        {"Content-Type": media.OCI_INDEX},
    )  # fmt: skip
    assert (answer.status, answer.headers["oci-tag"]) == (201, "1, 1.2")
    assert json.loads(raw("GET", "/v2/app/tags/list").body)["tags"] == ["1", "1.2"]
    answer = raw(
        "PUT", f"/v2/app/manifests/{digest}?tag=%2e%2e", index, {"Content-Type": media.OCI_INDEX}
    )
    assert answer.status == 400


def test_a_tag_moves(raw: Raw) -> None:
    first = raw.manifest("app", "1", annotations={"n": "1"}).headers["docker-content-digest"]
    second = raw.manifest("app", "1", annotations={"n": "2"}).headers["docker-content-digest"]
    assert raw("HEAD", "/v2/app/manifests/1").headers["docker-content-digest"] == second
    assert raw("HEAD", f"/v2/app/manifests/{first}").status == 200


# --- lists


def test_tags_are_listed_in_order_and_pages(raw: Raw) -> None:
    for tag in ("b", "a", "10", "9", "B", "_x"):
        raw.manifest("app/deep/er", tag)
    path = "/v2/app/deep/er/tags/list"
    everything = ["10", "9", "B", "_x", "a", "b"]
    assert json.loads(raw("GET", path).body) == {"name": "app/deep/er", "tags": everything}
    page = raw("GET", f"{path}?n=4")
    assert json.loads(page.body)["tags"] == everything[:4]
    assert page.headers["link"] == f'<{path}?n=4&last=_x>; rel="next"'
    page = raw("GET", f"{path}?n=4&last=_x")
    assert json.loads(page.body)["tags"] == ["a", "b"]
    assert "link" not in page.headers
    page = raw("GET", f"{path}?n=0")
    assert json.loads(page.body)["tags"] == []
    assert "link" not in page.headers
    assert json.loads(raw("GET", f"{path}?last=a").body)["tags"] == ["b"]
    for n in ("x", "-1", "1.5"):
        assert raw("GET", f"{path}?n={n}").status == 400


def test_repositories_are_listed(raw: Raw) -> None:
    for name in ("b", "a/c", "a"):
        raw.manifest(name, "1")
    raw.blob("only-blobs", DATA)
    assert json.loads(raw("GET", "/v2/_catalog").body) == {"repositories": ["a", "a/c", "b"]}
    page = raw("GET", "/v2/_catalog?n=1&last=a")
    assert json.loads(page.body) == {"repositories": ["a/c"]}
    assert page.headers["link"] == '</v2/_catalog?n=1&last=a/c>; rel="next"'


def test_referrers_are_found_even_before_their_subject(raw: Raw) -> None:
    subject = {"mediaType": media.OCI_MANIFEST, "digest": DIGEST, "size": 10}
    one = raw.manifest("app", "", subject=subject, artifactType="a/one", annotations={"k": "v"})
    assert (one.status, one.headers["oci-subject"]) == (201, DIGEST)
    two = raw.manifest("app", "", subject=subject)
    raw.manifest("app", "other")
    path = f"/v2/app/referrers/{DIGEST}"
    answer = raw("GET", path)
    index = json.loads(answer.body)
    assert answer.headers["content-type"] == media.OCI_INDEX
    assert (index["schemaVersion"], index["mediaType"]) == (2, media.OCI_INDEX)
    found = {entry["digest"]: entry for entry in index["manifests"]}
    first = found[one.headers["docker-content-digest"]]
    assert (first["artifactType"], first["annotations"]) == ("a/one", {"k": "v"})
    assert first["mediaType"] == media.OCI_MANIFEST
    # Without a type of its own, a manifest has that of its configuration.
    second = found[two.headers["docker-content-digest"]]
    assert second["artifactType"] == media.OCI_EMPTY
    filtered = raw("GET", f"{path}?artifactType=a/one")
    assert filtered.headers["oci-filters-applied"] == "artifactType"
    assert [e["artifactType"] for e in json.loads(filtered.body)["manifests"]] == ["a/one"]
    nobody = raw("GET", f"/v2/unheard/referrers/{EMPTY}")
    assert (nobody.status, json.loads(nobody.body)["manifests"]) == (200, [])


def test_many_referrers_come_in_pages(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "_PAGE", 2)
    subject = {"mediaType": media.OCI_MANIFEST, "digest": DIGEST, "size": 10}
    for n in range(5):
        raw.manifest("app", "", subject=subject, artifactType="a/b", annotations={"n": str(n)})
    path, seen = f"/v2/app/referrers/{DIGEST}?artifactType=a/b", set()
    while path:
        answer = raw("GET", path)
        seen |= {entry["digest"] for entry in json.loads(answer.body)["manifests"]}
        path = answer.headers.get("link", "").partition(">")[0].removeprefix("<")
    assert len(seen) == 5


# --- deleting


def test_a_manifest_is_deleted_with_its_tags(raw: Raw) -> None:
    subject = {"mediaType": media.OCI_MANIFEST, "digest": DIGEST, "size": 10}
    digest = raw.manifest("app", "1", subject=subject).headers["docker-content-digest"]
    raw.manifest("app", "2", subject=subject)
    assert raw("DELETE", f"/v2/app/manifests/{digest}").status == 202
    for target in ("1", "2", digest):
        assert raw("GET", f"/v2/app/manifests/{target}").status == 404
    assert raw("DELETE", f"/v2/app/manifests/{digest}").status == 404
    assert json.loads(raw("GET", f"/v2/app/referrers/{DIGEST}").body)["manifests"] == []


def test_a_tag_is_deleted_alone(raw: Raw) -> None:
    digest = raw.manifest("app", "1").headers["docker-content-digest"]
    assert raw("DELETE", "/v2/app/manifests/1").status == 202
    assert raw("DELETE", "/v2/app/manifests/1").status == 404
    assert raw("GET", f"/v2/app/manifests/{digest}").status == 200


def test_a_blob_is_deleted_from_one_repository_and_from_disk_at_last(
    raw: Raw, tmp_path: Path
) -> None:
    raw.blob("one", DATA)
    raw("POST", f"/v2/two/blobs/uploads/?mount={DIGEST}&from=one")
    file = tmp_path / "registry/blobs/sha256" / digests.encoded(DIGEST)
    assert raw("DELETE", f"/v2/one/blobs/{DIGEST}").status == 202
    assert raw("GET", f"/v2/one/blobs/{DIGEST}").status == 404
    assert raw("GET", f"/v2/two/blobs/{DIGEST}").body == DATA
    assert file.exists()
    assert raw("DELETE", f"/v2/two/blobs/{DIGEST}").status == 202
    assert not file.exists()
    assert raw("DELETE", f"/v2/two/blobs/{DIGEST}").status == 404


def test_a_file_that_vanished_is_unknown(raw: Raw, tmp_path: Path) -> None:
    raw.blob("app", DATA)
    digest = raw.manifest("app", "1").headers["docker-content-digest"]
    for name in (DIGEST, digest):
        (tmp_path / "registry/blobs/sha256" / name.removeprefix("sha256:")).unlink()
    assert raw("GET", f"/v2/app/blobs/{DIGEST}").status == 404
    assert raw("GET", "/v2/app/manifests/1").status == 404


# --- manners


def send(host: str, data: bytes) -> bytes:
    """What comes back for raw bytes, until the server closes."""
    name, _, port = host.rpartition(":")
    with socket.create_connection((name, int(port)), timeout=20) as sock:
        sock.sendall(data)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
        return answer


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Content-Length: -1",
        "Content-Length: 1_0",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\nContent-Length: 0",
    ],
)
def test_an_ambiguous_length_is_refused(ours: str, head: str) -> None:
    request = f"PUT /v2/app/manifests/1 HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\nabc"
    assert send(ours, request.encode()).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "chunks",
    [
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"2\r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabcGET /v2/ HTTP/1.1\r\n0\r\n\r\n",
        b"f" * 40 + b"\r\n",
    ],
)
def test_chunks_that_others_would_cut_otherwise_are_refused(ours: str, chunks: bytes) -> None:
    """Behind a proxy that reads them differently, one client could speak in another's name."""
    head = b"PUT /v2/app/manifests/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = send(ours, head + chunks)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"UNSUPPORTED" in answer
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"NONSENSE\r\n\r\n",
        b"GET /v2/ HTTP/9.9\r\n\r\n",
        b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"BREW /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"GET /v2/%zz%ff%00/tags/list HTTP/1.0\r\n\r\n",
        b"PATCH /v2/a/blobs/uploads/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_a_request_is_answered_or_dropped(
    ours: str, request_bytes: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    name, _, port = ours.rpartition(":")
    with socket.create_connection((name, int(port)), timeout=20) as sock:
        sock.sendall(request_bytes)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    assert answer == b"" or answer[9:10] in b"45"
    assert capfd.readouterr().err == ""


def test_a_client_that_waits_for_leave_gets_it(ours: str) -> None:
    name, _, port = ours.rpartition(":")
    with socket.create_connection((name, int(port)), timeout=20) as sock:
        head = f"POST /v2/app/blobs/uploads/?digest={DIGEST} HTTP/1.1\r\nHost: x\r\n"
        sock.sendall(f"{head}Expect: 100-continue\r\nContent-Length: 100000\r\n\r\n".encode())
        assert sock.recv(4096).startswith(b"HTTP/1.1 100 ")
        sock.sendall(DATA)
        assert sock.recv(4096).startswith(b"HTTP/1.1 201 ")


def test_an_early_no_is_read_by_a_client_that_still_sends(ours: str) -> None:
    body = b"x" * (32 << 20)
    connection = http.client.HTTPConnection(ours, timeout=20)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request("PUT", "/v2/UPPER/manifests/1", body)
    answer = connection.getresponse()
    assert answer.status == 400
    answer.read()
    connection.close()


def test_slow_headers_are_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "HEADER_SECONDS", 0.05)
    monkeypatch.setattr(server, "_WATCH_SECONDS", 0.05)
    with running_registry(tmp_path) as host:
        name, _, port = host.rpartition(":")
        with socket.create_connection((name, int(port)), timeout=20) as sock:
            sock.sendall(b"GET /v2/ HTTP/1.1\r\nX-Slow: ")
            assert sock.recv(100) == b""


def test_many_clients_at_once(ours: str, tmp_path: Path) -> None:
    from viaduct.base.tasks import Nursery

    def work(number: int) -> None:
        connection = http.client.HTTPConnection(ours, timeout=60)
        raw = Raw(ours, connection)
        for turn in range(5):
            raw.blob(f"app{number % 3}", DATA)  # the same blob, over and over
            assert raw.manifest(f"app{number % 3}", f"t{turn}").status == 201
            raw("DELETE", f"/v2/app{number % 3}/blobs/{DIGEST}")
        connection.close()

    with Nursery(12) as todo:
        for number in range(12):
            todo.start(work, number)
    connection = http.client.HTTPConnection(ours)
    raw = Raw(ours, connection)
    raw.blob("app0", DATA)
    assert raw("GET", f"/v2/app0/blobs/{DIGEST}").body == DATA
    connection.close()
    for file in (tmp_path / "registry/blobs/sha256").iterdir():
        assert hashlib.sha256(file.read_bytes()).hexdigest() == file.name


# --- where it listens


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:5000"},
        {"Host": "evil.example."},
    ],
)
def test_a_web_page_cannot_read_or_write(raw: Raw, headers: dict[str, str]) -> None:
    """Neither from its own site nor by a name that it has lead to this machine."""
    for method, path in (("GET", "/v2/"), ("POST", "/v2/app/blobs/uploads/")):
        answer = raw(method, path, headers=headers)
        assert (answer.status, answer.code) == (403, "DENIED")


@pytest.mark.parametrize(
    "host",
    ["localhost:5000", "LOCALHOST", "[::1]:5000", "10.0.0.1", "registry", "host.docker.internal"],
)
def test_names_that_no_web_site_can_have_are_answered(raw: Raw, host: str) -> None:
    assert raw("GET", "/v2/", headers={"Host": host}).status == 200


def test_a_registry_for_other_machines_answers_by_any_name(tmp_path: Path) -> None:
    with serve("127.0.0.1:0", tmp_path, allow_remote=True) as server:
        connection = http.client.HTTPConnection(server.address, timeout=20)
        connection.request("GET", "/v2/", headers={"Host": "registry.example"})
        assert connection.getresponse().status == 200
        connection.close()


@pytest.mark.parametrize("addr", ["0.0.0.0:0", ":0", "[::]:0"])
def test_it_does_not_listen_beyond_this_machine_unasked(tmp_path: Path, addr: str) -> None:
    with pytest.raises(UsageError, match="other machines") as caught:
        serve(addr, tmp_path)
    assert "--allow-remote" in caught.value.hint


def test_it_listens_anywhere_when_asked(tmp_path: Path) -> None:
    with serve("0.0.0.0:0", tmp_path, allow_remote=True) as running:
        assert running.address.startswith("0.0.0.0:")


@pytest.mark.parametrize(
    "addr", ["5000", "localhost", "x:y", "127.0.0.1:99999", "no.invalid:1", ""]
)
def test_an_address_that_is_none_is_refused(tmp_path: Path, addr: str) -> None:
    with pytest.raises(UsageError):
        serve(addr, tmp_path)


def test_a_taken_port_is_named(tmp_path: Path, ours: str) -> None:
    with pytest.raises(UsageError, match=f"cannot listen on {ours}: Address already in use"):
        serve(ours, tmp_path / "b")


def test_localhost_is_the_address_that_everybody_tries(tmp_path: Path) -> None:
    with serve("localhost:0", tmp_path) as running:
        assert running.address.startswith("127.0.0.1:")


def test_who_comes_as_the_registry_leaves_is_hung_up_on(tmp_path: Path) -> None:
    """Accepted, but never served: a connection of that kind was left open."""
    for attempt in range(30):
        running = serve("127.0.0.1:0", tmp_path / str(attempt)).start()
        name, _, port = running.address.rpartition(":")
        late = [socket.create_connection((name, int(port)), timeout=20) for _ in range(5)]
        running.stop()
        for sock in late:
            sock.close()
        del running
        gc.collect()


def test_stopping_is_quick_and_complete(tmp_path: Path) -> None:
    running = serve("127.0.0.1:0", tmp_path).start()
    name, _, port = running.address.rpartition(":")
    with socket.create_connection((name, int(port)), timeout=20) as idle:
        idle.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(4096).endswith(b"{}")
        running.stop()
        assert idle.recv(10) == b""
        running.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((name, int(port)), timeout=20)
