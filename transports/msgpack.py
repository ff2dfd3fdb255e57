"""MessagePack: the WebSocket once more, with items and commands in MessagePack (msgpack.org) instead of JSON.

What can be said stays what JSON can say, so every reader gets the same whichever it speaks: keys are strings, numbers are
finite, and there are no bytes and no times. Only integers need help: where 64 bits do not hold one, it is an extension of type 1,
its decimal digits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import msgspec
from msgspec.msgpack import Ext

from .errors import Code, Refusal
from .items import Decoding, Encoded, Item
from .transport import Transport

SUBPROTOCOL: Final = "everywire.v1.msgpack"
INTEGER: Final = 1  # type of the extension

_INT64, _UINT64 = -(1 << 63), (1 << 64) - 1
_DIGITS: Final = re.compile(rb"-[1-9][0-9]{17,4298}|[1-9][0-9]{17,4299}")  # more are refused in JSON too
_encoder = msgspec.msgpack.Encoder()
_json = msgspec.json.Encoder()
_from_json = msgspec.json.Decoder()


def frame(items: Sequence[Encoded]) -> bytes:
    """An array of the items; each is put into MessagePack once, for the first who reads it so."""
    return _array(len(items)) + b"".join([item.packed or _packed(item) for item in items])


def _array(length: int) -> bytes:
    """The beginning of an array."""
    if length < 16:
        return bytes((0x90 | length,))
    return b"\xdc" + length.to_bytes(2, "big") if length < 1 << 16 else b"\xdd" + length.to_bytes(4, "big")


def _packed(item: Encoded) -> bytes:
    packed = write(_from_json.decode(item.json))
    msgspec.structs.force_setattr(item, "packed", packed)  # what it says has not changed: it is said otherwise
    return packed


def write(value: Any) -> bytes:
    """What JSON can say, in MessagePack."""
    try:
        return _encoder.encode(value)
    except OverflowError:
        return _encoder.encode(_with_long_integers(value))


def _with_long_integers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_long_integers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_long_integers(each) for each in value]
    if isinstance(value, int) and not _INT64 <= value <= _UINT64:
        return Ext(INTEGER, b"%d" % value)
    return value


def _read_extension(code: int, data: memoryview) -> int:
    """An integer that 64 bits do not hold. Raises: ValueError, it is something else."""
    if code != INTEGER or not _DIGITS.fullmatch(data):
        raise ValueError(f"an extension of type {code}, which is no long integer in decimal digits")
    return int(bytes(data))


_decoder = msgspec.msgpack.Decoder(ext_hook=_read_extension)
_items = Decoding(partial(msgspec.msgpack.Decoder, ext_hook=_read_extension))


def heard(message: bytes) -> bytes:
    """The JSON of commands that came up.

    Raises:
        Refusal: 4400, it is not MessagePack, or says what JSON cannot say.
    """
    try:
        said = _decoder.decode(message)
        _check(said)
        return _json.encode(said)
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Refusal(Code.BAD_COMMAND, f"not MessagePack that could be JSON: {str(error)[:200]}") from error


def _check(said: Any) -> None:
    """Raises: ValueError, JSON has no such thing; it would be written as something else there."""
    left = [said]
    while left:
        match left.pop():
            case dict() as found:
                if not all(isinstance(key, str) for key in found):
                    raise ValueError("a key that is no string")
                left += found.values()
            case list() as found:
                left += found
            case float() as number if not math.isfinite(number):
                raise ValueError(f"{number} is no number in JSON")
            case None | str() | int() | float():
                pass
            case other:
                raise ValueError(f"{type(other).__name__}: JSON has no bytes and no times")


class PackedReader:
    """Items out of whole messages."""

    def feed(self, data: bytes) -> list[Item]:
        """The items of one message. Raises: NotEverywireError."""
        return _items.batch(data)


TRANSPORT: Final = Transport(
    name="websocket",
    path="ws",
    content_type=SUBPROTOCOL,
    frame=frame,
    reader=PackedReader,
    many=True,
    commands_up=True,
    binary=True,
    write=write,
    heard=heard,
)
