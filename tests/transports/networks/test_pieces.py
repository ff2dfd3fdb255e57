from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transports.networks import Head, Piece
from transports.networks.pieces import FramingError, Splitter, chunk

SMALL = st.binary(max_size=40)
SIZES = st.one_of(st.integers(0, 40), st.sampled_from([1_000, 65_533, 65_534, 65_535, 65_536, 65_537, 131_071, 140_000]))
CUTS = st.lists(st.sampled_from([1, 1, 2, 3, 7, 50, 999, 65_535, 65_536, 70_000]), min_size=1, max_size=9)
NAMES = st.sampled_from([b"Range", b"X-A", b"x_b!", b"Accept"])
VALUES = st.sampled_from([b"", b"a", b"a: b", b'"q"', b"\xe4 \x80", b"x" * 300])
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=3)
GAPS = st.sampled_from([b": ", b":", b": \t "])


@dataclass(frozen=True)
class Part:
    """A request or an answer: its bytes, and what a splitter must find in them."""

    raw: bytes
    body: bytes
    method: bytes = b"GET"
    bodied: bool = False


def body_of(size: int) -> bytes:
    return bytes(n % 251 for n in range(size))


@st.composite
def chunked(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A body in chunks, and its payload."""
    payloads = [body_of(size) for size in draw(st.lists(SIZES.filter(bool), max_size=4))]
    raw = b""
    for payload in payloads:
        size = draw(st.sampled_from([b"%x", b"%X", b"000%x"])) % len(payload)
        raw += size + draw(st.sampled_from([b"", b" ", b";a", b';a="b"; c'])) + b"\r\n" + payload + b"\r\n"
    trailers = draw(st.lists(st.tuples(NAMES, VALUES), max_size=2))
    raw += draw(st.sampled_from([b"0", b"00;x"])) + b"\r\n" + lines(trailers, b": ") + b"\r\n"
    return raw, b"".join(payloads)


def lines(headers: list[tuple[bytes, bytes]], gap: bytes) -> bytes:
    return b"".join(name + gap + value + b"\r\n" for name, value in headers)


@st.composite
def framed(draw: st.DrawFn, start: bytes) -> tuple[bytes, bytes]:
    """A head with that start line and a body behind it; the payload."""
    head = start + b"\r\n" + lines(draw(HEADERS), draw(GAPS))
    if draw(st.booleans()):
        raw, payload = draw(chunked())
        return head + draw(
            st.sampled_from([b"Transfer-Encoding: chunked", b"transfer-encoding:Chunked "])
        ) + b"\r\n\r\n" + raw, payload
    payload = body_of(draw(SIZES))
    length = draw(st.sampled_from([b"Content-Length: %d", b"content-length:00%d", b"Content-Length: %d, %d"]))
    length = length % ((len(payload),) * length.count(b"%d"))
    return head + length + b"\r\n\r\n" + payload, payload


@st.composite
def requests(draw: st.DrawFn) -> Part:
    method = draw(st.sampled_from([b"GET", b"HEAD", b"POST", b"x-own"]))
    start = method + b" " + draw(st.sampled_from([b"/", b"*", b"http://a/b?c", b"/%e4"])) + b" HTTP/1.1\r\nHost: x"
    if draw(st.booleans()):
        return Part(start + b"\r\n" + lines(draw(HEADERS), draw(GAPS)) + b"\r\n", b"", method)
    return Part(*draw(framed(start)), method)


@st.composite
def answers(draw: st.DrawFn) -> Part:
    method = draw(st.sampled_from([b"GET", b"HEAD", b"POST"]))
    interim = b"".join(
        draw(st.lists(st.sampled_from([b"HTTP/1.1 100 \r\n\r\n", b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n"]), max_size=2))
    )
    status = draw(st.sampled_from([b"200 OK", b"204 No Content", b"304 ", b"404 Not Found at all", b"500"]))
    start = b"HTTP/1.1 " + status
    if method == b"HEAD" or status[:3] in (b"204", b"304"):
        said = draw(st.sampled_from([b"", b"Content-Length: 70\r\n", b"Transfer-Encoding: chunked\r\n"]))
        return Part(interim + start + b"\r\n" + said + b"\r\n", b"", method)
    raw, payload = draw(framed(start))
    return Part(interim + raw, payload, method, bodied=b"hunked" in raw or bool(payload))


def fed(splitter: Splitter, raw: bytes, cuts: list[int]) -> Iterator[Piece]:
    """The pieces of `raw`, which comes in pieces of these sizes again and again."""
    place, sizes = 0, itertools.cycle(cuts)
    while place < len(raw):
        size = next(sizes) if len(raw) < 5_000 else max(next(sizes), 300)
        yield from splitter.feed(raw[place : place + size])
        place += size


def bodies(pieces: list[Piece]) -> list[bytes]:
    """The payloads of all bodies that have ended."""
    found, body = [], b""
    for piece in pieces:
        body += piece.payload
        if piece.kind == "end":
            found.append(body)
            body = b""
    return found


def order(pieces: list[Piece]) -> str:
    return "".join(piece.kind[0] for piece in pieces)


# ------------------------------------------------------------------------------------------------- what is well framed


@settings(max_examples=40, deadline=None)
@given(st.lists(requests(), max_size=4), CUTS)
def test_requests_come_apart_wherever_they_are_cut(sent: list[Part], cuts: list[int]) -> None:
    splitter, raw = Splitter(), b"".join(part.raw for part in sent)
    pieces = list(fed(splitter, raw, cuts))
    assert b"".join(piece.raw for piece in pieces) == raw
    assert bodies(pieces) == [part.body for part in sent]
    assert re.fullmatch("(hd*e)*", order(pieces))
    assert splitter.between
    assert not list(splitter.eof())
    assert bodies(pieces) == [body for _, _, body in asked_of_h11(raw)[0]]


@settings(max_examples=40, deadline=None)
@given(st.lists(answers(), max_size=4), CUTS)
def test_answers_come_apart_wherever_they_are_cut(sent: list[Part], cuts: list[int]) -> None:
    splitter, raw = Splitter([part.method for part in sent]), b"".join(part.raw for part in sent)
    pieces = list(fed(splitter, raw, cuts))
    assert b"".join(piece.raw for piece in pieces) == raw
    assert bodies(pieces) == [part.body for part in sent]
    assert re.fullmatch("(h{1,3}d*e)*", order(pieces))
    last = [before for before, piece in itertools.pairwise(pieces) if before.kind == "head" and piece.kind != "head"]
    assert [piece.bodied for piece in last] == [part.bodied for part in sent]
    assert not list(splitter.eof())


@settings(max_examples=40, deadline=None)
@given(SIZES, CUTS, st.sampled_from([b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n"]))
def test_an_answer_without_a_length_ends_with_the_connection(size: int, cuts: list[int], head: bytes) -> None:
    splitter = Splitter([b"GET"])
    pieces = list(fed(splitter, head + body_of(size), cuts))
    assert re.fullmatch("hd*", order(pieces))
    assert pieces[0].bodied
    pieces += splitter.eof()
    assert bodies(pieces) == [body_of(size)]
    assert b"".join(piece.raw for piece in pieces) == head + body_of(size)


def frame(payload: bytes, mask: bytes, opcode: int) -> bytes:
    size, masked = len(payload), 0x80 * bool(mask)
    if size < 126:
        length = bytes((masked | size,))
    elif size < 65_536:
        length = bytes((masked | 126,)) + size.to_bytes(2, "big")
    else:
        length = bytes((masked | 127,)) + size.to_bytes(8, "big")
    return bytes((opcode,)) + length + mask + payload


FRAMES = st.builds(
    frame,
    st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536, 140_000]).map(body_of),
    st.sampled_from([b"", b"\0\0\0\0", b"\r\n\r\n"]),
    st.sampled_from([0x81, 0x82, 0x01, 0x80, 0x89, 0x88]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(FRAMES, max_size=5), CUTS)
def test_behind_an_upgrade_there_are_frames(sent: list[bytes], cuts: list[int]) -> None:
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    splitter, raw = Splitter([b"GET"]), answer + b"".join(sent)
    pieces = []
    for piece in fed(splitter, raw, cuts):
        pieces.append(piece)
        if piece.kind == "head":
            splitter.become("frame")
    assert b"".join(piece.raw for piece in pieces) == raw
    assert re.fullmatch("hf*", order(pieces))
    assert not pieces[0].bodied
    whole = [each for each in sent if len(each) <= 65_536]
    assert [piece.raw for piece in pieces if piece.raw in whole] == whole, "none that is short is in two pieces"
    assert len(pieces) == 1 + sum(-(-len(each) // 65_536) for each in sent)


@settings(max_examples=50, deadline=None)
@given(SMALL, CUTS)
def test_what_is_no_http_any_more_passes_as_it_comes(raw: bytes, cuts: list[int]) -> None:
    splitter = Splitter()
    splitter.become("bytes")
    pieces = list(fed(splitter, raw, cuts))
    assert b"".join(piece.raw for piece in pieces) == raw
    assert {piece.kind for piece in pieces} <= {"bytes"}


@settings(max_examples=30, deadline=None)
@given(st.lists(requests(), min_size=1, max_size=3), st.data(), CUTS)
def test_what_was_cut_off_is_not_lost(sent: list[Part], data: st.DataObject, cuts: list[int]) -> None:
    raw = b"".join(part.raw for part in sent)
    raw = raw[: data.draw(st.integers(0, len(raw)))]
    splitter = Splitter()
    pieces = [*fed(splitter, raw, cuts), *splitter.eof()]
    assert b"".join(piece.raw for piece in pieces) == raw
    assert re.fullmatch("(hd*e)*(hd*)?b?", order(pieces))


# ---------------------------------------------------------------------------------------------------------- what is not


GOOD = [
    b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello world",
    b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
]
STRAY = [
    b"",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\n\n",
    b" ",
    b"\t",
    b"\0",
    b"\x0b",
    b":",
    b";",
    b",",
    b"0",
    b"5",
    b"-1",
    b"+",
    b"\xff",
]
SAID = [b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Length:\r\n", b"transfer-encoding: identity\r\n"]
SPLICES = st.sampled_from([*STRAY, *SAID, b" HTTP/1.1"])


def asked_of_h11(raw: bytes) -> tuple[list[tuple[bytes, bytes, bytes]], bool]:
    """What another implementation finds: method, target and body of the requests, and whether it has stopped."""
    there, found = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20), []
    there.receive_data(raw)
    asked, body = None, b""
    try:
        while True:
            match event := there.next_event():
                case h11.Request():
                    asked, body = event, b""
                case h11.Data():
                    body += event.data
                case h11.EndOfMessage():
                    found.append((asked.method, asked.target, body))
                    there.send(h11.Response(status_code=200, headers=[(b"Content-Length", b"0")]))
                    there.send(h11.EndOfMessage())
                    there.start_next_cycle()
                case _:
                    return found, event is not h11.NEED_DATA
    except (h11.RemoteProtocolError, h11.LocalProtocolError):
        return found, True


def asked(raw: bytes) -> list[tuple[bytes, bytes, bytes]]:
    splitter, found, body, head = Splitter(), [], b"", None
    try:
        for piece in splitter.feed(raw):
            if piece.kind == "head":
                head, body = Head.parse(piece.raw), b""
            body += piece.payload
            if piece.kind == "end":
                found.append((*head.start[:2], body))
    except FramingError:
        pass
    return found


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(GOOD), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 3), SPLICES), max_size=3),
)
@example([GOOD[0]], [(len(GOOD[0]) - 4, 0, b"\n")])
@example([GOOD[0]], [(15, 0, b"\nTransfer-Encoding: chunked")])
@example([GOOD[1]], [(48, 2, b"")])
@example([GOOD[2]], [(len(GOOD[2]) - 8, 0, b"\n")])
def test_what_is_read_here_nobody_reads_in_another_way(sent: list[bytes], splices: list[tuple[int, int, bytes]]) -> None:
    """Or else a second request could be hidden in the first one. To refuse is always right."""
    raw = b"".join(sent)
    for place, gone, new in splices:
        raw = raw[:place] + new + raw[place + gone :]
    ours, (theirs, stopped) = asked(raw), asked_of_h11(raw)
    both = min(len(ours), len(theirs))
    assert ours[:both] == theirs[:both]
    assert len(ours) <= len(theirs) or stopped


BAD_REQUESTS = [
    b"GET /\r\n\r\n",
    b"GET / HTTP/2.0\r\n\r\n",
    b"GET / HTTP/1.2\r\n\r\n",
    b"GET /a b HTTP/1.1\r\n\r\n",
    b"GET  / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1 \r\n\r\n",
    b" GET / HTTP/1.1\r\n\r\n",
    b"G(T / HTTP/1.1\r\n\r\n",
    b"\r\n\r\n",
    b"\r\nGET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\nX: y\r\n\r\n",
    b"GET /\rX HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: y\n\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: y\r\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: a\nY: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: a\r\n folded\r\n\r\n",
    b"GET / HTTP/1.1\r\n\tX: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\n: nothing\r\n\r\n",
    b"GET / HTTP/1.1\r\nX : a\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent Length: 3\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"\x16\x03\x01\x02",
    b"GET / HTTP/1.1\r\nHost: x\r\nhost: x\r\n\r\n",
    b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    *(
        b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n"
        for framing in [
            b"Content-Length: 3\r\nTransfer-Encoding: chunked",
            b"Content-Length: \r\nTransfer-Encoding: chunked",
            b"Content-Length: 3\r\nTransfer-Encoding: ",
            b"Content-Length: 3\r\nContent-Length: 4",
            b"Content-Length: 3\r\nContent-Length: ",
            b"Content-Length: 3, 03",
            b"Content-Length:",
            b"Content-Length: -1",
            b"Content-Length: +1",
            b"Content-Length: 1_0",
            b"Content-Length: 0x10",
            b"Content-Length: 1 2",
            b"Content-Length: \xb2",
            b"Content-Length: \x0b3",
            b"Content-Length: 1234567890123456",
            b"Transfer-Encoding: gzip",
            b"Transfer-Encoding: chunked, chunked",
            b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: \x0bchunked",
            b"Transfer-Encoding:",
        ]
    ),
    *(
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
        for chunks in [
            b"\r\n",
            b"x\r\n",
            b"-3\r\n",
            b"+3\r\n",
            b"0x3\r\n",
            b"3_0\r\n",
            b";a\r\n",
            b"1234567890abcdef\r\n",
            b"3;a\nb\r\n",
            b"3\nabc\r\n",
            b"3;\0\r\n",
            b"3\r\nabcd\r\n",
            b"3\r\nabc\n\r",
            b"3\r\nab\r\n0\r\n\r\n",
            b"0\r\nX: a\nY: b\r\n\r\n",
            b"0\r\n\n\r\n\r\n",
            b"0\r\n\rX\r\n\r\n",
            b"0\r\nno colon\r\n\r\n",
            b"3" + b" " * 1_100 + b"\r\n",
            b" 3\r\n",
            b"\x0b3\r\n",
            b"3\x0c\r\n",
            b"3\x0b;a\r\n",
        ]
    ),
]


@pytest.mark.parametrize("raw", BAD_REQUESTS, ids=repr)
@pytest.mark.parametrize("cuts", [[1], [100_000]], ids=["one by one", "whole"])
def test_what_could_be_read_in_two_ways_is_not_read_at_all(raw: bytes, cuts: list[int]) -> None:
    with pytest.raises(FramingError):
        list(fed(Splitter(), raw, cuts))


@pytest.mark.parametrize(
    "raw",
    [
        b"220 mail.example\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1  OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/3 200 OK\r\n\r\n",
        b"HTTP/1.1 200 O\rK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
    ids=repr,
)
def test_what_is_no_answer(raw: bytes) -> None:
    with pytest.raises(FramingError):
        list(Splitter([b"GET"]).feed(raw))


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"", b"a"),
        (b"GET / HTTP/1.1\r\n", b"X: y\r\n"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"3"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    ],
)
def test_what_never_ends_is_given_up(begin: bytes, more: bytes) -> None:
    splitter, size = Splitter(), 0
    list(splitter.feed(begin))
    with contextlib.suppress(FramingError):
        while size < 200_000:
            size += len(more)
            list(splitter.feed(more))
    assert size <= 65_536 + len(more)


@pytest.mark.parametrize("kind", ["body", "chunk", "frame", "until close"])
def test_what_is_long_does_not_gather(kind: str) -> None:
    splitter = Splitter([b"GET"] * 2)
    begin = {
        "body": b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999999\r\n\r\n",
        "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffff\r\n",
        "frame": b"\x82\xff" + b"\xff" * 8 + b"mask",
        "until close": b"HTTP/1.1 200 OK\r\n\r\n",
    }[kind]
    if kind == "frame":
        splitter.become("frame")
    came = len(begin)
    went = sum(len(piece.raw) for piece in splitter.feed(begin))
    for _ in range(100):
        pieces = list(splitter.feed(bytes(10_007)))
        came += 10_007
        went += sum(len(piece.raw) for piece in pieces)
        assert all(len(piece.raw) <= 65_536 + 1_024 for piece in pieces)
        assert 0 <= came - went <= 65_536


# ------------------------------------------------------------------------------------------------------------------ heads


@settings(max_examples=50, deadline=None)
@given(HEADERS, st.sampled_from([(b"GET", b"/", b"HTTP/1.1"), (b"HTTP/1.1", b"200", b"Very OK"), (b"HTTP/1.0", b"200", b"")]))
def test_a_head_is_what_it_was(headers: list[tuple[bytes, bytes]], start: tuple[bytes, bytes, bytes]) -> None:
    head = Head(start, tuple(headers))
    assert Head.parse(head.raw) == Head(start, tuple((name, value.strip(b" \t")) for name, value in headers))


def test_heads_are_changed_into_others() -> None:
    head = Head.parse(b"GET / HTTP/1.1\r\nA: 1\r\nb: X \r\na:2\r\n\r\n")
    assert head.get(b"a") == b"1,2"
    assert head.get(b"b") == b"x"
    assert head.get(b"c") == b""
    assert head.without(b"a", b"c").headers == ((b"b", b"X"),)
    assert head.having((b"A", b"3"), (b"C", b"4")).headers == ((b"b", b"X"), (b"A", b"3"), (b"C", b"4"))
    assert head.starting(b"HEAD", *head.start[1:]).raw.startswith(b"HEAD / HTTP/1.1\r\nA: 1\r\n")
    assert head.length() is None


@pytest.mark.parametrize(
    ("raw", "closes"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nConnection: a, Close\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nConnection: closed\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\n\r\n", False),
    ],
)
def test_who_wants_the_connection_to_end(raw: bytes, closes: bool) -> None:
    assert Head.parse(raw).closes is closes


def test_a_chunk_is_a_chunk() -> None:
    assert chunk(b"0123456789abcdefg") == b"11\r\n0123456789abcdefg\r\n"
