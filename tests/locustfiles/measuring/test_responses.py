"""Response: answers in any pieces, and what is none."""

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locustfiles.measuring.responses import Response
from transports.errors import NotEverywireError

COUNTED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\nA;x=y\r\nlo, world!\r\n0\r\nT: r\r\n\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + COUNTED


def read(response: Response, *pieces: bytes) -> bytes:
    return b"".join(response.feed(piece) for piece in pieces)


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (COUNTED, 200, b"hello"),
        (CHUNKED, 200, b"hello, world!"),
        (EARLY, 200, b"hello"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404, b""),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", 101, b""),
    ],
)
def test_answers(answer: bytes, status: int, body: bytes):
    response = Response()
    assert read(response, answer) == body
    assert (response.status, response.done, response.rest) == (status, True, b"")


@given(st.sampled_from([COUNTED, CHUNKED, EARLY]), st.lists(st.integers(0, 120)))
def test_pieces_do_not_matter(answer: bytes, cuts: list[int]):
    edges = sorted({0, len(answer), *(cut for cut in cuts if cut < len(answer))})
    response = Response()
    body = read(response, *(answer[a:b] for a, b in itertools.pairwise(edges)))
    assert body == read(Response(), answer)
    assert response.done


def test_a_chunk_is_handed_on_before_the_next_has_come():
    response = Response()
    assert read(response, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel") == b"hel"
    assert read(response, b"lo\r\n") == b"lo"
    assert not response.done


def test_what_follows_an_upgrade_is_kept():
    response = Response()
    response.feed(b"HTTP/1.1 101 X\r\n\r\n\x81\x02[]")
    assert response.rest == b"\x81\x02[]"


def test_without_a_length_the_body_ends_with_the_connection():
    response = Response()
    assert read(response, b"HTTP/1.0 200 OK\r\n\r\n", b"all ", b"of it") == b"all of it"
    assert not response.done
    response.feed_eof()
    assert (response.done, response.keeps_alive) == (True, False)


def test_a_connection_that_ends_too_early_is_told():
    response = Response()
    response.feed(COUNTED[:-1])
    with pytest.raises(ConnectionResetError):
        response.feed_eof()


def test_connection_close_is_obeyed():
    response = Response()
    response.feed(b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n")
    assert not response.keeps_alive


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 2_000,
    ],
)
def test_what_is_none_is_refused(answer: bytes):
    with pytest.raises(NotEverywireError):
        Response().feed(answer)


@given(st.binary(max_size=200))
def test_garbage_never_raises_anything_else(data: bytes):
    with contextlib.suppress(NotEverywireError):
        Response().feed(b"HTTP/1.1 200 OK\r\n" + data)
