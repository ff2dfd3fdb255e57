"""NDJSON: one JSON item a line, on one endless answer to a GET. A complete transport, and the worked example of the how-to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from transports.errors import NotEverywireError
from transports.items import Encoded, Item, decode_item
from transports.transport import Transport

_LINE_MAX = 1 << 20  # bytes; a peer that never ends a line must not fill the memory


def frame(items: Sequence[Encoded]) -> bytes:
    """Down: a line per item. The JSON of an item has no line end in it."""
    return b"".join([item.json + b"\n" for item in items])


class LineReader:
    """Up again: items out of a body that arrives in any pieces. An unfinished line at its end is dropped."""

    def __init__(self) -> None:
        self._rest = b""  # of a line whose end has not come

    def feed(self, data: bytes) -> list[Item]:
        """The items that are complete with `data`. Raises: NotEverywireError."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LINE_MAX:
            raise NotEverywireError(f"a line of more than {_LINE_MAX} bytes")
        return [item for line in lines if line.strip() and (item := decode_item(line)) is not None]


NDJSON: Final = Transport(
    name="ndjson",
    path="ndjson",
    content_type="application/x-ndjson",
    frame=frame,
    reader=LineReader,
    many=True,
)
