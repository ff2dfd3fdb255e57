"""Transport: what one wire is: a pure function each way, and the facts that the core needs to know of it.

A new one is a file with such a value and a line in `ladder.py`; see `docs/how-to/write-a-transport.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

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


class Reader(Protocol):
    """The way back: bytes to items."""

    def feed(self, data: bytes) -> list[Item]:
        """The items that are complete with `data`.

        `data` is a WebSocket message, the whole body of a long-poll answer, or whatever part of a stream has arrived.
        Raises: NotEverywireError.
        """


class Transport(msgspec.Struct, frozen=True, kw_only=True):
    """How batches are framed on one wire."""

    name: str
    path: str  # below the mount
    content_type: str  # on WebSocket, the subprotocol
    frame: Frame
    reader: Callable[[], Reader]
    many: bool  # one exchange carries many batches, with a beat in each silence; else one, and may wait for it
    commands_up: bool = False  # commands travel up the same wire; it is a WebSocket then
