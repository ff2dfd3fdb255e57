"""Readers on real sockets, against a server that says exactly what the test wrote down."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from locustfiles.measuring import frames
from locustfiles.measuring.readers import Batch, LongPollReader, Reader, SSEReader, WebSocketReader
from locustfiles.measuring.stamps import Stamp
from transports.errors import Code, NotEverywireError, Refusal
from transports.items import Bye, Event, Hello, encode, encode_batch
from transports.ladder import LADDER

HELLO = Hello(v=1, id="e.0", connection="x", channels=["c"], resumed="fresh", beat=15.0)
EVENTS = [Event(id=f"e.{n}", channel="c", at=0.0, data={"n": n, "t": 5}) for n in (1, 2, 3)]
BYE = Bye(code=4503, name="draining", reason="the server is stopping", retry=0.5)

Talk = Callable[[socket.socket], None]

READERS = {each.transport.name: each for each in (WebSocketReader, SSEReader, LongPollReader)}


class Heard(list[str]):
    """Requests, and what was said."""

    said = b""


@contextmanager
def server(*talks: Talk) -> Iterator[tuple[str, Heard]]:
    """Serves a connection with each talk, one after the other; its URL, and the requests that came."""
    requests = Heard()
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
    """A connection whose requests are kept, and what is said."""

    def __init__(self, connection: socket.socket, requests: Heard) -> None:
        self.connection, self.requests = connection, requests

    def send(self, data: bytes) -> None:
        self.requests.said += data
        self.connection.sendall(data)

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
    size = len(b'{"n":1,"t":5}')
    assert [stamp for each in first + second for stamp in each.stamps] == [Stamp(n, 5, "c", size) for n in (1, 2, 3)]
    assert all(before - 1000 < each.received <= time.monotonic_ns() // 1000 for each in first + second)
    assert "since=" not in requests[0]
    assert "since=e.2" in requests[-1]


@pytest.mark.parametrize("name", READERS)
def test_bytes_and_requests_are_counted_at_the_socket(name: str):
    with server(TALKS[name][0]) as (url, requests):
        reader = READERS[name](url, ["c"])
        read(reader)
    traffic, said = reader.traffic, requests.said
    assert traffic.requests - len(requests) == (name == "longpoll")  # the last poll is sent, but the server has gone
    assert traffic.up >= sum(map(len, requests))
    assert traffic.down == len(said)
    assert traffic.payload == 2 * len(b'{"n":1,"t":5}')
    asked = traffic.up - sum(len(each) for each in requests) if name == "longpoll" else 0  # the head of the last poll
    heads = re.findall(rb"HTTP/1\.1.*?\r\n\r\n", said, re.DOTALL)
    assert traffic.headers == sum(map(len, heads)) + sum(map(len, requests)) + asked
    assert traffic.opened == 1


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
    assert [stamp.n for each in found for stamp in each.stamps] == [1, 2]
    assert reader.traffic.opened == 2


def test_silence_is_a_cut():
    quiet = Hello(v=1, id="e.0", connection="x", channels=["c"], resumed="fresh", beat=0.05)
    over = threading.Event()

    def talk(peer: Recording) -> None:
        stream(block(quiet))(peer)  # type: ignore[arg-type]
        over.wait(30)

    with server(talk) as (url, _):  # type: ignore[arg-type]
        with pytest.raises(TimeoutError, match=r"nothing came for 0\.1 s"):
            list(SSEReader(url, ["c"]).batches())
        over.set()


@pytest.mark.parametrize("url", ["ftp://x/live", "127.0.0.1:8000", ""])
def test_a_url_that_is_none_is_told(url: str):
    with pytest.raises(ValueError, match="is not a URL"):
        SSEReader(url, ["c"])


def parsed(message: bytes) -> list[Stamp]:
    """`n t` of a foreign server."""
    return [Stamp(*map(int, message.split()))] if re.fullmatch(rb"\d+ \d+", message) else []


def foreign(reader: type[Reader], url: str, path: str) -> Reader:
    made = reader(url.removesuffix("/live"), [])
    made.path, made.parse = path, parsed  # type: ignore[method-assign]
    return made


def test_a_foreign_websocket_is_greeted_and_answered():
    heard = []

    def talk(peer: Recording) -> None:
        websocket(text(b"1 5"), text(b"are you there"), text(b"2 6", frames.BINARY))(peer)  # type: ignore[arg-type]
        while len(b"".join(heard)) < (6 + len("hello")) + (6 + len("yes")):
            heard.append(peer.connection.recv(100))

    with server(talk) as (url, requests):  # type: ignore[arg-type]
        reader = foreign(WebSocketReader, url, "/chat?x=1")
        reader.greeting = (b"hello",)
        reader.answer = lambda message: b"yes" if message.startswith(b"are") else None  # type: ignore[method-assign]
        found = read(reader)
    assert [stamp for each in found for stamp in each.stamps] == [Stamp(1, 5), Stamp(2, 6)]
    assert requests[0].startswith("GET /chat?x=1 HTTP/1.1\r\n")
    assert "Sec-WebSocket-Protocol" not in requests[0]
    assert reader.ready
    said = [frames.Frames().feed(bytes([0x81, size]) + data) for size, data in unmasked(b"".join(heard))]
    assert said == [[frames.Message(frames.TEXT, b"hello")], [frames.Message(frames.TEXT, b"yes")]]


def unmasked(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The short frames of a client."""
    while data:
        size = data[1] & 0x7F
        mask, body, data = data[2:6], data[6 : 6 + size], data[6 + size :]
        yield size, bytes(byte ^ mask[place % 4] for place, byte in enumerate(body))


def test_foreign_server_sent_events_end_their_lines_as_they_like():
    said = [b"data: 1 5\r\n\r\n", b": hi\r\n\r\n", b"event: x\rid: 9\rdata: 2 6\r\r"]
    with server(stream(*said)) as (url, requests):
        reader = foreign(SSEReader, url, "/events")
        assert [stamp for each in read(reader) for stamp in each.stamps] == [Stamp(1, 5), Stamp(2, 6)]
    assert requests[0].startswith("GET /events HTTP/1.1\r\n")


def test_foreign_polls_ask_for_what_comes_next():
    with server(polls(answer(b"1 5", kind="text/plain"), answer(b"", "204 No Content"), answer(b"2 6"))) as (url, requests):
        reader = foreign(LongPollReader, url, "/poll?after=0")
        reader.next_path = lambda body: f"/poll?after={body[:1].decode() or 1}"  # type: ignore[method-assign]
        assert [stamp for each in read(reader) for stamp in each.stamps] == [Stamp(1, 5), Stamp(2, 6)]
    assert [request.split(" ")[1] for request in requests] == ["/poll?after=0", "/poll?after=1", "/poll?after=1"]


@pytest.mark.parametrize("name", READERS)
def test_how_long_the_steps_of_opening_took(name: str):
    with server(TALKS[name][0]) as (url, _):
        reader = READERS[name](url, ["c"])
        assert not reader.ready
        before = time.monotonic_ns() // 1000
        read(reader)
        took = time.monotonic_ns() // 1000 - before
    assert reader.ready
    assert reader.opening is not None
    assert reader.opening.tls is None
    assert reader.opening.connect is not None
    assert 0 < reader.opening.connect <= reader.opening.hello <= took + 1000


@pytest.mark.parametrize(("name", "asked"), [("websocket", "beat=2"), ("sse", "beat=2"), ("longpoll", "wait=2")])
def test_a_beat_may_be_asked_for(name: str, asked: str):
    with server(TALKS[name][0]) as (url, requests):
        read(READERS[name](url, ["c"], beat=2.0))
    assert all(f"&{asked} " in request for request in requests)
