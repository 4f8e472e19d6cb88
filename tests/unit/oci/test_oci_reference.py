"""References are read as Docker reads them."""

from __future__ import annotations

import pytest

from viaduct.base.errors import UsageError
from viaduct.oci import digest as digests
from viaduct.oci import reference
from viaduct.oci.reference import Reference

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("alpine", "docker.io/library/alpine"),
        ("alpine:3.20", "docker.io/library/alpine:3.20"),
        ("someone/app", "docker.io/someone/app"),
        ("docker.io/alpine", "docker.io/library/alpine"),
        ("index.docker.io/alpine", "docker.io/library/alpine"),
        ("docker.io/library/alpine", "docker.io/library/alpine"),
        ("localhost/app", "localhost/app"),
        ("localhost:5000/app:1", "localhost:5000/app:1"),
        ("ghcr.io/a/b/c:x", "ghcr.io/a/b/c:x"),
        ("UPPER/app", "UPPER/app"),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b"),
        ("[::1]:5000/app", "[::1]:5000/app"),
        ("[2001:db8::1]/app:t", "[2001:db8::1]/app:t"),
        ("test.com:5000", "docker.io/library/test.com:5000"),
        ("a__b/c---d.e", "docker.io/a__b/c---d.e"),
        (f"app@sha256:{HEX}", f"docker.io/library/app@sha256:{HEX}"),
        (f"h:1/app:t@sha256:{HEX}", f"h:1/app:t@sha256:{HEX}"),
        (f"app@sha512:{HEX * 2}", f"docker.io/library/app@sha512:{HEX * 2}"),
        (f"docker.io/{HEX}", f"docker.io/library/{HEX}"),
        (f"{HEX}:tag", f"docker.io/library/{HEX}:tag"),
        ("example.com/" + "a" * 255, "example.com/" + "a" * 255),
        ("app:" + "T" * 128, "docker.io/library/app:" + "T" * 128),
    ],
)
def test_a_name_is_completed(text: str, complete: str) -> None:
    assert str(reference.parse(text)) == complete


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":tag",
        "@sha256:" + HEX,
        "app@sha256:abc",
        "app@md5:" + HEX,
        "app@sha256:" + HEX.upper(),
        "App",
        "host:5000/App/x",
        "docker/App",
        HEX,
        "a//b",
        "/a",
        "a/",
        "-a/b",
        "a-/b",
        "a_-b",
        "a..b",
        "a___b",
        "https://example.com/app",
        "[::1]",
        "[::1]:5000",
        "[fe80::1%eth0]:5000/app",
        "fc00::1:5000/app",
        "app:",
        "app:.tag",
        "app:" + "T" * 129,
        "app:täg",
        "host/" + "a" * 256,
        "../etc/passwd",
        "host.com/../etc",
        "app:t\n",
        " app",
    ],
)
def test_what_docker_refuses_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        reference.parse(text)
    assert "invalid reference" in caught.value.what
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "familiar"),
    [
        ("docker.io/library/alpine:3", "alpine:3"),
        ("docker.io/someone/app", "someone/app"),
        ("docker.io/library/a/b", "library/a/b"),
        ("ghcr.io/library/x", "ghcr.io/library/x"),
    ],
)
def test_the_short_spelling_reads_back_as_the_same(text: str, familiar: str) -> None:
    ref = reference.parse(text)
    assert ref.familiar == familiar
    assert reference.parse(familiar) == ref


def test_latest_is_only_for_names_without_tag_and_digest() -> None:
    pinned = reference.parse(f"app@sha256:{HEX}")
    assert reference.parse("app").with_default_tag().tag == "latest"
    assert reference.parse("app:1").with_default_tag().tag == "1"
    assert pinned.with_default_tag() == pinned


def test_a_digest_can_be_added() -> None:
    pinned = Reference("h", "app", "1").with_digest(digests.parse(f"sha256:{HEX}"))
    assert str(pinned) == f"h/app:1@sha256:{HEX}"
    assert pinned.name == "h/app"
