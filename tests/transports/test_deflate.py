"""Compression of WebSocket messages against the examples of RFC 7692, what others make and read, and bombs."""

from __future__ import annotations

import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame as TheirFrame
from websockets.frames import Opcode
from wsproto.extensions import PerMessageDeflate as Wsprotos
from wsproto.frame_protocol import FrameDecoder, FrameProtocol

from transports.deflate import RSV1, SLACK, SMALL, agree, blocks, inflate, packed, packed_frame
from transports.frames import BINARY, CONTINUATION, PING, TEXT, FrameError, Frames, Packed

from .test_websocket_frames import masked

FIN = 0x80
LIMIT = 65_536
AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def deflated(data: bytes, level: int = 9) -> bytes:
    """A message as a client compresses it."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def outcome(message: bytes | bytearray) -> str | int:
    """What comes of a message from which no more than 1,000 bytes are wanted."""
    try:
        found = inflate(message, 1000)
    except FrameError as error:
        return error.code
    return "too much" if found is None else "inflated" if len(found) <= 1000 else "far too much"


# --- what is agreed on (RFC 7692 7.1, 5.1)


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate",
        "PERMESSAGE-DEFLATE",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate;client_max_window_bits = 8",
        'permessage-deflate; client_max_window_bits="10"',
        "permessage-deflate; server_no_context_takeover",
        "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_max_window_bits=15; client_max_window_bits=15",
        'permessage-deflate; server_max_window_bits="15"',
    ],
)
def test_an_offer_that_we_can_do_is_agreed_to_without_takeover(offer: str) -> None:
    assert agree([offer]) == AGREED


@pytest.mark.parametrize(
    "offer",
    [
        "",
        ";",
        "x-webkit-deflate-frame",
        "permessage-bzip2",
        "permessage-deflate; unknown",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=14",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=015",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=010",
        "permessage-deflate; client_max_window_bits=1e1",
        "permessage-deflate; client_max_window_bits=\u0661\u0660",
        "permessage-deflate; client_max_window_bits=",
        "permessage-deflate; server_no_context_takeover=true",
        "permessage-deflate; client_no_context_takeover=",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
        "permessage-deflate;",
    ],
)
def test_an_offer_that_is_wrong_or_wants_more_is_declined(offer: str) -> None:
    assert agree([offer]) is None


def test_of_several_offers_one_that_we_can_do_is_enough() -> None:
    offers = ["permessage-deflate; server_max_window_bits=10", "permessage-deflate"]
    assert agree(offers) == AGREED
    assert agree([]) is None


@given(st.text(max_size=60))
def test_whatever_is_offered_is_answered(text: str) -> None:
    assert agree([f"permessage-deflate;{text}", text]) in (None, AGREED)


# --- up


@pytest.mark.parametrize(
    "message",
    [
        "f2 48 cd c9 c9 07 00",  # 7.2.3.1: one block
        "00 05 00 fa ff 48 65 6c 6c 6f 00",  # 7.2.3.3: no compression
        "f3 48 cd c9 c9 07 00 00",  # 7.2.3.4: a final block
        "f2 48 05 00 00 00 ff ff ca c9 c9 07 00",  # 7.2.3.5: two blocks
    ],
)
def test_the_examples_of_section_7_2_3(message: str) -> None:
    assert inflate(bytes.fromhex(message), 5) == b"Hello"
    assert inflate(bytes.fromhex(message), 4) is None


def test_an_empty_message_holds_nothing() -> None:
    assert inflate(b"\x00", LIMIT) == b""


@given(st.binary(max_size=20_000), st.integers(0, 9))
def test_what_a_client_compressed_is_inflated(data: bytes, level: int) -> None:
    assert inflate(deflated(data, level), len(data)) == data
    if data:
        assert inflate(deflated(data, level), len(data) - 1) is None


def test_blocks_that_fill_exactly_what_is_allowed_are_all_read() -> None:
    data = random.Random(3).randbytes(LIMIT)
    assert len(deflated(data)) <= LIMIT + SLACK
    assert inflate(deflated(data), LIMIT) == data


@given(st.binary(max_size=300))
def test_garbage_is_inflated_or_refused_with_1007(data: bytes) -> None:
    assert outcome(data) in ("inflated", "too much", 1007)


@given(st.binary(min_size=1, max_size=3000), st.data())
def test_a_message_in_which_a_bit_is_wrong_is_inflated_or_refused(data: bytes, draw: st.DataObject) -> None:
    message = bytearray(deflated(data))
    message[draw.draw(st.integers(0, len(message) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    assert outcome(message) in ("inflated", "too much", 1007)


def bombs() -> dict[str, bytes]:
    """Messages of 65 KB that would be megabytes: of one block, of many, and one within others."""
    zeros = deflated(b"\0" * 70_000_000)
    chained = b"\x03\x00" * 32_000  # final blocks that hold nothing, one behind the other
    return {"zeros": zeros[:LIMIT], "spaces": deflated(b" " * 60_000_000)[:LIMIT], "chained": chained}


@pytest.mark.parametrize("name", ["zeros", "spaces"])
def test_a_bomb_takes_no_more_memory_than_twice_what_a_message_may_have(name: str) -> None:
    bomb = bombs()[name]
    assert len(bomb) > 50_000
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        assert inflate(bomb, LIMIT) is None
        assert tracemalloc.get_traced_memory()[1] - before < 2 * LIMIT
    finally:
        tracemalloc.stop()


def test_final_blocks_without_end_are_refused() -> None:
    with pytest.raises(FrameError, match="1007"):
        inflate(bombs()["chained"], LIMIT)


# --- down


def test_a_message_that_would_not_be_smaller_is_not_compressed() -> None:
    noise = random.Random(1).randbytes(1000)
    assert packed(noise) is None
    assert packed_frame(noise, BINARY)[0] == FIN | BINARY
    assert packed(b"a" * (SMALL - 1)) is None
    assert packed_frame(b"a" * SMALL)[0] == FIN | RSV1 | TEXT


@given(st.lists(st.text(max_size=500), max_size=5))
def test_what_we_compress_websockets_and_wsproto_read(texts: list[str]) -> None:
    """Each message by itself, as was agreed on: they throw away what they remember."""
    theirs = PerMessageDeflate(True, True, 15, 15)
    wsprotos = Wsprotos(client_no_context_takeover=True, server_no_context_takeover=True)
    wsprotos._enabled = True
    decoder = FrameDecoder(client=True, extensions=[wsprotos])
    for text in texts:
        data = text.encode() * 3
        frame = packed_frame(data)
        compressed = bool(frame[0] & RSV1)
        payload = packed(data) if compressed else data
        assert payload is not None
        assert frame.endswith(payload)
        read = theirs.decode(TheirFrame(Opcode.TEXT, payload, rsv1=compressed), max_size=10_000)
        assert read.data == data
        decoder.receive_bytes(frame)
        found = decoder.process_buffer()
        assert found is not None
        wsprotos._decompressor = None  # it is the server that agreed to forget, and it looks at the other parameter
        assert found.payload == data


@given(st.lists(st.text(min_size=1, max_size=500), max_size=5))
def test_what_websockets_and_wsproto_compress_we_read(texts: list[str]) -> None:
    theirs = PerMessageDeflate(True, True, 15, 15)
    wsprotos = Wsprotos(client_no_context_takeover=True, server_no_context_takeover=True)
    wsprotos._enabled = True
    client = FrameProtocol(client=True, extensions=[wsprotos])
    ours = Frames(LIMIT, LIMIT)
    for text in texts:
        frame = theirs.encode(TheirFrame(Opcode.TEXT, text.encode()))
        for come in (ours.feed(masked(bytes(frame.data), TEXT | RSV1)), ours.feed(client.send_data(text, True))):
            [message] = come
            assert isinstance(message, Packed)
            assert inflate(message.payload, LIMIT) == text.encode()


@given(st.lists(st.binary(max_size=2000), max_size=6))
def test_blocks_can_stand_behind_any_others(parts: list[bytes]) -> None:
    assert zlib.decompressobj(-15).decompress(b"".join(map(blocks, parts))) == b"".join(parts)


# --- frames (RFC 7692 6.1 and 6.2)


def fed(data: bytes, limit: int = 1000, most: int = 100) -> list[object]:
    frames = Frames(limit, most)
    try:
        return [*frames.feed(data)]
    except FrameError as error:
        return [*error.before, error.code]


def test_the_first_frame_says_whether_a_message_is_compressed() -> None:
    data = deflated(b"Hello" * 10)
    first, rest = data[:4], data[4:]
    whole = fed(masked(data, TEXT | RSV1))
    assert whole == fed(masked(first, first=TEXT | RSV1) + masked(b"x", PING) + masked(rest, CONTINUATION))[1:] == [(TEXT, data)]
    assert isinstance(whole[0], Packed)
    plain = fed(masked(b"Hello"))
    assert not isinstance(plain[0], Packed)


@pytest.mark.parametrize(
    "wrong",
    [
        masked(b"ab", first=TEXT | RSV1) + masked(b"cd", first=FIN | RSV1 | CONTINUATION),
        masked(b"ab", first=TEXT) + masked(b"cd", first=FIN | RSV1 | CONTINUATION),
        masked(b"ab", first=FIN | RSV1 | PING),
        masked(b"ab", first=FIN | 0x20 | TEXT),
        masked(b"ab", first=FIN | RSV1 | 0x10 | TEXT),
        masked(b"ab", first=FIN | RSV1 | 0x3),
        masked(b"ab", first=TEXT | RSV1) + masked(b"cd", first=FIN | RSV1 | TEXT),
    ],
)
def test_the_bit_elsewhere_is_an_error(wrong: bytes) -> None:
    assert fed(wrong)[-1] == 1002


def test_the_bit_is_an_error_where_nothing_was_agreed_on() -> None:
    assert fed(masked(b"ab", TEXT | RSV1), most=0) == [1002]


def test_a_compressed_message_has_a_limit_of_its_own_over_all_its_frames() -> None:
    assert fed(masked(b"a" * 101, TEXT | RSV1)) == [1009]
    assert fed(masked(b"a" * 60, first=TEXT | RSV1) + masked(b"a" * 41, CONTINUATION)) == [1009]
    assert fed(masked(b"a" * 60, first=TEXT | RSV1) + masked(b"a" * 40, CONTINUATION)) == [(TEXT, b"a" * 100)]
    assert fed(masked(b"a" * 101)) == [(TEXT, b"a" * 101)]
    assert fed(masked(b"a" * 60, first=TEXT | RSV1) + masked(b"a" * 40, CONTINUATION) + masked(b"b" * 500))[-1] == (
        TEXT,
        b"b" * 500,
    )
