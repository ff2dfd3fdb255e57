"""Readers on real sockets, against a server that says exactly what the test wrote down."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from locustfiles import frames
from locustfiles.readers import Batch, LongPollReader, Reader, SSEReader, WebSocketReader
from transports.errors import Code, NotEverywireError, Refusal
from transports.items import Bye, Event, Hello, encode, encode_batch
from transports.ladder import LADDER

HELLO = Hello(v=1, id="e.0", connection="x", channels=["c"], resumed="fresh", beat=15.0)
EVENTS = [Event(id=f"e.{n}", channel="c", at=0.0, data={"n": n}) for n in (1, 2, 3)]
BYE = Bye(code=4503, name="draining", reason="the server is stopping", retry=0.5)

Talk = Callable[[socket.socket], None]

READERS = {each.transport.name: each for each in (WebSocketReader, SSEReader, LongPollReader)}


@contextmanager
def server(*talks: Talk) -> Iterator[tuple[str, list[str]]]:
    """Serves a connection with each talk, one after the other; its URL, and the requests that came."""
    requests: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for talk in talks:
                connection, _ = listening.accept()
                with connection:
                    connection.settimeout(5)
                    talk(Recording(connection, requests))  # type: ignore[arg-type]

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/live", requests
        thread.join(5)


class Recording:
    """A connection whose requests are kept."""

    def __init__(self, connection: socket.socket, requests: list[str]) -> None:
        self.connection, self.requests = connection, requests
        self.send = connection.sendall

    def request(self) -> str:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.connection.recv(4096)
        self.requests.append(data.decode())
        return data.decode()


def answer(body: bytes, status: str = "200 OK", kind: str = "application/json", extra: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body


def batch(*items: object) -> bytes:
    return encode_batch([encode(item) for item in items])  # type: ignore[arg-type]


def text(body: bytes, opcode: int = frames.TEXT) -> bytes:
    return bytes([0x80 | opcode]) + (bytes([len(body)]) if len(body) < 126 else b"\x7e" + len(body).to_bytes(2, "big")) + body


def websocket(*said: bytes) -> Talk:
    def talk(peer: Recording) -> None:
        found = re.search(r"Sec-WebSocket-Key: (\S+)", peer.request())
        assert found
        accept = frames.accept_for(found[1].encode())
        peer.send(f"HTTP/1.1 101 Switching\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode() + b"".join(said))

    return talk  # type: ignore[return-value]


def stream(*said: bytes) -> Talk:
    def talk(peer: Recording) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in said:
            peer.send(b"%x\r\n%b\r\n" % (len(part), part))

    return talk  # type: ignore[return-value]


def polls(*said: bytes) -> Talk:
    def talk(peer: Recording) -> None:
        for part in said:
            peer.request()
            peer.send(part)

    return talk  # type: ignore[return-value]


def block(*items: object) -> bytes:
    return LADDER[1].frame([encode(item) for item in items])  # type: ignore[arg-type]


TALKS: dict[str, tuple[Talk, Talk]] = {
    "websocket": (websocket(text(batch(HELLO)), text(batch(*EVENTS[:2]))), websocket(text(batch(HELLO, EVENTS[2])))),
    "sse": (stream(block(HELLO), block(*EVENTS[:2])), stream(block(HELLO, EVENTS[2]))),
    "longpoll": (polls(answer(batch(HELLO)), answer(batch(*EVENTS[:2]))), polls(answer(batch(EVENTS[2])))),
}


def read(reader: Reader) -> list[Batch]:
    """All until the cut."""
    found = []
    with pytest.raises((OSError, Refusal)):  # noqa: PT012 - the cut comes wherever it comes
        for each in reader.batches():
            found.append(each)
    return found


@pytest.mark.parametrize("name", READERS)
def test_events_arrive_and_a_cut_is_read_on_from(name: str):
    with server(*TALKS[name]) as (url, requests):
        reader = READERS[name](url, ["c"])
        before = time.monotonic_ns() // 1000
        first = read(reader)
        assert reader.position == "e.2"
        second = read(reader)
    events = [item.id for each in first + second for item in each.items if isinstance(item, Event)]
    assert events == ["e.1", "e.2", "e.3"]
    assert all(before - 1000 < each.received <= time.monotonic_ns() // 1000 for each in first + second)
    assert "since=" not in requests[0]
    assert "since=e.2" in requests[-1]


@pytest.mark.parametrize("name", READERS)
def test_bytes_and_requests_are_counted_at_the_socket(name: str):
    with server(TALKS[name][0]) as (url, requests):
        reader = READERS[name](url, ["c"])
        read(reader)
    # The last poll is sent, but the server has gone.
    assert reader.traffic.requests - len(requests) == (name == "longpoll")
    assert reader.traffic.up >= sum(map(len, requests))
    assert reader.traffic.down > 300
    assert reader.traffic.opened == 1


@pytest.mark.parametrize(
    ("name", "talk"),
    [
        ("websocket", websocket(text(batch(HELLO)), text(batch(BYE)))),
        ("sse", stream(block(HELLO), block(BYE))),
        ("longpoll", polls(answer(batch(HELLO)), answer(batch(BYE)))),
    ],
)
def test_bye_ends_reading_with_its_reason(name: str, talk: Talk):
    with server(talk) as (url, _), pytest.raises(Refusal) as found:
        list(READERS[name](url, ["c"]).batches())
    assert (found.value.code, found.value.retry) == (Code.DRAINING, 0.5)


@pytest.mark.parametrize("name", READERS)
def test_a_refusal_is_told_in_the_servers_words(name: str):
    body = b'{"code":4404,"name":"unknown_channel","reason":"no channel named c","retry":null}'
    with server(polls(answer(body, "404 Not Found"))) as (url, _), pytest.raises(Refusal, match="no channel named c") as found:
        list(READERS[name](url, ["c"]).batches())
    assert found.value.retry is None


@pytest.mark.parametrize("name", READERS)
def test_a_login_page_is_none_of_ours(name: str):
    page = answer(b"<h1>Please log in</h1>", kind="text/html")
    with server(polls(page)) as (url, _), pytest.raises(NotEverywireError):
        list(READERS[name](url, ["c"]).batches())


def test_a_wrong_accept_is_no_websocket():
    reply = b"HTTP/1.1 101 Switching\r\nSec-WebSocket-Accept: nonsense\r\n\r\n"
    with server(polls(reply)) as (url, _), pytest.raises(NotEverywireError, match="Sec-WebSocket-Accept"):
        list(WebSocketReader(url, ["c"]).batches())


def test_a_ping_is_answered_and_a_close_is_too():
    heard = []

    def talk(peer: Recording) -> None:
        websocket(text(batch(HELLO)), text(b"are you there", frames.PING), text(b"\x03\xe8", frames.CLOSE))(peer)  # type: ignore[arg-type]
        while data := peer.connection.recv(100):
            heard.append(data)

    with server(talk) as (url, _):  # type: ignore[arg-type]
        read(WebSocketReader(url, ["c"]))
    said = b"".join(heard)
    assert said[0] == 0x80 | frames.PONG
    assert said[6 + 13] == 0x80 | frames.CLOSE


def test_polling_goes_on_over_a_new_connection_when_the_server_asks_for_one():
    closing = polls(answer(batch(HELLO)), answer(batch(EVENTS[0]), extra="Connection: close\r\n"))
    with server(closing, polls(answer(batch(EVENTS[1])))) as (url, _):
        reader = LongPollReader(url, ["c"])
        found = read(reader)
    assert [each.items[0].id for each in found] == ["e.0", "e.1", "e.2"]  # type: ignore[union-attr]
    assert reader.traffic.opened == 2


def test_silence_is_a_cut():
    quiet = Hello(v=1, id="e.0", connection="x", channels=["c"], resumed="fresh", beat=0.05)
    over = threading.Event()

    def talk(peer: Recording) -> None:
        stream(block(quiet))(peer)  # type: ignore[arg-type]
        over.wait(5)

    with server(talk) as (url, _):  # type: ignore[arg-type]
        with pytest.raises(TimeoutError, match=r"nothing came for 0\.1 s"):
            list(SSEReader(url, ["c"]).batches())
        over.set()


@pytest.mark.parametrize("url", ["ftp://x/live", "127.0.0.1:8000", ""])
def test_a_url_that_is_none_is_told(url: str):
    with pytest.raises(ValueError, match="is not a URL"):
        SSEReader(url, ["c"])
