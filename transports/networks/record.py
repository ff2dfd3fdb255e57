"""Record: what passed through a network, as it was on the client's side: what a client sent, and what came to it.

Where an edge is in front (`h2-edge`), it is the relay's side of that: each stream is a connection, in HTTP/1.1.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from .pieces import Kind

_MOST: Final = 2_000  # passages
_BYTES: Final = 4 << 20  # of all that are kept


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece on its way. Times are seconds since 1970.

    Args:
        connection: its number, from 1.
        up: from the client to the server.
        kind: `head`, `data` of a body, `end` of one, `frame` of a WebSocket, `bytes`; `open` and `close` of a connection, and
            `lost` for what the network made disappear.
        raw: the bytes as they were, framing included.
        came: when it came to the network.
        passed: when it left it.
        writes: in how many it left it.
    """

    connection: int
    up: bool
    kind: Kind | str
    raw: bytes
    came: float
    passed: float
    writes: int = 1


class Record:
    """The last passages: at the most `most` of them, and `size` bytes. The sums are of all that ever passed."""

    def __init__(self, most: int = _MOST, size: int = _BYTES) -> None:
        self._kept: deque[Passage] = deque()
        self._most, self._size, self._bytes = most, size, 0
        self.connections = self.requests = 0
        self.up = self.down = 0  # bytes that passed
        self.pieces = 0

    def add(self, passage: Passage) -> None:
        """Keep it, and drop what is too old by now."""
        self._kept.append(passage)
        self._bytes += len(passage.raw)
        while len(self._kept) > self._most or self._bytes > self._size:
            self._bytes -= len(self._kept.popleft().raw)
        self.pieces += 1
        self.connections += passage.kind == "open"
        self.requests += passage.up and passage.kind == "head"
        if passage.kind != "lost":
            self.up += len(passage.raw) * passage.up
            self.down += len(passage.raw) * (not passage.up)

    def passages(self, since: int = 0) -> tuple[int, list[Passage]]:
        """Those kept behind the `since` first ones that there ever were, and how many there ever were by now."""
        first = self.pieces - len(self._kept)
        skip = max(0, since - first)
        return self.pieces, [passage for place, passage in enumerate(self._kept) if place >= skip]
