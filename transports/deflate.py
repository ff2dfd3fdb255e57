"""Deflate: compression of WebSocket messages (permessage-deflate, RFC 7692), so that a batch is compressed once for all readers.

Each message stands for itself, both ways: no side remembers earlier ones ("no context takeover"). What went to one reader is then
right for every other, whenever it came, and a connection that is silent holds neither a window nor a compressor.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Final

from .frames import BAD_TEXT, TEXT, FrameError, frame

RSV1: Final = 0x40  # in the first byte of a frame: a compressed message begins (RFC 7692 6)
SMALL: Final = 100  # bytes of a message that is not compressed: it would hardly be smaller
SLACK: Final = 1024  # bytes by which what was compressed may be longer than what it holds

_NAME: Final = "permessage-deflate"
_AGREED: Final = f"{_NAME}; server_no_context_takeover; client_no_context_takeover"
_LEVEL: Final = 1  # of zlib: level 6 takes up to five times the CPU for a tenth fewer bytes
_WINDOW: Final = 15  # bits, which every client reads unless it says otherwise
_TAIL: Final = b"\x00\x00\xff\xff"  # the end of a sync flush, which does not travel (7.2.1)
_ENDINGS: Final = 16  # final blocks in one message: nobody needs two, and each costs a new inflater
_PIECE: Final = 4096  # bytes that go in and come out at once, so that nothing is in memory twice
_BITS: Final = re.compile(r'"?(8|9|1[0-5])"?', re.ASCII)  # 7.1.2: no leading zeros; a token may be quoted


def agree(offers: Sequence[str]) -> str | None:
    """What to answer to the offers of `Sec-WebSocket-Extensions`, in their order; None: no compression.

    An offer that says something unknown, wrong or twice, or that wants a smaller window from us, is declined (7.1).
    """
    return _AGREED if any(_acceptable(offer) for offer in offers) else None


def _acceptable(offer: str) -> bool:
    name, *parameters = [part.strip(" \t") for part in offer.split(";")]
    said = dict([_parameter(each) for each in parameters])
    return name.lower() == _NAME and len(said) == len(parameters) and all(_bearable(*each) for each in said.items())


def _parameter(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    return name.rstrip(" \t").lower(), value.lstrip(" \t") if equals else None


def _bearable(name: str, value: str | None) -> bool:
    """Whether we can do what a parameter of an offer asks for (7.1.1, 7.1.2)."""
    match name:
        case "server_no_context_takeover" | "client_no_context_takeover":
            return value is None
        case "client_max_window_bits":  # ours to inflate, and any window will do
            return value is None or _BITS.fullmatch(value) is not None
        case "server_max_window_bits":  # one framing is for all, and its window the largest
            return value is not None and value.strip('"') == str(_WINDOW)
    return False


def blocks(data: bytes) -> bytes:
    """`data` as blocks of a deflate stream that end at a byte: they can stand behind any others (RFC 1951, 3.2.4)."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -_WINDOW)
    return compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)


def packed(payload: bytes) -> bytes | None:
    """A message as it travels compressed (RFC 7692 7.2.1); None, if it would not be smaller."""
    if len(payload) < SMALL:
        return None
    body = blocks(payload)[: -len(_TAIL)]
    return body if len(body) < len(payload) else None


def packed_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One final frame, compressed if that makes it smaller (RFC 7692 6.1)."""
    body = packed(payload)
    return frame(payload, opcode) if body is None else frame(body, RSV1 | opcode)


def inflate(data: bytes | bytearray, most: int) -> bytes | None:
    """What a compressed message holds (RFC 7692 7.2.2); None: more than `most` bytes, of which no more were made.

    Raises:
        FrameError: 1007, it is no deflate.
    """
    parts: list[bytes] = []
    size = endings = 0
    inflater = zlib.decompressobj(-_WINDOW)
    try:
        for piece in _pieces(data):
            left: bytes | memoryview = piece
            while True:
                part = inflater.decompress(left, _PIECE)
                parts.append(part)
                size += len(part)
                if size > most:
                    return None
                if inflater.eof:  # a final block (7.2.3.4); what is behind it begins anew
                    left, inflater, endings = inflater.unused_data, zlib.decompressobj(-_WINDOW), endings + 1
                else:
                    left = inflater.unconsumed_tail
                if endings > _ENDINGS:
                    raise FrameError(BAD_TEXT, f"more than {_ENDINGS} final blocks")
                if not left and len(part) < _PIECE:
                    break
    except zlib.error as error:
        raise FrameError(BAD_TEXT, f"not deflate: {error}") from None
    return b"".join(parts)


def _pieces(data: bytes | bytearray) -> Iterator[bytes | memoryview]:
    """A message with the end that did not travel, in pieces: zlib copies what it leaves of one."""
    view = memoryview(data)
    yield from (view[start : start + _PIECE] for start in range(0, len(data), _PIECE))
    yield _TAIL
