from __future__ import annotations

import gzip
import random
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.networks import Behaviour, Cut, Head, Life, Piece, Stage
from transports.networks.behaviours import (
    Answer,
    AskWho,
    Away,
    CutIdle,
    CutOld,
    CutRequest,
    CutUpgraded,
    Delay,
    Forget,
    Gzip,
    Hold,
    Http10,
    Narrow,
    OneByte,
    Portal,
    StripUpgrade,
    SwallowFrames,
)
from transports.networks.pieces import Splitter, chunk

GET = Head((b"GET", b"/", b"HTTP/1.1"), ((b"Host", b"x"),))
OK = Head((b"HTTP/1.1", b"200", b"OK"), ((b"Transfer-Encoding", b"chunked"), (b"Vary", b"Origin")))


def life(**times: float) -> Life:
    return Life(**{"began": 100.0, "opened": 110.0, "moved": 120.0, "luck": 0.5, **times})


def stage(behaviour: Behaviour, down: bool = True, luck: Callable[[], float] = lambda: 0.5) -> Stage:
    made = behaviour.stage(down=down, luck=luck)
    assert made is not None
    return made


def head() -> Piece:
    return Piece("head", OK.raw, bodied=True)


def data(payload: bytes) -> Piece:
    return Piece("data", chunk(payload), payload)


END = b"0\r\n\r\n"


def fed(to: Stage, *pieces: Piece, now: float = 1.0) -> list[Piece]:
    return [out for piece in pieces for out in to.feed(piece, now)]


def raw(pieces: Iterable[Piece]) -> bytes:
    return b"".join(piece.raw for piece in pieces)


def payload(wire: bytes) -> bytes:
    """What a client reads of one answer."""
    return b"".join(piece.payload for piece in Splitter([b"GET"]).feed(wire))


def test_the_usual_is_that_everything_passes() -> None:
    usual = Behaviour()
    assert usual.admits(life())
    assert usual.request(GET) is GET
    assert usual.stage(down=True, luck=lambda: 0.5) is None
    assert usual.cut(life()) is None
    piece = head()
    assert list(Stage().feed(piece, 1.0)) == [piece]
    assert (list(Stage().release()), Stage().held, Stage().needed) == ([], 0, False)


@pytest.mark.parametrize("behaviour", [Hold(), Gzip(), Http10()], ids=repr)
def test_what_is_done_to_answers_is_not_done_to_requests(behaviour: Behaviour) -> None:
    assert behaviour.stage(down=False, luck=lambda: 0.5) is None


# ------------------------------------------------------------------------------------------------------------- upgrades


def test_what_is_for_the_next_hop_is_taken_out() -> None:
    hop = [(name, b"x") for name in (b"Connection", b"UPGRADE", b"keep-alive", b"Proxy-Connection")]
    kept = ((b"Host", b"x"), (b"Sec-WebSocket-Key", b"k"))
    assert StripUpgrade().request(Head(GET.start, (*hop, *kept))) == Head(GET.start, kept)


@pytest.mark.parametrize("down", [True, False])
def test_frames_are_swallowed_and_nothing_else(down: bool) -> None:
    pieces = [Piece(kind, b"x") for kind in ("head", "data", "end", "frame", "bytes")]
    out = fed(stage(SwallowFrames(), down), *pieces)
    assert out == pieces
    assert [piece.kind for piece in out if piece.lost] == ["frame"]


def test_an_upgrade_is_cut_some_time_after_it() -> None:
    assert CutUpgraded(0.2).cut(life()) is None
    assert CutUpgraded(0.2).cut(life(upgraded=200.0)) == Cut(200.2, "reset")


# ------------------------------------------------------------------------------------------------------ bodies held back


BODY = st.lists(st.binary(min_size=1, max_size=30), max_size=8)


@settings(max_examples=50, deadline=None)
@given(BODY, st.integers(1, 90))
def test_a_body_is_held_until_there_is_enough_and_not_a_byte_longer(payloads: list[bytes], most: int) -> None:
    hold, passed, gathered = stage(Hold(most)), b"", 0
    assert raw(fed(hold, head())) == OK.raw
    for each in payloads:
        out = raw(fed(hold, data(each)))
        passed, gathered = passed + out, gathered + len(each)
        assert bool(out) == (gathered >= most)
        gathered = 0 if out else gathered
        assert hold.held == gathered
    passed += raw(fed(hold, Piece("end", END)))
    assert passed == b"".join(map(chunk, payloads)) + END
    assert hold.held == 0
    assert not hold.needed


@settings(max_examples=50, deadline=None)
@given(BODY, BODY)
def test_what_was_held_is_released_in_order_and_nothing_is_held_afterwards(before: list[bytes], after: list[bytes]) -> None:
    hold = stage(Hold())
    assert raw(fed(hold, head(), *map(data, before))) == OK.raw
    assert raw(hold.release()) == b"".join(map(chunk, before))
    assert [raw(fed(hold, data(each))) for each in after] == [chunk(each) for each in after]


def test_what_is_no_body_is_not_held_and_overtakes_nothing() -> None:
    hold = stage(Hold())
    fed(hold, head(), data(b"abc"))
    assert raw(fed(hold, Piece("bytes", b"rest"))) == chunk(b"abc") + b"rest"
    assert raw(fed(hold, Piece("frame", b"frame"))) == b"frame"


def test_nobody_holds_more_than_there_is_room_for() -> None:
    hold, part = stage(Hold(1 << 40)), bytes(65_536)
    sizes = [len(fed(hold, Piece("data", part, part))) for _ in range(256)]
    assert [n + 1 for n, size in enumerate(sizes) if size] == [128, 256]
    sizes = [len(fed(hold, Piece("data", b"a", b"a"))) for _ in range(40_000)]
    assert [n + 1 for n, size in enumerate(sizes) if size] == [20_000, 40_000], "many small ones cost more than their bytes"


def test_a_body_in_gzip_says_so_and_is_held() -> None:
    packing = stage(Gzip())
    assert Gzip().request(GET) is GET
    begun = fed(packing, head())
    assert (begun[0].bodied, begun[0].kind) == (True, "head")
    assert Head.parse(begun[0].raw).headers == (
        (b"Vary", b"Origin"),
        (b"Content-Encoding", b"gzip"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Vary", b"Accept-Encoding"),
    )
    assert fed(packing, *(data(b"event %d" % n) for n in range(100))) == []
    wire = raw(begun) + raw(fed(packing, Piece("end", END)))
    assert gzip.decompress(payload(wire)) == b"".join(b"event %d" % n for n in range(100))
    assert not packing.needed


def test_gzip_passes_when_8_kib_have_gathered() -> None:
    packing, noise = stage(Gzip()), random.Random(1)
    fed(packing, head())
    sizes = [len(raw(fed(packing, data(noise.randbytes(500))))) for _ in range(200)]
    assert all(size == 0 or size >= 8_192 for size in sizes)
    assert 6 <= sum(map(bool, sizes)) <= 12


@settings(max_examples=50, deadline=None)
@given(BODY, BODY)
def test_gzip_holds_nothing_after_its_release_and_is_needed_until_the_end(before: list[bytes], after: list[bytes]) -> None:
    packing, unpacking = stage(Gzip()), zlib.decompressobj(wbits=31)
    wire = raw(fed(packing, head(), *map(data, before))) + raw(packing.release())
    assert unpacking.decompress(payload(wire)) == b"".join(before)
    assert packing.needed
    for each in after:
        assert unpacking.decompress(payload(OK.raw + raw(fed(packing, data(each))))) == each
    fed(packing, Piece("end", END))
    assert not packing.needed
    assert raw(packing.release()) == b""


@pytest.mark.parametrize(
    "answer",
    [
        Piece("head", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
        Piece("head", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        Piece("head", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),  # to a HEAD
        Piece("head", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Encoding: br\r\n\r\n", bodied=True),
    ],
    ids=repr,
)
def test_what_has_no_body_or_is_packed_already_stays_as_it_is(answer: Piece) -> None:
    packing, was = stage(Gzip()), answer.raw
    assert raw(fed(packing, answer, Piece("data", b"x", b"x"), Piece("end", b""))) == was + b"x"
    assert not packing.needed


def test_gzip_of_an_answer_that_ended_with_its_connection_or_was_cut_off() -> None:
    packing = stage(Gzip())
    out = fed(packing, Piece("head", b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n", bodied=True))
    assert out[0].raw.startswith(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n")
    out += fed(packing, Piece("data", b"abc", b"abc"), Piece("bytes", b"5\r\nab"))
    assert zlib.decompressobj(wbits=31).decompress(payload(raw(out))) == b"abc"
    assert packing.needed, "it has no end"


# ----------------------------------------------------------------------------------------------------------------- time


def test_a_delay_is_half_of_a_round_trip_and_jitter_is_added() -> None:
    assert fed(stage(Delay(0.2)), Piece("data", b"x"), now=7.0)[0].due == pytest.approx(7.1)
    lucky = iter([0.0, 1.0])
    jitter = stage(Delay(0.2, 3.0), luck=lambda: next(lucky))
    assert [piece.due for piece in fed(jitter, Piece("data", b"x"), Piece("end", b""), now=7.0)] == pytest.approx([7.1, 10.1])


def test_delays_add_up() -> None:
    (once,) = fed(stage(Delay(0.2)), Piece("data", b"x"), now=7.0)
    assert fed(stage(Delay(1.0)), once, now=7.0)[0].due == pytest.approx(7.6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5_000), st.floats(0, 3)), max_size=8), st.integers(100, 1_000_000))
def test_a_narrow_line_carries_its_rate_and_not_a_byte_more(sent: list[tuple[int, float]], rate: int) -> None:
    line, now, free = stage(Narrow(rate)), 10.0, 0.0
    for size, later in sent:
        now += later
        out = fed(line, Piece("data", bytes(size), b"unused"), now=now)
        free = max(now, free) + size / rate
        assert sum(len(piece.raw) for piece in out) == size
        assert out[-1].due == pytest.approx(free)
        assert all(len(piece.raw) <= max(1, min(1_400, rate / 20)) for piece in out), "it trickles"
        assert [piece.due for piece in out] == sorted(piece.due for piece in out)


def test_a_head_stays_whole_on_a_narrow_line_and_an_empty_piece_exists() -> None:
    line = stage(Narrow(100))
    out = fed(line, Piece("head", OK.raw, was=b"w", bodied=True), Piece("end", b""))
    assert [(piece.kind, piece.was, piece.bodied) for piece in out] == [("head", b"w", True), ("end", b"", False)]


def test_bytes_are_sent_one_by_one() -> None:
    assert [piece.singly for piece in fed(stage(OneByte()), head(), Piece("end", b""))] == [True, True]
    assert OneByte().late
    assert Delay().late
    assert not Hold().late


# ------------------------------------------------------------------------------------------------------- ends and absence


def test_when_connections_are_cut() -> None:
    assert CutIdle(5).cut(life()) == Cut(125.0, "close")
    assert CutRequest(10).cut(life()) is None
    assert CutRequest(10).cut(life(asked=130.0)) == Cut(140.0, "close")
    assert CutOld(7).cut(life()) == Cut(117.0, "reset")


def test_what_is_there_is_forgotten_once() -> None:
    assert Forget(8).cut(life(opened=107.9)) == Cut(108.0, "forget")
    assert Forget(8).cut(life(opened=108.0)) is None
    assert Forget(8).admits(life(opened=108.0))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 50), st.integers(1, 5), st.integers(6, 20), st.integers(0, 200))
def test_who_is_away_admits_nobody_and_resets_what_is_open(after: int, lasts: int, every: int, opened: int) -> None:
    away = Away(after, lasts, every)
    begins = [100 + after + n * every for n in range(60)]
    now = 100 + opened
    assert away.admits(life(opened=now)) == (not any(begin <= now < begin + lasts for begin in begins))
    assert away.cut(life(opened=now)) == Cut(min(begin for begin in begins if begin >= now), "reset")


def test_who_was_away_once_is_there_for_a_day() -> None:
    away = Away(5, 3)
    assert [away.admits(life(opened=100.0 + t)) for t in (4.9, 5, 7.9, 8, 80_000)] == [True, False, False, True, True]
    assert away.cut(life(opened=100.0)).at == 105.0
    assert away.cut(life(opened=108.0)).at > 86_000


# ------------------------------------------------------------------------------------------------------ other answers


def test_an_answer_on_the_wire() -> None:
    answer = Answer(200, "OK", ((b"A", b"b"),), b"abc")
    whole = b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 3\r\n\r\nabc"
    assert raw(answer.pieces()) == whole
    assert [(piece.kind, piece.payload, piece.bodied) for piece in answer.pieces()] == [
        *(("head", b"", True), ("data", b"abc", False), ("end", b"", False))
    ]
    assert raw(answer.pieces(b"HEAD")) == whole[:-3]
    assert [piece.bodied for piece in answer.pieces(b"HEAD")] == [False, False]
    assert not Answer(302, "Found", (), b"").pieces()[0].bodied


def test_portals() -> None:
    page = Portal().request(GET)
    assert (page.status, b"log in" in page.body, page.headers) == (200, True, ((b"Content-Type", b"text/html"),))
    away = Portal("http://login.invalid/").request(GET)
    assert (away.status, away.body, away.headers[0]) == (302, b"", (b"Location", b"http://login.invalid/"))


@pytest.mark.parametrize(
    ("shown", "known"),
    [
        (b"Basic " + b64encode(b"user:secret"), True),
        (b"basic  " + b64encode(b"user:secret"), True),
        (b"Basic " + b64encode(b"user:Secret"), False),
        (b"Basic " + b64encode(b"user:secret").lower(), False),
        (b"Bearer " + b64encode(b"user:secret"), False),
        (b"Basic", False),
        (b"", False),
    ],
)
def test_who_is_asked_for_user_and_password(shown: bytes, known: bool) -> None:
    became = AskWho().request(GET.having((b"Proxy-Authorization", shown)))
    if known:
        assert became == GET, "it goes no further"
    else:
        assert isinstance(became, Answer)
        assert became.status == 407
        assert became.headers[0] == (b"Proxy-Authenticate", b'Basic realm="company"')
    assert "secret" not in repr(AskWho())


def test_http_1_0_to_the_server() -> None:
    became = Http10().request(GET.having((b"Connection", b"keep-alive"), (b"Expect", b"100-continue"), (b"Content-Length", b"3")))
    assert became == Head((b"GET", b"/", b"HTTP/1.0"), ((b"Host", b"x"), (b"Content-Length", b"3")))
    refused = Http10().request(GET.having((b"Transfer-Encoding", b"chunked")))
    assert isinstance(refused, Answer)
    assert refused.status == 411


@settings(max_examples=50, deadline=None)
@given(BODY)
def test_http_1_0_to_the_client(payloads: list[bytes]) -> None:
    old = stage(Http10())
    assert fed(old, Piece("head", b"HTTP/1.1 100 Continue\r\n\r\n")) == []
    wire = raw(fed(old, head()))
    assert wire == b"HTTP/1.0 200 OK\r\nVary: Origin\r\nConnection: close\r\n\r\n"
    assert old.needed
    assert raw(fed(old, *map(data, payloads), Piece("end", END))) == b"".join(payloads)
    assert not old.needed


def test_http_1_0_leaves_lengths_alone() -> None:
    old = stage(Http10())
    pieces = [
        Piece("head", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nKeep-Alive: 5\r\n\r\n", bodied=True),
        Piece("data", b"abc", b"abc"),
    ]
    assert raw(fed(old, *pieces, Piece("end", b""))) == b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"
    assert not old.needed
