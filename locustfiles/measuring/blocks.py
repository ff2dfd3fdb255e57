"""Blocks: the data of Server-Sent Events (WHATWG HTML section 9.2) out of a stream that arrives in any pieces, from any
server.
"""

from __future__ import annotations

from typing import Final

from transports.errors import NotEverywireError

_BLOCK_MAX: Final = 1 << 24  # bytes
_BOM = b"\xef\xbb\xbf"


class Blocks:
    """Feed it what comes; it returns the data of the events that are complete. Other fields are left out, and so are comments."""

    def __init__(self) -> None:
        self._rest = b""  # of a block whose end has not come
        self._after_cr = False  # the last piece ended in CR: an LF at the start of the next belongs to it
        self._started = False

    def feed(self, data: bytes) -> list[bytes]:
        """The data of each event that is complete with `data`. Raises: NotEverywireError, a block does not end."""
        whole = self._rest + self._plain(data)
        if not self._started and len(whole) >= len(_BOM):
            self._started = True
            whole = whole.removeprefix(_BOM)
        *blocks, self._rest = whole.split(b"\n\n")
        if len(self._rest) > _BLOCK_MAX:
            raise NotEverywireError(f"an SSE block of more than {_BLOCK_MAX} bytes")
        return [found for block in blocks if (found := _data(block)) is not None]

    def _plain(self, data: bytes) -> bytes:
        """With LF at the end of each line: CR and CRLF end one too."""
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if b"\r" not in data:
            return data
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _data(block: bytes) -> bytes | None:
    lines = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:") or line == b"data"]
    return b"\n".join(lines) if lines else None
