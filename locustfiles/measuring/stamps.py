"""Stamp: what a reader wants to know of an event: its number, and when it was meant to be published. And how an everywire
server's messages are read for it, at as little cost as a load generator should have.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from transports.items import Beat, Bye, Event, Hello, Lost, Reply, Skipped, decode_batch


class Stamp(msgspec.Struct, gc=False):
    """One event, for its judge.

    `Stamp(n, t)` is enough. Numbers begin at 0 and have no holes, for each source apart.
    """

    n: int
    t: int  # when it was due: microseconds of CLOCK_MONOTONIC
    source: str = msgspec.field(default="", name="s")  # who numbered it; empty: the channel
    size: int | None = msgspec.field(default=None, name="(size)")  # bytes of its data, not read from it


class Arrived(msgspec.Struct, tag_field="type", tag="event", gc=False):
    """An event as it came, its data not yet read."""

    id: str
    channel: str
    data: msgspec.Raw


Item: TypeAlias = Arrived | Hello | Beat | Lost | Skipped | Reply | Bye

_decoder: msgspec.json.Decoder[list[Item] | Item] = msgspec.json.Decoder(list[Item] | Item)
_stamp = msgspec.json.Decoder(Stamp)


def items(message: bytes) -> list[Item]:
    """The items of a message of ours: an array of them, or one, as Server-Sent Events carry it. Raises: NotEverywireError."""
    try:
        found = _decoder.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # perhaps only an item of a later version
        array = message if message.lstrip()[:1] in (b"[", b"") else b"[%b]" % message
        return [_arrived(item) if isinstance(item, Event) else item for item in decode_batch(array)]
    return found if isinstance(found, list) else [found]


def stamp(event: Arrived) -> Stamp | None:
    """What our publisher wrote into the event's data; None: it is somebody else's."""
    try:
        found = _stamp.decode(event.data)
    except msgspec.DecodeError:
        return None
    found.source = found.source or event.channel
    found.size = len(event.data)
    return found


def _arrived(event: Event) -> Arrived:
    return Arrived(event.id, event.channel, msgspec.Raw(msgspec.json.encode(event.data)))
