"""Requests out of bytes: how they are read, how they are refused, and h11 as the second opinion."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import pairwise

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transports.front.requests import END, End, Head, RequestError, Requests
from transports.request import HEAD_BYTES

POLL = b"GET /live/poll?channels=a HTTP/1.1\r\nHost: x\r\n\r\n"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def request(*headers: str, line: str = "GET / HTTP/1.1", host: str | None = "Host: x", body: bytes = b"") -> bytes:
    lines = [line, *([host] if host is not None else []), *headers]
    return "".join(f"{each}\r\n" for each in [*lines, ""]).encode("latin-1") + body


def post(*headers: str, body: bytes = b"") -> bytes:
    return request(*headers, line="POST /commands HTTP/1.1", body=body)


def upgrade(*without: str, line: str = "GET /ws HTTP/1.1", **changed: str) -> bytes:
    headers = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13", "sec-websocket-key": KEY}
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    return request(*[f"{name}: {value}" for name, value in headers.items() if name not in without], line=line)


def fed(pieces: Iterable[bytes], requests: Requests | None = None) -> list[Head | bytes | End | int]:
    """All that comes of the pieces, with the bodies joined, and at the end the status of the error if there is one."""
    requests, come = requests or Requests(), []
    try:
        for piece in pieces:
            come += requests.feed(piece)
    except RequestError as error:
        come += [*error.before, error.status]
    joined: list[Head | bytes | End | int] = []
    for each in come:
        if isinstance(each, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += each
        else:
            joined.append(each)
    return joined


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def head(data: bytes) -> Head:
    """The head of the only request in `data`."""
    first, *others = fed([data])
    assert isinstance(first, Head), first
    assert not any(isinstance(each, Head | int) for each in others)
    return first


# --- what is read


def test_a_request_and_what_it_says() -> None:
    one = head(request("Accept:  text/html \t", "X-Name: J\xfcrgen", "Empty:", line="GET /a%20b?c=%2F&d HTTP/1.1"))
    assert (one.method, one.target, one.version) == ("GET", b"/a%20b?c=%2F&d", "1.1")
    assert one.headers == {"host": "x", "accept": "text/html", "x-name": "J\xfcrgen", "empty": ""}
    assert (one.keep_alive, one.upgrade, one.expect, one.body, one.length) == (True, False, False, False, 0)


def test_requests_in_one_read_come_in_order_each_with_its_end() -> None:
    sized, chunked = (
        post("Content-Length: 5", body=b"hello"),
        post("Transfer-Encoding: Chunked", body=b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
    )
    come = fed([POLL + sized + chunked + POLL])
    assert [each if not isinstance(each, Head) else each.length for each in come] == [
        *(0, END),
        *(5, b"hello", END),
        *(None, b"hello", END),
        *(0, END),
    ]


def test_many_small_chunks_are_one_piece() -> None:
    requests = Requests()
    come = requests.feed(post("Transfer-Encoding: chunked", body=b"1\r\nx\r\n" * 1000))
    assert come[1:] == [b"x" * 1000]
    assert requests.feed(b"1\r\ny\r\n" * 2 + b"0\r\n\r\n") == [b"yy", END]


def test_empty_lines_between_requests_are_passed_over() -> None:
    """RFC 9112 2.2: a client of old sends one behind a body that it did not count."""
    come = fed([post("Content-Length: 1", body=b"x") + b"\r\n" + POLL])
    assert [type(each) for each in come] == [Head, bytes, End, Head, End]


def test_chunk_extensions_and_trailers_are_dropped() -> None:
    body = b'5;a="b;c"\r\nhello\r\n00 ;x\r\nX-Sum: 7\r\nContent-Length: 3\r\n\r\n'
    assert fed([post("Transfer-Encoding: chunked", body=body) + POLL])[1:3] == [b"hello", END]


@pytest.mark.parametrize(
    ("line", "header", "keep_alive"),
    [
        ("GET / HTTP/1.1", "X: y", True),
        ("GET / HTTP/1.1", "Connection: close", False),
        ("GET / HTTP/1.1", "Connection: te, Close", False),
        ("GET / HTTP/1.1", "Connection: keep-alive\r\nConnection: close", False),
        ("GET / HTTP/1.1", "Connection: closed", True),
        ("GET / HTTP/1.0", "X: y", False),
        ("GET / HTTP/1.0", "Connection: Keep-Alive", True),
        ("GET / HTTP/1.0", "Connection: keep-alive, close", False),
    ],
)
def test_whether_the_connection_goes_on(line: str, header: str, keep_alive: bool) -> None:
    assert head(request(header, line=line)).keep_alive is keep_alive


def test_http_1_0_needs_no_host() -> None:
    assert head(request(line="GET / HTTP/1.0", host=None)).version == "1.0"


@pytest.mark.parametrize(
    ("data", "expect"),
    [
        (post("Expect: 100-Continue", "Content-Length: 5", body=b"hello"), True),
        (post("Expect: 100-continue"), False),  # nothing would follow
        (request("Expect: 100-continue", "Content-Length: 1", line="POST / HTTP/1.0", body=b"x"), False),  # RFC 9110 10.1.1
    ],
)
def test_who_waits_for_a_word_before_the_body(data: bytes, expect: bool) -> None:
    assert head(data).expect is expect


@pytest.mark.parametrize("host", ["", "x", "X.example:8000", "127.0.0.1", "[::1]:8000", "a_b-c.d~e", "%41", "x:"])
def test_hosts_as_rfc_3986_has_them(host: str) -> None:
    assert head(request(host=f"Host: {host}")).headers["host"] == host


def test_the_last_of_two_counts_and_lists_are_joined() -> None:
    one = head(request("X: 1", "X: 2", "Sec-WebSocket-Protocol: a", "sec-websocket-protocol: b, c", "Connection: x"))
    assert (one.headers["x"], one.headers["sec-websocket-protocol"], one.headers["connection"]) == ("2", "a, b, c", "x")


def test_every_target_form_is_read() -> None:
    for line in ("OPTIONS * HTTP/1.1", "GET http://x/live/poll HTTP/1.1", "GET HTTPS://x HTTP/1.1", "CONNECT x:443 HTTP/1.1"):
        assert head(request(line=line)).target.decode() == line.split()[1]


# --- upgrades, and requests for others


def test_an_upgrade_stops_the_reading_and_what_follows_is_kept() -> None:
    requests = Requests()
    come = fed([POLL + upgrade() + b"\x81\x80frame"], requests)
    assert [getattr(each, "upgrade", each) for each in come] == [False, END, True]
    assert (requests.stopped, requests.foreign, requests.rest) == (True, False, b"\x81\x80frame")
    assert (requests.feed(b" goes on"), requests.rest) == ([], b"\x81\x80frame goes on")


@pytest.mark.parametrize(
    "data",
    [
        upgrade("sec-websocket-key"),
        upgrade("sec-websocket-version"),
        upgrade("connection"),
        upgrade("upgrade"),
        upgrade(sec_websocket_key="short=="),
        upgrade(sec_websocket_version="8"),
        upgrade(sec_websocket_version="13, 8"),
        upgrade(upgrade="h2c"),
        upgrade(upgrade="xwebsocket"),
        upgrade(connection="keep-alive"),
        upgrade(line="POST /ws HTTP/1.1"),
        upgrade(line="GET /ws HTTP/1.0"),
        upgrade(content_length="1") + b"x",
    ],
)
def test_what_is_not_quite_an_upgrade_is_none(data: bytes) -> None:
    assert not head(data).upgrade


@pytest.mark.parametrize(
    "changed", [{"connection": "keep-alive, UPGRADE"}, {"upgrade": "h2c, WebSocket"}, {"content_length": "0"}]
)
def test_upgrades_as_browsers_and_proxies_write_them(changed: dict[str, str]) -> None:
    requests = Requests()
    (one,) = fed([upgrade(**changed)], requests)
    assert one.upgrade
    assert requests.stopped


@given(st.lists(st.integers(0, 1000), max_size=8))
def test_a_request_for_others_is_left_as_it_came(places: list[int]) -> None:
    foreign = request("Content-Length: 4", line="POST /page HTTP/1.1", body=b"body") + POLL
    requests = Requests(lambda head: head.target.startswith(b"/live/"))
    come = fed(cut(POLL + POLL + foreign, places), requests)
    assert [type(each) for each in come] == [Head, End, Head, End]
    assert (requests.stopped, requests.foreign, requests.rest) == (True, True, foreign)


# --- what is refused

TE = "Transfer-Encoding: chunked"
ATTACKS = [
    # which of two lengths? (RFC 9112 6.1 and 6.3)
    ("CL.TE", post("Content-Length: 6", TE, body=b"0\r\n\r\nG"), 400),
    ("TE.CL", post(TE, "Content-Length: 4", body=b"5c\r\n"), 400),
    ("CL.TE on GET", request("Content-Length: 0", TE, body=b"0\r\n\r\n"), 400),
    ("CL.CL", post("Content-Length: 0", "Content-Length: 5"), 400),
    ("the same length twice", post("Content-Length: 5", "Content-Length: 5", body=b"hello"), 400),
    ("a list of lengths", post("Content-Length: 5, 5", body=b"hello"), 400),
    *[
        (f"length {bad!r}", post(f"Content-Length: {bad}"), 400)
        for bad in ("+1", "-1", "0x1", "1_0", "1 1", "", "\xb2", "1.0", "9" * 20)
    ],
    ("TE.TE", post(TE, "Transfer-Encoding: x"), 400),
    ("chunked twice", post("Transfer-Encoding: chunked, chunked"), 501),
    *[
        (f"coding {bad!r}", post(f"Transfer-Encoding: {bad}"), 501)
        for bad in ("xchunked", "gzip, chunked", "chunked, identity", "identity", '"chunked"', "chunked;q=1", "")
    ],
    ("coding behind a vertical tab", post("Transfer-Encoding: \x0bchunked"), 400),
    ("coding on a folded line", post("Transfer-Encoding:\r\n chunked"), 400),
    ("space before the colon of a coding", post("Transfer-Encoding : chunked"), 400),
    ("coding in HTTP/1.0", request(TE, line="POST / HTTP/1.0"), 400),
    ("coding behind a bare LF", b"POST / HTTP/1.1\r\nHost: x\r\nA: b\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("coding behind a bare CR", b"POST / HTTP/1.1\r\nHost: x\r\nA: b\rTransfer-Encoding: chunked\r\n\r\n", 400),
    # chunks that end elsewhere for somebody else (RFC 9112 7.1)
    *[
        (f"chunk {bad!r}", post(TE, body=bad + b"\r\n0\r\n\r\n"), 400)
        for bad in (
            *(b"", b"x", b"-1", b"+5\r\nhello", b"0x5\r\nhello", b"5 \r\nhello", b" 5\r\nhello", b"5\nhello", b"5\r\nhell"),
            *(
                b"5\r\nhello!",
                b"5\r\nhello\n0",
                b"5\rx\r\nhello",
                b"5;a\nb\r\nhello",
                b"5;\0\r\nhello",
                b"5,a\r\nhello",
                b"5" * 17,
            ),
            *(b"5_0\r\n", "٥\r\nhello".encode()),
        )
    ],
    *[
        (f"trailer {bad!r}", post(TE, body=b"0\r\n" + bad + b"\r\n\r\n"), 400)
        for bad in (b"x", b" x: y", b"x : y", b"x: y\0", b"x: \nz")
    ],
    # where does a line end, and which lines are there? (RFC 9112 2.2, 5.1, 5.2)
    ("bare LF throughout", b"GET / HTTP/1.1\nHost: x\n\n", 400),
    ("bare LF behind the request line", b"GET / HTTP/1.1\nHost: x\r\n\r\n", 400),
    ("LF CR", b"GET / HTTP/1.1\n\rHost: x\r\n\r\n", 400),
    ("CR CR LF", b"GET / HTTP/1.1\r\nHost: x\r\r\n\r\n", 400),
    ("bare CR in a value", request("A: b\rC: d"), 400),
    ("bare LF at the end of the head", b"GET / HTTP/1.1\r\nHost: x\r\n\n", 400),
    ("folding with a space", request("A: b", " c"), 400),
    ("folding with a tab", request("A: b", "\tc: d"), 400),
    ("folding before all headers", b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    ("folded host", b"GET / HTTP/1.1\r\nHost:\r\n x\r\n\r\n", 400),
    ("NUL in a value", request("A: b\0c"), 400),
    ("NUL in a name", request("A\0: b"), 400),
    ("DEL in a value", request("A: \x7f"), 400),
    ("escape in a value", request("A: \x1b[0m"), 400),
    ("space before the colon", request("A : b"), 400),
    ("no colon", request("A"), 400),
    ("no name", request(": b"), 400),
    ("space in a name", request("A b: c"), 400),
    ("umlaut in a name", request("\xc4: b"), 400),
    ("bracket in a name", request("A[]: b"), 400),
    # which host? (RFC 9112 3.2)
    ("no host", request(host=None), 400),
    ("two hosts", request("Host: y"), 400),
    ("the same host twice", request("Host: x"), 400),
    *[
        (f"host {bad!r}", request(host=f"Host: {bad}"), 400)
        for bad in ("x/y", "u@x", "x y", "a\\b", "x?y", "[::1", "x:y", "\xe4", "x:1:2", "x#")
    ],
    ("a bad host in HTTP/1.0", request(line="GET / HTTP/1.0", host="Host: u@x"), 400),
    # who asks?
    ("two origins", request("Origin: http://a", "Origin: http://b"), 400),
    ("two keys", upgrade()[:-2] + f"Sec-WebSocket-Key: {KEY}\r\n\r\n".encode(), 400),
    ("two versions of WebSocket", upgrade()[:-2] + b"Sec-WebSocket-Version: 8\r\n\r\n", 400),
    # the request line (RFC 9112 3)
    *[
        (f"line {bad!r}", request(line=bad), 400)
        for bad in (
            *("", "GET", "GET /", "GET  / HTTP/1.1", "GET /  HTTP/1.1", " GET / HTTP/1.1", "GET / HTTP/1.1 ", "GET\t/ HTTP/1.1"),
            *("GET / http/1.1", "GET / HTTP/11", "GET / HTTP/1.10", "GET / HTTP/1,1", "G@T / HTTP/1.1", "GET /a b HTTP/1.1"),
            *(
                "GET /\xe4 HTTP/1.1",
                "GET /\x01 HTTP/1.1",
                "GET /\x7f HTTP/1.1",
                "GET /#a HTTP/1.1",
                "GET a HTTP/1.1",
                "GET * HTTP/1.1",
            ),
            *("GET ftp://x/ HTTP/1.1", "GET http:///a HTTP/1.1", "GET ?a HTTP/1.1", "A" * 21 + " / HTTP/1.1"),
        )
        if bad  # an empty line before a request is passed over
    ],
    *[(f"version {bad}", request(line=f"GET / HTTP/{bad}"), 505) for bad in ("0.9", "1.2", "2.0", "3.0", "9.9")],
    ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("a TLS handshake", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ("an unknown expectation", post("Expect: 200-ok", "Content-Length: 1"), 417),
    # too much
    ("a long target", request(line=f"GET /{'a' * 8192} HTTP/1.1"), 414),
    ("a target without end", b"GET /" + b"a" * 8300, 414),
    ("a long header", request("A: " + "b" * HEAD_BYTES), 431),
    ("headers without end", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 3000, 431),
    ("too many headers", request(*[f"A{n}: b" for n in range(100)]), 431),
    ("a long chunk extension", post(TE, body=b"5;" + b"a" * 2000), 400),
    ("many chunk extensions", post(TE, body=(b"1;" + b"a" * 900 + b"\r\nx\r\n") * 20), 400),
    ("a body that ends in a bare LF", post(TE, body=b"0\r\n\n"), 400),
    ("many trailers", post(TE, body=b"0\r\n" + b"a: b\r\n" * 5000), 400),
]


@pytest.mark.parametrize(("data", "status"), [case[1:] for case in ATTACKS], ids=[case[0][:60] for case in ATTACKS])
def test_what_is_not_plainly_right_is_refused_and_nothing_behind_it_is_served(data: bytes, status: int) -> None:
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    come = fed([POLL + data + smuggled])
    assert come[-1] == status
    assert isinstance(come[0], Head)
    assert come[1] is END
    assert [each.target for each in come[2:] if isinstance(each, Head)] in ([], [b"/commands"])
    assert END not in come[2:]
    assert fed([bytes((each,)) for each in POLL + data + smuggled])[-1] == status


def test_behind_an_error_nothing_is_read() -> None:
    requests = Requests()
    assert fed([b"\0"], requests) == [400]
    assert requests.feed(POLL) == []


@pytest.mark.parametrize("size", [HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 1])
def test_the_limit_of_a_head_is_sharp_however_it_comes(size: int) -> None:
    short = request("A: ")
    data = request("A: " + "b" * (size - len(short)))
    assert len(data) == size
    whole = fed([data])
    assert (whole == [431]) is (size > HEAD_BYTES)
    assert fed([bytes((each,)) for each in data]) == whole


@pytest.mark.parametrize("size", [8191, 8192, 8193])
def test_the_limit_of_a_request_line_is_sharp_however_it_comes(size: int) -> None:
    line = f"GET /{'a' * (size - 14)} HTTP/1.1"
    assert len(line) == size
    whole = fed([request(line=line)])
    assert (whole == [414]) is (size > 8192)
    assert fed([bytes((each,)) for each in request(line=line)]) == whole


@pytest.mark.parametrize("count", [100, 101])
def test_the_limit_of_headers_is_sharp(count: int) -> None:
    data = request(*[f"A{n}: b" for n in range(count - 1)])  # and Host
    assert (fed([data]) == [431]) is (count > 100)


def test_a_head_that_trickles_in_holds_no_more_than_the_limit() -> None:
    requests, most = Requests(), 0
    requests.feed(b"GET / HTTP/1.1\r\n")
    while not requests.stopped:
        assert fed([b"A: b\r\n"], requests) in ([], [431])
        most = max(most, len(requests.rest))
    assert HEAD_BYTES - 6 <= most <= HEAD_BYTES


def test_garbage_is_refused_before_a_head_is_whole() -> None:
    for start in (b"\0", b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\nHost: x\n", b"GET / HTTP/1.1\rH"):
        assert fed([start]) == [400]
    for start in (b"GET / HTTP/1.1\r", b"GET / HTTP/1.1\r\nHost: x\r\n\r", b"\r"):
        assert fed([start]) == []


@pytest.mark.parametrize("body", [b"1\r\nxy", b"1\r\nx\n", b"5\n", b"\n", b"0\r\n\n"])
def test_a_chunk_that_ends_elsewhere_is_refused_at_once(body: bytes) -> None:
    assert fed([post(TE, body=body)])[-1] == 400
    assert fed([post(TE), *(bytes((each,)) for each in body)])[-1] == 400


# --- however it is cut

names = st.sampled_from(["A", "x-b", "Accept", "Cookie", "Connection"])
values = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters=[chr(n) for n in range(0x7F, 0xA0)]), max_size=20
)
places = st.lists(st.integers(0, 100_000), max_size=12)


@st.composite
def sound(draw: st.DrawFn) -> bytes:
    """A request as it ought to be."""
    headers = [f"{name}: {value}" for name, value in draw(st.lists(st.tuples(names, values), max_size=4))]
    body = draw(st.binary(max_size=60))
    match draw(st.sampled_from(["none", "sized", "chunked"])):
        case "none":
            return request(*headers)
        case "sized":
            return post(*headers, f"Content-Length: {len(body)}", body=body)
    pieces = [piece for piece in cut(body, draw(places)[:4]) if piece]
    extension = draw(st.sampled_from([b"", b";a=b", b" ;c"]))
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    return post(*headers, TE, body=chunks + b"0\r\n" + draw(st.sampled_from([b"", b"Sum: 1\r\n"])) + b"\r\n")


@given(st.lists(sound(), min_size=1, max_size=4), places)
def test_any_cutting_gives_the_same_requests(sent: list[bytes], places: list[int]) -> None:
    whole = [part for one in sent for part in fed([one])]
    assert fed([b"".join(sent)]) == whole
    assert fed(cut(b"".join(sent), places)) == whole
    assert whole.count(END) == len(sent)


def test_a_buffer_that_is_used_again_for_the_next_read_changes_nothing_of_the_last() -> None:
    requests, buffer, come = Requests(), bytearray(1000), []
    for piece in cut(POLL + post("Content-Length: 40", body=b"x" * 40) + POLL, range(7, 300, 11)):
        buffer[: len(piece)] = piece
        come += requests.feed(memoryview(buffer)[: len(piece)])
        buffer[:] = b"\xff" * 1000
    assert b"".join(each for each in come if isinstance(each, bytes)) == b"x" * 40
    assert [each.target for each in come if isinstance(each, Head)] == [
        b"/live/poll?channels=a",
        b"/commands",
        b"/live/poll?channels=a",
    ]


# --- the headers that a poller sends again and again


def test_headers_that_come_again_are_not_read_again_and_others_are() -> None:
    requests = Requests()
    again = [fed([request("A: 1", line=f"GET /{n} HTTP/1.1")], requests)[0] for n in range(4)]
    other = fed([request("A: 2"), request("A: 1")], requests)
    assert [one.target for one in again] == [b"/0", b"/1", b"/2", b"/3"]
    assert again[3].headers is again[2].headers is again[1].headers
    assert [each.headers["a"] for each in other if isinstance(each, Head)] == ["2", "1"]


def test_the_same_headers_are_judged_anew_for_another_request_line() -> None:
    same = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}"]
    requests = Requests()
    come = fed(
        [request(*same, line=f"{method} / HTTP/1.{minor}") for method, minor in [("POST", 1), ("POST", 1), ("GET", 0)]], requests
    )
    assert [each.upgrade for each in come if isinstance(each, Head)] == [False, False, False]
    (last,) = fed([request(*same)], requests)
    assert last.upgrade
    requests = Requests()
    assert fed([POLL, POLL, b"GET / HTTP/1.0\r\nHost: x\r\n\r\n"], requests)[-2].keep_alive is False
    requests = Requests()
    assert (
        fed([b"GET / HTTP/1.0\r\n\r\n".replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")] * 3 + [POLL], requests)[-1]
        is END
    )
    assert fed([b"GET / HTTP/1.1\r\nConnection: keep-alive\r\n\r\n"], requests) == [400]


def test_a_connection_that_asks_once_keeps_nothing_of_it() -> None:
    requests = Requests()
    fed([request("Cookie: " + "a" * 1000)], requests)
    kept = sum(sys.getsizeof(getattr(requests, name)) for name in Requests.__slots__)
    assert kept < 400
    assert not requests.under_way


def test_whether_a_request_is_under_way() -> None:
    requests, seen = Requests(), []
    for piece in (b"PO", b"ST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n", b"a", b"b", b"\r\n"):
        requests.feed(piece)
        seen.append(requests.under_way)
    assert seen == [True, True, True, False, False]


# --- h11 as the second opinion


def by_h11(data: bytes) -> tuple[str, bytes, list[tuple[bytes, bytes]], bytes] | None:
    """What h11 reads of one request: method, target, headers, body; None, refused; what is not whole is refused too."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    got, body = None, b""
    try:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return None
            if isinstance(event, h11.Request):
                got = event
            else:
                body += bytes(event.data)
    except h11.RemoteProtocolError:
        return None
    return got.method.decode(), bytes(got.target), [(bytes(name), bytes(value)) for name, value in got.headers], body


def by_us(data: bytes) -> tuple[str, bytes, dict[str, str], bytes] | None:
    come = fed([data])
    if END not in come:
        return None
    one, *body = come[: come.index(END)]
    return one.method, one.target, one.headers, b"".join(body)


ALIKE = [
    *("A: b", "a:b", "A:  \t b c \t", "A:", "A: \xfc", "A: b\tc", "!#$%&'*+-.^_`|~09aZ: b"),  # taken
    *("A : b", ": b", "A", "A b: c", "\xc4: b", "A[]: b", "A: b\0c", "A: b\x0bc", "A: b\x0cc"),  # refused
    *(
        "Host: y",
        "Content-Length: x",
        "Content-Length: -1",
        "Content-Length: +0",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, chunked",
    ),
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
]
STRICTER = [
    *("A: b\r\n c", "A: b\r\n\tc", "A: b\nC: d"),  # RFC 9112 5.2 and 2.2 let a server unfold, and end lines at LF
    *("A: \x01", "A: \x7f", "A: \x1b"),  # it takes all but NUL and white space for text
    *("Origin: a\r\nOrigin: b", "Content-Length: 0\r\nContent-Length: 0", "Content-Length: 0, 0"),
    "Expect: 200-ok",
    "Content-Length: 0\r\nTransfer-Encoding: chunked",
]
LINES_ALIKE = [
    *(
        "GET / HTTP/1.1",
        "get / HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "BREW /tea?x=%00 HTTP/1.1",
        'GET /<>"{}|^`\\ HTTP/1.1',
        "POST / HTTP/1.1",
    ),
    *(
        "GET",
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / http/1.1",
        "G@T / HTTP/1.1",
        "GET /\xe4 HTTP/1.1",
        "GET /\x7f HTTP/1.1",
    ),
]
LINES_STRICTER = [
    *(
        "GET /#a HTTP/1.1",
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET ?x HTTP/1.1",
        "A" * 21 + " / HTTP/1.1",
        "GET / HTTP/1.2",
        "GET / HTTP/1.7",
    ),
    *("GET / HTTP/0.9", "GET / HTTP/2.0"),
]
HOSTS_STRICTER = ["Host: u@x", "Host: x/y", "Host: x y", "Host: [::1", "Host: \xe4"]


@given(
    st.sampled_from(LINES_ALIKE) | st.sampled_from(LINES_STRICTER),
    st.sampled_from(["Host: x", "Host: x", "Host:", None, *HOSTS_STRICTER]),
    st.lists(st.sampled_from(ALIKE) | st.sampled_from(STRICTER), max_size=3),
)
@example("GET / HTTP/1.1", "Host: x", [])
def test_h11_and_we_take_and_read_the_same_heads(line: str, host: str | None, headers: list[str]) -> None:
    """Deliberate differences are `STRICTER`: what it forgives there, we refuse."""
    chunked = any("chunked" in each for each in headers)
    data = request(*headers, line=line, host=host, body=b"0\r\n\r\n" if chunked else b"")
    ours, theirs = by_us(data), by_h11(data)
    if line in LINES_STRICTER or host in HOSTS_STRICTER or set(headers) & set(STRICTER):
        assert ours is None
    else:
        assert (ours is None) is (theirs is None)
        if ours is not None:
            assert ours[:2] == theirs[:2]
            assert ours[3] == theirs[3]
            assert ours[2] == {name.decode(): value.decode("latin-1") for name, value in theirs[2]}


CHUNKS_ALIKE = [
    b"1\r\nx\r\n",
    b"1;a\r\nx\r\n",
    b"0003\r\nxyz\r\n",
    b"A\r\n0123456789\r\n",
    b"-1\r\n",
    b"g\r\n",
    b"1\r\nxy\r\n",
    b"0x1\r\nx\r\n",
    b"\r\n",
]
CHUNKS_STRICTER = [b"1 \r\nx\r\n", b"1;\0\r\nx\r\n", b"1;\x01\r\nx\r\n"]
ENDS_ALIKE = [
    b"0\r\n\r\n",
    b"000\r\n\r\n",
    b"0;a\r\n\r\n",
    b"0\r\nA: b\r\n\r\n",
    b"0\r\nA b\r\n\r\n",
    b"0\r\n A: b\r\n\r\n",
    b"0\r\n",
    b"",
]


@given(st.lists(st.sampled_from(CHUNKS_ALIKE) | st.sampled_from(CHUNKS_STRICTER), max_size=4), st.sampled_from(ENDS_ALIKE))
def test_h11_and_we_take_and_read_the_same_chunks(chunks: list[bytes], end: bytes) -> None:
    """Deliberate differences are `CHUNKS_STRICTER`: white space that the RFC has no place for, and control characters."""
    data = post(TE, body=b"".join(chunks) + end)
    ours, theirs = by_us(data), by_h11(data)
    if set(chunks) & set(CHUNKS_STRICTER):
        assert ours is None
    else:
        assert (ours is None) is (theirs is None)
        assert ours is None or ours[3] == theirs[3]
