"""The framing of RFC 6455 against its own examples, against every rule, and against wsproto in both directions."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from transports.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    FrameError,
    Frames,
    accept,
    check_key,
    close,
    frame,
    parse_close,
)

FIN, MASK = 0x80, b"\x37\xfa\x21\x3d"
LIMIT = 300_000


def masked(payload: bytes, opcode: int = TEXT, *, first: int | None = None, mask: bytes = MASK, written: int = 0) -> bytes:
    """A frame as a client sends it, byte by byte as section 5.2 draws it; `written`: bytes of the extended length."""
    size = len(payload)
    written = written or (0 if size < 126 else 2 if size < 65_536 else 8)
    short = {0: size, 2: 126, 8: 127}[written]
    head = bytes((FIN | opcode if first is None else first, 0x80 | short)) + (size.to_bytes(written, "big") if written else b"")
    return head + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))


def fed(pieces: Iterable[bytes], limit: int = LIMIT) -> list[Frame | int]:
    """All that comes of the pieces, and at the end the code of the error if there is one."""
    frames, come = Frames(limit), []
    try:
        for piece in pieces:
            come += frames.feed(piece)
    except FrameError as error:
        return [*come, *error.before, error.code]
    return come


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


# --- the examples of the RFC


@pytest.mark.parametrize(
    ("hexadecimal", "come"),
    [
        ("81 85 37 fa 21 3d 7f 9f 4d 51 58", [(TEXT, b"Hello")]),
        ("89 85 37 fa 21 3d 7f 9f 4d 51 58", [(PING, b"Hello")]),
        ("8a 85 37 fa 21 3d 7f 9f 4d 51 58", [(PONG, b"Hello")]),
        ("01 83 00 00 00 00 48 65 6c 80 82 00 00 00 00 6c 6f", [(TEXT, b"Hello")]),
    ],
)
def test_section_5_7_up(hexadecimal: str, come: list[Frame]) -> None:
    assert fed([bytes.fromhex(hexadecimal)]) == come


@pytest.mark.parametrize(
    ("payload", "opcode", "head"),
    [
        (b"Hello", TEXT, "81 05"),
        (b"Hello", PING, "89 05"),
        (b"x" * 125, BINARY, "82 7d"),
        (b"x" * 126, BINARY, "82 7e 00 7e"),
        (b"x" * 256, BINARY, "82 7e 01 00"),
        (b"x" * 65_535, BINARY, "82 7e ff ff"),
        (b"x" * 65_536, BINARY, "82 7f 00 00 00 00 00 01 00 00"),
    ],
)
def test_section_5_7_down(payload: bytes, opcode: int, head: str) -> None:
    assert frame(payload, opcode) == bytes.fromhex(head) + payload


def test_section_1_3() -> None:
    assert accept("dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("key", "good"),
    [
        ("dGhlIHNhbXBsZSBub25jZQ==", True),
        ("AAAAAAAAAAAAAAAAAAAAAA==", True),
        ("", False),
        ("dGhlIHNhbXBsZSBub25j", False),  # 15 bytes
        ("dGhlIHNhbXBsZSBub25jZXM=", False),  # 17 bytes
        ("dGhlIHNhbXBsZSBub25jZQ", False),
        ("dGhlIHNhbXBsZSBub25jZ_==", False),
        ("dGhlIHNhbXBsZSBub25jZQ==\n", False),
        ("dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==", False),
    ],
)
def test_a_key_is_sixteen_bytes_in_base64(key: str, good: bool) -> None:
    assert check_key(key) is good


# --- what is refused

REFUSED = [
    ("not masked", frame(b"x"), 1002),
    ("not masked, a ping", frame(b"", PING), 1002),
    *[(f"reserved bit {bit:#x}", masked(b"x", first=FIN | bit | TEXT), 1002) for bit in (0x40, 0x20, 0x10)],
    ("reserved bit in a ping", masked(b"", first=FIN | 0x40 | PING), 1002),
    *[(f"opcode {opcode:#x}", masked(b"", opcode), 1002) for opcode in (0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF)],
    *[(f"fragmented control {opcode:#x}", masked(b"", first=opcode), 1002) for opcode in (CLOSE, PING, PONG)],
    *[(f"long control {opcode:#x}", masked(b"x" * 126, opcode), 1002) for opcode in (CLOSE, PING, PONG)],
    ("nothing to continue", masked(b"x", CONTINUATION), 1002),
    ("nothing to continue, more to come", masked(b"x", first=CONTINUATION), 1002),
    ("a message within another", masked(b"x", first=TEXT) + masked(b"x"), 1002),
    ("a length of 125 in two bytes", masked(b"x" * 125, written=2), 1002),
    ("a length of 65,535 in eight bytes", masked(b"x" * 65_535, written=8), 1002),
    ("a length below zero", bytes((FIN | TEXT, 0xFF)) + (1 << 63).to_bytes(8, "big"), 1002),
    ("half a close code", masked(b"\x03", CLOSE), 1002),
    *[
        (f"close code {code}", masked(code.to_bytes(2, "big"), CLOSE), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535)
    ],
    ("a close reason that is no UTF-8", masked(b"\x03\xe8\xff", CLOSE), 1007),
    ("a text that is no UTF-8", masked(b"\xc3"), 1007),
    ("a surrogate", masked(b"\xed\xa0\x80"), 1007),
    ("a text that is no UTF-8 as a whole", masked(b"\xc3", first=TEXT) + masked(b"\xc3", 0), 1007),
    ("a message over the limit", bytes((FIN | TEXT, 0xFF)) + (LIMIT + 1).to_bytes(8, "big"), 1009),
    ("fragments over the limit", masked(b"x" * LIMIT, first=TEXT) + bytes((FIN, 0x81)), 1009),
]


@pytest.mark.parametrize(("data", "code"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_breaks_the_rules_ends_with_its_code_in_one_piece_or_byte_by_byte(data: bytes, code: int) -> None:
    whole = fed([masked(b"before") + data + masked(b"behind")])
    assert whole == [(TEXT, b"before"), code]
    assert fed([masked(b"before"), *cut(data, range(min(len(data), 200)))]) == whole


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (FIN | 0x40 | TEXT, "reserved bit"),
        (PING, "in fragments"),
        (CONTINUATION, "nothing to continue"),
        (FIN | 0x3, "opcode 0x3"),
    ],
)
def test_the_reason_says_what_was_wrong(first: int, reason: str) -> None:
    with pytest.raises(FrameError, match=reason):
        Frames(LIMIT).feed(masked(b"", first=first))


def test_all_that_is_known_by_the_first_byte_pair_is_refused_by_it() -> None:
    """The two bytes alone decide; what would be allowed waits for more."""
    for first in range(256):
        for second in range(256):
            allowed = first in (0x01, 0x02, 0x81, 0x82) or (first in (0x88, 0x89, 0x8A) and second & 0x7F < 126)
            assert fed([bytes((first, second))]) == ([] if allowed and second & 0x80 else [1002])


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4503, 4999])
def test_a_close_code_that_may_be_sent_is_taken(code: int) -> None:
    payload = code.to_bytes(2, "big") + "schön".encode()
    assert fed([masked(payload, CLOSE)]) == [(CLOSE, payload)]
    assert parse_close(payload) == (code, "schön")


def test_a_close_frame_may_be_empty() -> None:
    assert fed([masked(b"", CLOSE)]) == [(CLOSE, b"")]
    assert parse_close(b"") == (1005, "")


def test_behind_a_close_frame_nothing_is_read() -> None:
    frames = Frames(LIMIT)
    assert frames.feed(masked(b"", CLOSE) + masked(b"late") + b"\xff\xff") == [(CLOSE, b"")]
    assert frames.feed(masked(b"later")) == []


def test_behind_an_error_nothing_is_read() -> None:
    frames = Frames(LIMIT)
    with pytest.raises(FrameError):
        frames.feed(b"\xff\xff")
    assert frames.feed(masked(b"late")) == []


def test_control_frames_come_between_fragments() -> None:
    data = masked(b"a", first=BINARY) + masked(b"p", PING) + masked(b"", first=CONTINUATION) + masked(b"b", CONTINUATION)
    assert fed([data + masked(b"c")]) == [(PING, b"p"), (BINARY, b"ab"), (TEXT, b"c")]


def test_a_message_is_continued_up_to_its_end_and_no_further() -> None:
    data = masked(b"a", first=TEXT) + masked(b"b", CONTINUATION)
    assert fed([data + masked(b"c", CONTINUATION)]) == [(TEXT, b"ab"), 1002]


def test_the_limit_itself_is_allowed_and_control_frames_do_not_count() -> None:
    data = masked(b"x" * 60, first=TEXT) + masked(b"p" * 125, PING) + masked(b"x" * 40, CONTINUATION)
    assert fed([data], limit=100) == [(PING, b"p" * 125), (TEXT, b"x" * 100)]
    assert fed([masked(b"x" * 100)], limit=100) == [(TEXT, b"x" * 100)]
    assert fed([masked(b"x" * 101)], limit=100) == [1009]


def test_a_buffer_that_is_used_again_for_the_next_read_changes_nothing_of_the_last() -> None:
    frames, buffer = Frames(LIMIT), bytearray(1000)
    come = []
    for piece in cut(masked(b"first") + masked(b"second", BINARY) + masked(b"third" * 50), range(3, 200, 7)):
        buffer[: len(piece)] = piece
        come += frames.feed(memoryview(buffer)[: len(piece)])
        buffer[:] = b"\xff" * 1000
    assert come == [(TEXT, b"first"), (BINARY, b"second"), (TEXT, b"third" * 50)]
    assert all(type(each.payload) is bytes for each in come)


def test_nothing_is_kept_where_nothing_is_pending() -> None:
    frames = Frames(LIMIT)
    new = [getattr(frames, name) for name in Frames.__slots__]
    for piece in cut(masked(b"a", first=TEXT) + masked(b"x" * 1000, CONTINUATION) + masked(b"b", PING), [3, 9, 500]):
        frames.feed(piece)
    kept = [getattr(frames, name) for name in Frames.__slots__ if name != "_opcode"]
    assert kept == [value for name, value in zip(Frames.__slots__, new, strict=True) if name != "_opcode"]
    assert sys.getsizeof(frames) <= 80


def test_empty_fragments_without_end_fill_no_memory() -> None:
    frames = Frames(100)
    assert frames.feed(masked(b"x", first=TEXT)) == []
    many = masked(b"", first=CONTINUATION) * 10_000
    assert frames.feed(many) == []
    kept = sum(sys.getsizeof(getattr(frames, name)) for name in ("_message", "_rest"))
    assert kept < 200
    assert frames.feed(masked(b"y", CONTINUATION)) == [(TEXT, b"xy")]


@pytest.mark.parametrize("character", ["x", "ä", "€", "🎈"])
def test_a_long_reason_is_cut_before_the_character_that_does_not_fit(character: str) -> None:
    sent = close(4503, "." + character * 123)
    assert len(sent) <= 2 + 125
    code, reason = parse_close(sent[2:])
    assert (code, reason) == (4503, "." + character * (122 // len(character.encode())))


# --- against wsproto

payloads = st.binary(max_size=300) | st.sampled_from([b"x" * 65_535, b"y" * 65_536, b"\0" * 200_000])
texts = st.text(max_size=100).map(str.encode)
places = st.lists(st.integers(0, 1 << 20), max_size=12)
masks = st.binary(min_size=4, max_size=4)


@st.composite
def messages(draw: st.DrawFn) -> tuple[list[tuple[int, bytes]], list[bytes]]:
    """What is meant, in the order in which it is complete, and the frames that wsproto makes of it."""
    client = FrameProtocol(client=True, extensions=[])
    meant, sent = [], []
    for _ in range(draw(st.integers(1, 5))):
        opcode = draw(st.sampled_from([TEXT, BINARY]))
        payload = draw(texts if opcode == TEXT else payloads)
        pieces = cut(payload, draw(places)[:4]) if opcode == BINARY else [payload]  # it wants whole characters
        for n, piece in enumerate(pieces):
            if draw(st.booleans()):
                ping = draw(st.binary(max_size=125))
                sent.append(bytes(client.ping(ping)))
                meant.append((PING, ping))
            data = piece.decode() if opcode == TEXT else piece
            sent.append(bytes(client.send_data(data, fin=n == len(pieces) - 1)))
        meant.append((opcode, payload))
    return meant, sent


@given(messages(), places)
def test_what_wsproto_sends_is_read_however_it_is_cut(made: tuple, places: list[int]) -> None:
    meant, sent = made
    assert fed(cut(b"".join(sent), places)) == meant


@given(st.lists(st.tuples(st.sampled_from([TEXT, BINARY, PING, PONG]), texts), max_size=6), st.integers(3000, 4999), st.text())
def test_wsproto_reads_what_is_sent(items: list[tuple[int, bytes]], code: int, reason: str) -> None:
    items = [(opcode, payload[:125] if opcode in (PING, PONG) else payload) for opcode, payload in items]
    client = FrameProtocol(client=True, extensions=[])
    client.receive_bytes(b"".join(frame(payload, opcode) for opcode, payload in items) + close(code, reason))
    *come, end = client.received_frames()
    assert [
        (each.opcode, each.payload.encode() if each.opcode == TEXT else bytes(each.payload))
        for each in come
        if each.message_finished
    ] == items
    assert end.opcode == Opcode.CLOSE
    assert reason.startswith(end.payload[1])
    assert end.payload[0] == code


@pytest.mark.parametrize("size", [125, 126, 65_535, 65_536, 200_000])
def test_wsproto_reads_frames_of_every_length(size: int) -> None:
    client = FrameProtocol(client=True, extensions=[])
    client.receive_bytes(frame(b"x" * size, BINARY))
    assert b"".join(bytes(each.payload) for each in client.received_frames()) == b"x" * size


def by_wsproto(data: bytes) -> list[tuple[int, bytes] | int]:
    """What wsproto reads, as `fed` would tell it."""
    server, come, parts = FrameProtocol(client=False, extensions=[]), [], []
    server.receive_bytes(data)
    try:
        for each in server.received_frames():
            if each.opcode == Opcode.CLOSE:
                code, reason = each.payload
                come.append((CLOSE, b"" if code == 1005 else int(code).to_bytes(2, "big") + reason.encode()))
            elif each.opcode in (Opcode.PING, Opcode.PONG):
                come.append((int(each.opcode), bytes(each.payload)))
            else:
                parts.append(each.payload.encode() if isinstance(each.payload, str) else bytes(each.payload))
                if each.message_finished:
                    come.append((int(each.opcode), b"".join(parts)))
                    parts = []
    except ParseFailed as error:
        come.append(int(error.code))
    return come


firsts = st.sampled_from([TEXT, BINARY, CONTINUATION, *(FIN | n for n in (0, 1, 2, 8, 9, 10))]) | st.integers(0, 255)
odd = st.sampled_from([b"", b"a", "ä".encode(), b"\xc3", b"\xa4", b"\x03\xe8", b"\x03\xf0", b"\x03", b"z" * 125, b"z" * 126])


@st.composite
def anything(draw: st.DrawFn) -> bytes:
    """Whole frames, of which some break some rule."""
    out = []
    for _ in range(draw(st.integers(1, 6))):
        payload = draw(odd)
        data = masked(payload, first=draw(firsts), mask=draw(masks), written=draw(st.sampled_from([0, 0, 0, 2, 8])))
        if not draw(st.integers(0, 9)):
            data = bytes((data[0], data[1] & 0x7F)) + data[2:]
        out.append(data)
    return b"".join(out)


@given(anything(), places)
def test_wsproto_and_we_refuse_and_read_the_same(data: bytes, places: list[int]) -> None:
    """Deliberate differences: it looks for bad UTF-8 in each fragment, we in the whole message; and we know the close code
    1014, which IANA has since registered.
    """
    ours, theirs = fed(cut(data, places)), by_wsproto(data)
    if theirs[-1:] == [1007] and ours != theirs:  # it was sooner: what came before is the same, and what comes later is bad
        assert ours[: len(theirs) - 1] == theirs[:-1]
        assert all(not isinstance(each, tuple) or each[0] in (CLOSE, PING, PONG) for each in ours[len(theirs) - 1 :])
    else:
        assert ours == theirs
