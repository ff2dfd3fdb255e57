"""Server-Sent Events (WHATWG HTML section 9.2): a block of lines per item, on one endless body."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from .errors import NotEverywireError
from .items import Bye, Encoded, Item, decode_item
from .transport import Transport

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
_BLOCK_MAX = 16 << 20  # bytes, well over the largest event; a peer that never ends a block must not fill the memory


def frame(items: Sequence[Encoded]) -> bytes:
    """A block per item. Events carry no `event:` line, so that a plain EventSource gets them in `onmessage`."""
    return b"".join([_block(item) for item in items])


def _block(item: Encoded) -> bytes:
    # JSON from our encoder has no line end in it, and ids come from `Position`: nothing here needs escaping.
    if item.kind == "event":
        return b"id: %b\ndata: %b\n\n" % (item.id.encode() if item.id else b"", item.json)
    position = b"id: %b\n" % item.id.encode() if item.id else b""
    return b"event: %b\n%b%bdata: %b\n\n" % (item.kind.encode(), position, _retry(item), item.json)


def _retry(item: Encoded) -> bytes:
    if item.kind != "bye" or (retry := msgspec.json.decode(item.json, type=Bye).retry) is None:
        return b""
    return b"retry: %d\n" % round(retry * 1000)


class StreamReader:
    """Items out of a stream that arrives in any pieces. An unfinished block at its end is dropped, as section 9.2.6
    has it.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []  # the pieces of a line whose end has not come
        self._data: list[bytes] = []  # the data lines of the block being read
        self._size = 0  # of both
        self._started = False  # past the place where a byte order mark may stand
        self._after_cr = False  # the last piece ended in CR: an LF at the start of the next belongs to it

    def feed(self, data: bytes) -> list[Item]:
        """The items that are complete with `data`. Raises: NotEverywireError."""
        items = []
        for line in self._lines(data):
            if line:
                self._field(line)
            elif self._data:
                body, self._data, self._size = b"\n".join(self._data), [], 0
                if (item := decode_item(body)) is not None:
                    items.append(item)
        if self._size > _BLOCK_MAX:
            raise NotEverywireError(f"an SSE block of more than {_BLOCK_MAX} bytes")
        return items

    def _lines(self, data: bytes) -> list[bytes]:
        """The lines that are complete with `data`; LF, CR and CRLF end one."""
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        first, *others = _LINE_END.split(data)
        self._line.append(first)
        self._size += len(first)
        if not others:  # cheap, however small the pieces are
            return []
        *whole, rest = b"".join(self._line), *others
        self._line, self._size = [rest], self._size - len(whole[0]) + len(rest)
        self._after_cr = data.endswith(b"\r")
        if not self._started:
            self._started = True
            whole[0] = whole[0].removeprefix(_BOM)
        return whole

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            value = value.removeprefix(b" ")
            self._data.append(value)
            self._size += len(value)


TRANSPORT: Final = Transport(
    name="sse",
    path="sse",
    content_type="text/event-stream",
    frame=frame,
    reader=StreamReader,
    many=True,
)
