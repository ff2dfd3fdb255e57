"""The board: what each of several workers has counted, where the others see it, and what those had who are gone.

They share one socket, and a scrape comes to any of them. So each writes its figures here every now and then, and whoever is asked
answers for all. What a worker had counted is added to what is gone when its parent sees its end: counters never go back.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from typing import Final

import msgspec

from .figures import Snapshot, decode, encode, of_worker, total, without_gauges
from .shared import new_file

_PLACE: Final = 1 << 17  # bytes for the figures of one; a few thousand are used
_HEAD: Final = struct.Struct("<II")  # length and checksum of what is behind it
_TRIES: Final = 20  # to read what is just being written


class Board:
    """Places for figures in memory that several processes share; the last is for those who are gone.

    Args:
        descriptor: of the file behind it, see `new_board`.
        row: whose place is ours.
        number: of the worker, by which gauges are told apart; 0 is the parent.
    """

    def __init__(self, descriptor: int, row: int, number: int = 0) -> None:
        self.number = number
        self._memory = mmap.mmap(descriptor, 0)
        self._rows = len(self._memory) // _PLACE - 1
        if not 0 <= row < self._rows:
            raise ValueError(f"row {row} of {self._rows}")
        self._row = row

    def tell(self, found: Snapshot) -> None:
        """I have counted so much."""
        self._write(self._row, of_worker(found, str(self.number)))

    def others(self) -> list[Snapshot]:
        """What the others have counted, and those who are gone."""
        rows = [row for row in range(self._rows + 1) if row != self._row]
        return [found for row in rows if (found := self._read(row))]

    def retire(self, row: int) -> None:
        """The worker whose place this is has ended; for the parent alone."""
        gone = self._read(self._rows)
        self._write(self._rows, total([gone, without_gauges(self._read(row))]))
        self._write(row, {})

    def _write(self, row: int, found: Snapshot) -> None:
        body = encode(found)
        if len(body) > _PLACE - _HEAD.size:
            return  # cannot be: the number of labels is bounded. Nobody would gain from an end of the server
        start = row * _PLACE
        self._memory[start + _HEAD.size : start + _HEAD.size + len(body)] = body
        self._memory[start : start + _HEAD.size] = _HEAD.pack(len(body), zlib.crc32(body))

    def _read(self, row: int) -> Snapshot:
        """What stands there; nothing, if it cannot be read."""
        start = row * _PLACE
        for _ in range(_TRIES):
            length, checksum = _HEAD.unpack_from(self._memory, start)
            if not length or length > _PLACE - _HEAD.size:
                return {}
            body = self._memory[start + _HEAD.size : start + _HEAD.size + length]
            if zlib.crc32(body) == checksum:
                try:
                    return decode(body)
                except msgspec.DecodeError:  # another version wrote it, a restart later
                    return {}
        return {}


def new_board(rows: int) -> int:
    """The descriptor of a file for a `Board` of so many processes, none of them there yet."""
    return new_file(b"", (rows + 1) * _PLACE)
