from __future__ import annotations

import contextlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viaduct.registry import http1
from viaduct.registry.http1 import Answer, Malformed, NotSendable

OK = b"HTTP/1.1 200 OK\r\n"


def stream(data: bytes) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(data))


def answer(data: bytes, method: str = "GET") -> Answer:
    return http1.read(stream(data), method)


def body(of: Answer, size: int = 7) -> bytes:
    """The whole body, read in pieces of `size`."""
    out = b""
    buffer = memoryview(bytearray(size))
    while count := of.readinto(buffer):
        out += bytes(buffer[:count])
    return out


def test_a_head_has_its_fields_and_ends_with_an_empty_line() -> None:
    sent = http1.head("GET", "/v2/?n=1", [("Host", "a:5000"), ("Accept", "*/*")])
    assert sent == b"GET /v2/?n=1 HTTP/1.1\r\nHost: a:5000\r\nAccept: */*\r\n\r\n"


@pytest.mark.parametrize("target", ["/a b", "/a\r\nX: y", "/\x00", "/ü", ""])
def test_a_target_cannot_smuggle_anything(target: str) -> None:
    with pytest.raises(NotSendable):
        http1.head("GET", target, [])


@pytest.mark.parametrize(
    ("name", "value"),
    [("A", "b\r\nC: d"), ("A", "b\nC"), ("A:B", "c"), ("", "c"), ("A", "\0"), ("A", "→")],
)
def test_a_field_cannot_smuggle_anything(name: str, value: str) -> None:
    with pytest.raises(NotSendable) as caught:
        http1.head("GET", "/", [(name, value)])
    assert caught.value.field == name


def test_field_names_are_free_in_case_and_repeated_fields_are_joined() -> None:
    got = answer(OK + b"X-A: 1\r\nx-a:  2 \r\nContent-Length: 0\r\n\r\n")
    assert got.headers == {"x-a": "1, 2", "content-length": "0"}


@pytest.mark.parametrize(
    ("fields", "rest", "expected", "reusable"),
    [
        (b"Content-Length: 5\r\n", b"hello, and more", b"hello", True),
        (b"Content-Length: 5\r\nConnection: Close\r\n", b"hello", b"hello", False),
        (b"Content-Length: 0\r\n", b"junk", b"", True),
        (b"", b"until the end", b"until the end", False),
        (
            b"Transfer-Encoding: Chunked\r\n",
            b"5\r\nhello\r\n3;x=y\r\n, y\r\n0\r\n\r\n",
            b"hello, y",
            True,
        ),
        (
            b"Transfer-Encoding: chunked\r\n",
            b"a\r\n0123456789\r\n0\r\nT: 1\r\n\r\n",
            b"0123456789",
            True,
        ),
        (
            b"Transfer-Encoding: chunked\r\n",
            b"2\r\nab\r\n0\r\n\r\nand more",
            b"ab",
            False,
        ),
    ],
)
def test_a_body_ends_where_its_fields_say(
    fields: bytes, rest: bytes, expected: bytes, reusable: bool
) -> None:
    got = answer(OK + fields + b"\r\n" + rest)
    assert (body(got), got.ended, got.reusable) == (expected, True, reusable)


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("CONNECT", 200)]
)
def test_some_answers_have_no_body_whatever_they_say(method: str, status: int) -> None:
    got = answer(b"HTTP/1.1 %d X\r\nContent-Length: 9\r\n\r\n" % status, method)
    assert got.ended
    assert body(got) == b""


def test_an_older_server_keeps_the_connection_only_if_it_says_so() -> None:
    old = b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n"
    assert not answer(old + b"\r\n").reusable
    assert answer(old + b"Connection: keep-alive\r\n\r\n").reusable


def test_interim_answers_are_passed_over() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    got = answer(interim + b"HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n")
    assert (got.status, got.headers) == (404, {"content-length": "0"})


def test_after_a_change_of_protocols_the_connection_is_good_for_nothing() -> None:
    got = answer(b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nwhatever")
    assert (got.status, got.ended, got.reusable) == (101, True, False)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 99 X\r\n\r\n",
        b"HTTP/1.1 2000 X\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b" folded: x\r\n\r\n",
        OK + b"A : x\r\n\r\n",
        OK + b"A: " + b"x" * 140_000 + b"\r\n\r\n",
        OK + b"A: x\r\n" * 101 + b"\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: +1\r\n\r\n",
        OK + b"Content-Length: 1, 2\r\n\r\n",
        OK + b"Content-Length: 99999999999999999999\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
    ],
)
def test_what_is_not_http_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        answer(data)


@pytest.mark.parametrize(
    "rest",
    [
        *(b"0x1\r\na\r\n", b"-1\r\n", b"\r\n", b"1\r\nab\r\n", b"1" * 17 + b"\r\n", b"g\r\n"),
        b"0\r\nT: " + b"x" * 140_000,
        b"0\r\n" + b"T: x\r\n" * 101,
        b"1;" + b"x" * 140_000,
    ],
)
def test_a_broken_chunk_is_refused(rest: bytes) -> None:
    got = answer(OK + b"Transfer-Encoding: chunked\r\n\r\n" + rest)
    with pytest.raises(Malformed):
        body(got)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200",
        OK + b"A: x\r\n",
        OK + b"Content-Length: 5\r\n\r\nhell",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhell",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n",
    ],
)
def test_a_connection_that_ends_too_early_is_told_from_the_end(data: bytes) -> None:
    with pytest.raises(ConnectionResetError):
        body(answer(data))


def test_what_came_before_the_connection_broke_is_not_lost() -> None:
    got = answer(OK + b"Content-Length: 9\r\n\r\n12345")
    buffer = memoryview(bytearray(9))
    assert got.readinto(buffer) == 5
    with pytest.raises(ConnectionResetError):
        got.readinto(buffer)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.integers(1, 50))
def test_however_a_body_is_cut_into_chunks_it_is_the_same(pieces: list[bytes], size: int) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    got = answer(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    assert body(got, size) == b"".join(pieces)


@given(st.binary(max_size=80), st.booleans())
def test_no_bytes_are_worse_than_refused(data: bytes, begun: bool) -> None:
    with contextlib.suppress(Malformed, ConnectionResetError):
        body(answer(OK + data if begun else data))
