"""The reader of the subject `sse-starlette`: plain Server-Sent Events, with our stamp in their data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote

import msgspec

from ..measuring import readers, stamps
from ..measuring.readers import Read
from ..measuring.stamps import Arrived, Stamp

_PING: Final = 15.0  # seconds between two comments of sse-starlette, by default


class _Event(msgspec.Struct):
    channel: str
    data: msgspec.Raw


_event = msgspec.json.Decoder(_Event)


class SSEReader(readers.SSEReader):
    """Follows channels, and is ready with the first event, which is empty."""

    path = "/events"

    def target(self) -> str:
        """The channels are part of it."""
        return f"{self.path}?channels={quote(','.join(self.channels), safe=',:')}"

    def opened(self, received: int) -> None:
        """Not ready by that: its queue comes with the first event."""

    def parse(self, message: bytes) -> Iterable[Stamp]:
        """The event in the data."""
        if not message:
            return ()
        event = _event.decode(message)
        stamp = stamps.stamp(Arrived("", event.channel, event.data))
        return () if stamp is None else (stamp,)

    @property
    def _silence(self) -> float:
        return 2 * _PING

    def _read(self) -> Iterator[Read]:
        for received, messages in super()._read():
            if self._began and b"" in messages:
                self.in_place(received)
            yield received, messages
