"""Transport: what one wire is: a pure function each way, and the facts that the core needs to know of it.

A new one is a file with such a value and a line in `ladder.py`; see `docs/how-to/write-a-transport.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from .items import Encoded, Item

_ALWAYS = (
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),  # nginx would hold a stream back for seconds
    (b"incremental", b"?1"),  # RFC 10036: pass every part on at once
    (b"x-content-type-options", b"nosniff"),
)
HEADERS = (
    *_ALWAYS,
    (b"cross-origin-resource-policy", b"same-origin"),  # not even as <script> or <img> of a page elsewhere
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),  # were it shown as a page, it could do nothing
)
"""Of every answer, but to those who ask for what is for everybody."""
FOR_ALL = (*_ALWAYS, (b"access-control-allow-origin", b"*"), (b"cross-origin-resource-policy", b"cross-origin"))
"""Of an answer that is for every page: it holds no secret, and is the same whoever asks."""


Frame: TypeAlias = Callable[[Sequence[Encoded]], bytes]
Write: TypeAlias = Callable[[Any], bytes]
JSON: Final[Write] = msgspec.json.Encoder().encode


class Reader(Protocol):
    """The way back: bytes to items."""

    def feed(self, data: bytes) -> list[Item]:
        """The items that are complete with `data`.

        `data` is a WebSocket message, the whole body of a long-poll answer, or whatever part of a stream has arrived.
        Raises: NotEverywireError.
        """


class Transport(msgspec.Struct, frozen=True, kw_only=True):
    """How batches are framed on one wire.

    One that is spoken in several ways has a value for each: the others of a WebSocket are in `also`, and `codings.py` makes those
    of HTTP. Whoever serves asks which of them it is with this client, and need not know what it means.
    """

    name: str
    path: str  # below the mount
    content_type: str  # on WebSocket, the subprotocol
    frame: Frame
    reader: Callable[[], Reader]
    many: bool  # one exchange carries many batches, with a beat in each silence; else one, and may wait for it
    commands_up: bool = False  # commands travel up the same wire; it is a WebSocket then
    binary: bool = False  # of a WebSocket: its messages are binary, not text
    write: Write = JSON  # what travels up in the same way: a command, or several
    heard: Callable[[bytes], bytes] | None = None  # JSON of what has come up, where it is not. Raises: Refusal 4400
    also: tuple[Transport, ...] = ()  # the same wire, spoken otherwise: with clients that ask for it
    headers: tuple[tuple[bytes, bytes], ...] = ()  # of an answer, beside `HEADERS`
    opening: bytes = b""  # of a stream, before its first item

    def spoken(self, offered: Iterable[str | None]) -> Transport | None:
        """What to speak with who offers these subprotocols, the most wanted first; None: nothing that is known."""
        known = {each.content_type: each for each in (self, *self.also)}
        return next((known[each] for each in offered if each in known), None)
