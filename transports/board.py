"""The board: what each of several workers has counted, where the others see it, and what those had who are gone.

They share one socket, and a scrape comes to any of them. So each writes its figures here every now and then, and whoever is asked
answers for all. What a worker had counted is added to what is gone when its parent sees its end: counters never go back. Between
the two writes of that it stands in both places; so each place says which life of it that is, and what is gone, whose are in it.
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
_HEAD: Final = struct.Struct("<IIII")  # of what is behind it: where, length, the life of the place, and a checksum
_HALF: Final = (_PLACE - _HEAD.size) // 2  # what is written goes where nobody reads, until the head says so
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
        self._lives = struct.Struct(f"<{self._rows}I")

    def tell(self, found: Snapshot) -> None:
        """I have counted so much."""
        self._write(self._row, encode(of_worker(found, str(self.number))), self._life(self._row))

    def others(self) -> list[Snapshot]:
        """What the others have counted, and those who are gone."""
        rows = [(row, *self._read(row)) for row in range(self._rows) if row != self._row]
        lives, gone = self._gone()  # looked at last: who has gone since is in it, and is not counted twice
        return [found for found in (*(found for row, life, found in rows if life >= lives[row]), gone) if found]

    def retire(self, row: int) -> None:
        """The worker whose place this is has ended; for the parent alone."""
        lives, gone = self._gone()
        next_life = self._life(row) + 1
        lives = (*lives[:row], next_life, *lives[row + 1 :])
        found = total([gone, without_gauges(self._read(row)[1])])
        self._write(self._rows, self._lives.pack(*lives) + encode(found))
        self._write(row, encode({}), next_life)

    def _life(self, row: int) -> int:
        return _HEAD.unpack_from(self._memory, row * _PLACE)[2]  # type: ignore[no-any-return]

    def _write(self, row: int, body: bytes, life: int = 0) -> None:
        if len(body) > _HALF:
            return  # cannot be: the number of labels is bounded. Nobody would gain from an end of the server
        start = row * _PLACE
        place = _HALF - _HEAD.unpack_from(self._memory, start)[0]
        begin = start + _HEAD.size + place
        self._memory[begin : begin + len(body)] = body
        self._memory[start : start + _HEAD.size] = _HEAD.pack(place, len(body), life, zlib.crc32(body, life))

    def _body(self, row: int) -> tuple[int, bytes]:
        """The life of a place, and what stands there; nothing, if it cannot be read."""
        start = row * _PLACE
        for _ in range(_TRIES):
            place, length, life, checksum = _HEAD.unpack_from(self._memory, start)
            if not length or place + length > 2 * _HALF:
                break
            body = self._memory[start + _HEAD.size + place : start + _HEAD.size + place + length]
            if zlib.crc32(body, life) == checksum:
                return life, body
        return 0, b""

    def _read(self, row: int) -> tuple[int, Snapshot]:
        life, body = self._body(row)
        return life, _decoded(body)

    def _gone(self) -> tuple[tuple[int, ...], Snapshot]:
        """Which life of each place is the first that is not in what is gone, and that."""
        body = self._body(self._rows)[1]
        if len(body) < self._lives.size:
            return (0,) * self._rows, {}
        return self._lives.unpack_from(body), _decoded(body[self._lives.size :])


def _decoded(body: bytes) -> Snapshot:
    try:
        return decode(body) if body else {}
    except msgspec.DecodeError:  # another version wrote it, a restart later
        return {}


def new_board(rows: int) -> int:
    """The descriptor of a file for a `Board` of so many processes, none of them there yet."""
    return new_file(b"", (rows + 1) * _PLACE)
