"""COPY, ADD and mounts lowered: what is refused, and where things go."""

from __future__ import annotations

import pytest
from tests.parts.lowering import lowered, steps

from viaduct.base.errors import DockerfileError
from viaduct.dockerfile.gomatch import is_malformed, match, matcher
from viaduct.dockerfile.ignore import Matcher

_URL = "http://example.com/f /n"
_GIT = "https://example.com/r.git /n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"ADD --checksum=sha256:00 {_URL}", "invalid checksum digest length"),
        (f"ADD --checksum=md5:00 {_URL}", "unsupported digest algorithm"),
        (f"ADD --checksum=00 {_URL}", "invalid checksum digest format"),
        (
            f"ADD --checksum=zz {_GIT}",
            "invalid checksum zz for Git URL, expected hex commit hash",
        ),
        (
            'ADD ["https://example.com/a\\nb.git", "/n"]',
            r'the git URL "https://example.com/a\nb.git" has control characters in it',
        ),
        (
            "ADD https://example.com/r.git#%00 /n",
            'the git URL "https://example.com/r.git" has control characters in it',
        ),
        (
            "ADD https://example.com/r.git?ref=%0a /n",
            'query "ref" has control characters in it',
        ),
        ("RUN --device=vendor.com/x=y true", "device feature is not supported"),
    ],
)
def test_what_cannot_be_had_is_refused_in_the_peers_words(line: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        lowered(f"FROM scratch\n{line}\n")
    assert caught.value.what == message


def test_relative_mount_targets_are_below_the_working_directory() -> None:
    built = lowered(
        "FROM alpine\nWORKDIR /w\n"
        "RUN --mount=type=secret,id=a,target=s --mount=type=ssh,target=./x/agent"
        " --mount=type=tmpfs,target=t true\n"
    )
    (step,) = steps(built)
    assert [mount.target for mount in step.mounts] == ["/", "/w/t", "/w/s", "/w/x/agent"]


@pytest.mark.parametrize(
    ("pattern", "malformed"),
    [("[a", True), ("a*[", True), ("[]a]", True), ("x\\", True), ("[a-]", True), ("[a]*", False)],
)
def test_a_mistake_in_a_pattern_is_found_whatever_it_is_asked(
    pattern: str, malformed: bool
) -> None:
    assert is_malformed(pattern) is malformed
    if malformed:
        with pytest.raises(ValueError, match="syntax error in pattern"):
            match(pattern, "something else")


@pytest.mark.parametrize("end", ["", "b"])
def test_a_wildcard_with_any_number_of_stars_is_answered(end: str) -> None:
    """With backtracking each star more would multiply the time by the length of the name."""
    pattern, name = "*a" * 50 + end, "a" * 250
    assert matcher(pattern)(name) == match(pattern, name) == (not end)


@pytest.mark.parametrize(
    ("pattern", "path", "hidden"),
    [
        ("*a" * 50, "a" * 250, True),
        ("*a" * 50 + "b", "a" * 250, False),
        ("x/" + "**/a/" * 50 + "b", "x/" + "a/" * 1000 + "b", True),
        ("x/" + "**/a/" * 50 + "c", "x/" + "a/" * 1000 + "b", False),
        ("**/*a*a*a*a*a*", "d/" + "ba" * 5, True),
        ("**/*a*a*a*a*a*", "d/" + "ba" * 4 + "/ba", False),
        ("a/**/b/*c*/**", "a/x/b/bcb/y", True),
        ("a/**/b/*c*/**", "a/b/c/y/z", True),
        ("a/**/b/*c*/**", "a/b/d/c", False),
    ],
)
def test_an_ignore_pattern_with_any_number_of_stars_is_answered(
    pattern: str, path: str, hidden: bool
) -> None:
    assert Matcher([pattern]).excludes(path) is hidden
