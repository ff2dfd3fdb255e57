"""Frames: the examples of RFC 6455, any pieces, and servers that break the protocol."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locustfiles.measuring.frames import BINARY, CLOSE, PING, PONG, TEXT, Frames, Message, accept_for, frame
from transports.errors import NotEverywireError


def server_frame(opcode: int, data: bytes, final: bool = True) -> bytes:
    size = len(data)
    head = (
        bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big") if size < 65_536 else b"\x7f" + size.to_bytes(8, "big")
    )
    return bytes([opcode | 0x80 * final]) + head + data


def test_the_accept_of_section_1_3():
    assert accept_for(b"dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_the_masked_frame_of_section_5_7():
    assert frame(TEXT, b"Hello", bytes.fromhex("37fa213d")) == bytes.fromhex("818537fa213d7f9f4d5158")


def test_the_unmasked_and_fragmented_frames_of_section_5_7():
    assert Frames().feed(bytes.fromhex("810548656c6c6f")) == [Message(TEXT, b"Hello")]
    assert Frames().feed(bytes.fromhex("010348656c80026c6f")) == [Message(TEXT, b"Hello")]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_every_form_of_length(size: int):
    assert Frames().feed(server_frame(BINARY, b"x" * size)) == [Message(BINARY, b"x" * size)]
    masked = frame(BINARY, b"x" * size, b"\1\2\3\4")
    assert len(masked) == len(server_frame(BINARY, b"x" * size)) + 4


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_masking_is_xor_with_the_key(data: bytes, mask: bytes):
    start = len(frame(TEXT, data, mask)) - len(data)
    assert frame(TEXT, data, mask)[start:] == bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))


def test_a_ping_may_come_between_fragments():
    data = server_frame(TEXT, b"a", final=False) + server_frame(PING, b"?") + server_frame(0, b"b")
    assert Frames().feed(data) == [Message(PING, b"?"), Message(TEXT, b"ab")]


STREAM = (
    server_frame(TEXT, b"[1]")
    + server_frame(PING, b"x")
    + server_frame(TEXT, b"y" * 200, final=False)
    + server_frame(PONG, b"")
    + server_frame(0, b"z" * 3)
    + server_frame(CLOSE, b"\x03\xe8ok")
)


@given(st.lists(st.integers(0, len(STREAM))))
def test_pieces_do_not_matter(cuts: list[int]):
    edges = sorted({0, len(STREAM), *cuts})
    frames = Frames()
    found = [message for a, b in itertools.pairwise(edges) for message in frames.feed(STREAM[a:b])]
    assert [message.opcode for message in found] == [TEXT, PING, PONG, TEXT, CLOSE]
    assert found == Frames().feed(STREAM)


@pytest.mark.parametrize(
    "data",
    [
        b"\xc1\x00",  # a reserved bit
        b"\x81\x80\0\0\0\0",  # masked
        b"\x83\x00",  # an unknown opcode
        b"\x09\x00",  # a ping in fragments
        b"\x89\x7e\x00\x80",  # a ping of 128 bytes
        b"\x80\x00",  # a fragment without a beginning
        b"\x01\x00\x81\x00",  # a message within a message
        b"\x82\x7f\x7f" + b"\xff" * 7,  # longer than anybody keeps
    ],
)
def test_breaches_are_refused(data: bytes):
    with pytest.raises(NotEverywireError):
        Frames().feed(data)
