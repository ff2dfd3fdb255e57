"""Answers, read by h11 as a client would."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.front.requests import CONTINUE, LAST_CHUNK, answer, chunk

KINDS = [(b"content-type", b"application/json"), (b"x-name", b"J\xfcrgen")]


def read(data: bytes, *, method: str = "GET", version: str = "1.1") -> tuple[h11.Response, bytes, bool]:
    """The response, its body, and whether the client may ask again."""
    client = h11.Connection(h11.CLIENT)
    keep = [("Connection", "keep-alive")] if version == "1.0" else []
    client.send(h11.Request(method=method, target="/", headers=[("Host", "x"), *keep]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    response = client.next_event()
    body = b""
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            client.receive_data(b"")
        else:
            body += bytes(event.data)
    return response, body, client.their_state is h11.DONE


@pytest.mark.parametrize("status", [200, 400, 404, 408, 413, 414, 417, 426, 429, 431, 501, 503, 505])
@pytest.mark.parametrize("keep_alive", [True, False])
def test_a_whole_answer(status: int, keep_alive: bool) -> None:
    response, body, again = read(answer(status, KINDS, b"[1]", keep_alive=keep_alive, version="1.1"))
    assert (response.status_code, body, again) == (status, b"[1]", keep_alive)
    assert response.reason
    assert [(bytes(name), bytes(value)) for name, value in response.headers][:2] == KINDS


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
def test_a_body_that_follows_in_chunks(pieces: list[bytes]) -> None:
    data = answer(200, KINDS, None, keep_alive=True, version="1.1") + b"".join(map(chunk, pieces)) + LAST_CHUNK
    assert read(data)[1:] == (b"".join(pieces), True)


def test_an_empty_piece_does_not_end_the_body() -> None:
    assert chunk(b"") == b""


def test_http_1_0_is_told_that_the_connection_stays_and_knows_no_chunks() -> None:
    assert b"\r\nconnection: keep-alive\r\n" in answer(200, [], b"x", keep_alive=True, version="1.0")
    assert b"\r\nconnection: close\r\n" in answer(200, [], b"x", keep_alive=False, version="1.0")
    streamed = answer(200, [], None, keep_alive=True, version="1.0")
    assert b"chunked" not in streamed
    assert b"keep-alive" not in streamed
    assert read(streamed + b"all of it", version="1.0")[1:] == (b"all of it", False)


def test_head_gets_the_length_and_no_body() -> None:
    response, body, again = read(answer(405, [], b"no", keep_alive=True, version="1.1", method="HEAD"), method="HEAD")
    assert (dict(response.headers)[b"content-length"], body, again) == (b"2", b"", True)


def test_switching_protocols_says_nothing_of_an_end() -> None:
    headers = [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
    assert answer(101, headers, None, keep_alive=True, version="1.1") == (
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"
    )


def test_a_client_that_waits_is_told_to_go_on() -> None:
    client = h11.Connection(h11.CLIENT)
    client.send(
        h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "1"), ("Expect", "100-continue")])
    )
    client.receive_data(CONTINUE)
    assert isinstance(client.next_event(), h11.InformationalResponse)


@pytest.mark.parametrize(
    "bad", [(b"a", b"b\r\nset-cookie: c"), (b"a", b"b\nc"), (b"a", b"b\r"), (b"a\r\nb", b"c"), (b"a", b"\0")]
)
def test_a_header_cannot_become_two(bad: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="line end"):
        answer(200, [bad], b"", keep_alive=True, version="1.1")
