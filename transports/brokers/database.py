"""The file of the SQLite broker: what is in it, and each transaction on it. Plain calls that block, for a thread of the broker.

    events     what is kept, by offset
    channels   per channel: how many events it has here and how large they are, and `gone`, the last offset that was let go
    keys       recent idempotency keys, in the order in which they came
    life       one row: the epoch; `head`, the highest offset ever given; `floor`, through which nothing is kept of any channel

`head` is a number of its own, so that no offset is given twice, even when nothing is left that has one. Whoever writes
holds SQLite's lock from looking at `head` to the commit, so offsets are given in the order of commits and have no holes.

Beside the file is another, `<file>-head`, with the highest offset that was ever acknowledged. It is written after each commit,
without waiting for the disk: a process that is killed, and a machine that loses its power, leave it level with the file or behind
it. When it is ahead, or is missing, or is a copy, then the file is not what it was (a backup was restored), and a new epoch
begins.

Python's sqlite3 gives up the interpreter at each step of a statement, and gets it back late when the event loop is
busy: where many rows can be written in one statement, they are.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from ..errors import Code, Refusal
from ..position import Position
from . import Record, new_epoch

APPLICATION = 0x65767772  # "evwr" in the header of the file: https://www.sqlite.org/pragma.html#pragma_application_id
VERSION = 1
_LOOK = 0.005  # seconds between two looks whether a lock is free
_BYTES = 1 << 20  # of one chunk
_SWEPT = 4096  # events let go in one transaction, at the most: others want to write too
_SHAPES = (128, 16, 1)  # rows per statement; few, so that they stay prepared
_ALL = 1 << 62  # an offset behind all others
_SCHEMA = (
    "CREATE TABLE life (epoch TEXT NOT NULL, head INTEGER NOT NULL, floor INTEGER NOT NULL)",
    "CREATE TABLE events (offset INTEGER PRIMARY KEY, channel TEXT NOT NULL, at REAL NOT NULL, about TEXT, data BLOB NOT NULL)",
    "CREATE INDEX events_of_channel ON events (channel, offset)",
    "CREATE TABLE channels"
    " (name TEXT PRIMARY KEY, number INTEGER NOT NULL, size INTEGER NOT NULL, gone INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE keys (id INTEGER PRIMARY KEY, channel TEXT NOT NULL, key TEXT NOT NULL, offset INTEGER NOT NULL,"
    " at REAL NOT NULL, UNIQUE (channel, key))",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {VERSION}",
)


class Keep(NamedTuple):
    """What is kept, and for how long; see `Options`."""

    events: int  # per channel
    age: float  # seconds
    size: int  # bytes of data per channel
    key_window: float  # seconds
    key_count: int


class Entry(NamedTuple):
    """What is to be appended."""

    channel: str
    data: bytes
    key: str | None
    about: str | None


class Appended(NamedTuple):
    """What came of appending."""

    epoch: str
    before: int  # the highest offset before it
    offsets: list[int]  # per entry
    records: list[Record]  # those that are new


class Forgotten(NamedTuple):
    """Of `channel`, nothing through the offset `through` is kept."""

    channel: str
    through: int


Step: TypeAlias = Forgotten | list[Record]


class Chunk(NamedTuple):
    """A part of what is behind an offset."""

    epoch: str
    floor: int
    steps: list[Step]  # in the order of offsets
    through: int  # where to read on
    more: bool


class Database:
    """One connection to the file. All calls raise `Refusal` 4504 when it cannot be had; the next one tries again.

    Args:
        path: the file; it is made if there is none, its directory is not.
        keep: what is trimmed.
        clock: seconds since 1970.
        patience: seconds until another writer is given up.
        rows: events of one chunk; 256 take the event loop a millisecond or two.
        spare: channels with nothing left of which it is remembered since when.
    """

    def __init__(
        self,
        path: Path,
        keep: Keep,
        *,
        clock: Callable[[], float] = time.time,
        patience: float = 3.0,
        rows: int = 256,
        spare: int = 1024,
    ) -> None:
        self.path = path.absolute()
        self.patience = patience
        self._keep = keep
        self._rows = rows
        self._spare = spare
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._mark: int | None = None  # the file `…-head`, open
        self._place = (0, 0)  # of the file, on its disk
        self._version = -1

    # --- opening and closing

    def open(self) -> sqlite3.Connection:
        """The connection; opened, where it is not open or where another file has taken the place of the one that was."""
        if self._connection is not None:
            if self._where() == self._place:
                return self._connection
            self.close()
        until = time.monotonic() + self.patience
        while True:
            try:
                connection = self._connect()
            except (sqlite3.Error, OSError) as error:
                self.close()
                if not busy(error) or time.monotonic() >= until:
                    raise _refusal(self.path, error) from error
                time.sleep(_LOOK)  # several processes begin at once, and one makes the file
            except Refusal:
                self.close()
                raise
            else:
                return connection

    def _connect(self) -> sqlite3.Connection:
        if not self.path.parent.is_dir():
            raise _refusal(self.path, "its directory is not there")
        self._connection = connection = sqlite3.connect(self.path, timeout=_LOOK, isolation_level=None)
        with self._reading(connection):
            fresh = self._recognise(connection)
        if self._patiently("PRAGMA journal_mode = WAL") != ("wal",):
            raise _refusal(self.path, "several cannot use a file there at once; is it on a network's disk?")
        connection.execute("PRAGMA synchronous = FULL")  # each commit waits for the disk
        connection.execute(f"PRAGMA journal_size_limit = {16 << 20}")
        self._place = self._where()
        self._begin(connection, fresh)
        return connection

    def close(self) -> None:
        """Let go of the file; the next call opens it again."""
        connection, self._connection = self._connection, None
        mark, self._mark = self._mark, None
        self._version = -1
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
        if mark is not None:
            os.close(mark)

    def _where(self) -> tuple[int, int]:
        try:
            found = os.stat(self.path)
        except OSError:
            return 0, 0
        return found.st_dev, found.st_ino

    def _recognise(self, connection: sqlite3.Connection) -> bool:
        """Whether there is nothing in it yet. Raises: Refusal, if it is not ours to write."""
        application, version = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        if application == APPLICATION:
            if version > VERSION:
                raise _refusal(
                    self.path, f"it was written by a newer version (its format is {version}, this one knows {VERSION})"
                )
            return False
        if application or version or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise _refusal(self.path, "it is a database of another program")
        return True

    def _begin(self, connection: sqlite3.Connection, fresh: bool) -> None:
        """Make what is in a new file; begin a new epoch if this is not the file that it was."""
        mark = self._mark = os.open(f"{self.path}-head", os.O_RDWR | os.O_CREAT, 0o644)
        with self._writing(connection):
            if fresh := fresh and self._recognise(connection):  # others may have been quicker
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute("INSERT INTO life VALUES (?, 0, 0)", (new_epoch(),))
            epoch, head, _ = self._life(connection)
            known = _read_mark(mark)
            if not fresh and (known is None or known.epoch != epoch or known.offset > head):
                epoch = new_epoch()
                connection.execute("UPDATE life SET epoch = ?", (epoch,))
        _write_mark(mark, Position(epoch, head))

    # --- transactions

    @contextmanager
    def _told(self) -> Iterator[sqlite3.Connection]:
        """The connection; what goes wrong with it becomes a refusal, and it is opened anew the next time."""
        try:
            yield self.open()
        except (sqlite3.Error, OSError) as error:
            if not busy(error):
                self.close()
            raise _refusal(self.path, error) from error
        except (TypeError, ValueError, OverflowError) as error:  # a value of another kind than was written, or none
            self.close()
            raise _refusal(self.path, f"what is in it makes no sense: {error}") from error

    @contextmanager
    def _writing(self, connection: sqlite3.Connection) -> Iterator[None]:
        self._patiently("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _reading(self, connection: sqlite3.Connection) -> Iterator[None]:
        connection.execute("BEGIN")  # all that follows sees the same state
        try:
            yield
        finally:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")

    def _patiently(self, statement: str) -> Any:
        """Execute what takes a lock, and return the first row. SQLite itself would look for the lock less and less often."""
        assert self._connection is not None  # noqa: S101 - who calls has just opened it
        until = time.monotonic() + self.patience
        while True:
            try:
                return self._connection.execute(statement).fetchone()
            except sqlite3.OperationalError as error:
                if not busy(error) or time.monotonic() >= until:
                    raise
                time.sleep(_LOOK / 5)

    @staticmethod
    def _life(connection: sqlite3.Connection) -> tuple[str, int, int]:
        found: tuple[str, int, int] = connection.execute("SELECT epoch, head, floor FROM life").fetchone()
        return found

    # --- what is asked of it

    def append(self, entries: Sequence[Entry]) -> Appended:
        """Append in one transaction, and trim. When it returns, it is on the disk."""
        with self._told() as connection:
            now = self._clock()
            with self._writing(connection):
                epoch, before, _ = self._life(connection)
                known = self._known(connection, entries, now)
                keys, records, offsets = [], [], []
                head = before
                for channel, data, key, about in entries:
                    if key is not None:
                        if (first := known.get((channel, key))) is not None:
                            offsets.append(first)
                            continue
                        known[channel, key] = head + 1
                        keys.append((channel, key, head + 1, now))
                    head += 1
                    offsets.append(head)
                    records.append(Record(head, channel, now, data, about))
                if records:
                    self._insert(connection, records, keys)
            if records and self._mark is not None:
                _write_mark(self._mark, Position(epoch, head))
        return Appended(epoch, before, offsets, records)

    def read(self, seen: int, epoch: str, *, followed: bool = True) -> Chunk:
        """What is behind the offset `seen`; from the beginning, where `epoch` is not the file's.

        `followed`: somebody reads already, and must be told in each chunk of what is gone in it; otherwise each loss is told
        once.
        """
        with self._told() as connection, self._reading(connection):
            present, head, floor = self._life(connection)
            start = max(seen if present == epoch else 0, floor)
            records, size = [], 0
            for offset, channel, at, data, about in connection.execute(
                "SELECT offset, channel, at, data, about FROM events WHERE offset > ? ORDER BY offset LIMIT ?",
                (start, self._rows),
            ):
                records.append(Record(offset, channel, at, data, about))
                size += len(data)
                if size >= _BYTES:
                    break
            more = size >= _BYTES or len(records) == self._rows
            through = records[-1].offset if more else head
            gone = []
            if through - start > len(records):  # offsets have no holes: what is not here was let go
                statement = "SELECT name, min(gone, ?) AS through FROM channels WHERE gone > ? AND gone <= ? ORDER BY through"
                last = _ALL if followed else through
                gone = [Forgotten(*row) for row in connection.execute(statement, (through, start, last))]
        return Chunk(present, floor, _in_order(records, gone), through, more)

    def changed(self) -> bool:
        """Whether somebody else has written since this was asked last. Costs microseconds, and reads nothing of the disk."""
        with self._told() as connection:
            (version,) = connection.execute("PRAGMA data_version").fetchone()
            was, self._version = self._version, version
            return bool(was != version)

    def head(self) -> Position:
        """The highest offset that was given, and the epoch."""
        with self._told() as connection:
            epoch, head, _ = self._life(connection)
            return Position(epoch, head)

    def sweep(self) -> bool:
        """Let go of what is too old; whether there is more of it.

        An event goes when it and all before it are too old: a clock that was set back keeps some longer, and lets none go
        earlier.
        """
        with self._told() as connection:
            now = self._clock()
            oldest, forgotten = now - self._keep.age, now - self._keep.key_window
            first = connection.execute("SELECT at FROM events ORDER BY offset LIMIT 1").fetchone()
            key = connection.execute("SELECT at FROM keys ORDER BY id LIMIT 1").fetchone()
            more = False
            if key is not None and key[0] < forgotten:
                with self._writing(connection):
                    young = connection.execute("SELECT id FROM keys WHERE at >= ? ORDER BY id LIMIT 1", (forgotten,)).fetchone()
                    connection.execute("DELETE FROM keys WHERE id < ?", young or (_ALL,))
            if first is not None and first[0] < oldest:
                with self._writing(connection):
                    more = self._let_go_older(connection, oldest)
            return more

    # --- within a transaction

    def _known(self, connection: sqlite3.Connection, entries: Sequence[Entry], now: float) -> dict[tuple[str, str], int]:
        """Of the keys of `entries`, those that are remembered."""
        asked = [(entry.channel, entry.key) for entry in entries if entry.key is not None]
        known: dict[tuple[str, str], int] = {}
        for start, number in _pieces(len(asked)):
            values = ",".join(["(?,?)"] * number)
            statement = f"SELECT channel, key, offset FROM keys WHERE at >= ? AND (channel, key) IN (VALUES {values})"  # noqa: S608
            given = [now - self._keep.key_window, *(text for pair in asked[start : start + number] for text in pair)]
            known |= {(channel, key): offset for channel, key, offset in connection.execute(statement, given)}
        return known

    def _insert(self, connection: sqlite3.Connection, records: Sequence[Record], keys: Sequence[Sequence[Any]]) -> None:
        rows = [(record.offset, record.channel, record.at, record.about, record.data) for record in records]
        _write(connection, "INSERT INTO events (offset, channel, at, about, data) VALUES", rows)
        if keys:
            _write(connection, "INSERT OR REPLACE INTO keys (channel, key, offset, at) VALUES", keys)
            connection.execute("DELETE FROM keys WHERE id <= (SELECT max(id) FROM keys) - ?", (self._keep.key_count,))
        sums: dict[str, tuple[int, int]] = {}
        for record in records:
            number, size = sums.get(record.channel, (0, 0))
            sums[record.channel] = number + 1, size + len(record.data)
        _write(
            connection,
            "INSERT INTO channels (name, number, size, gone) VALUES",
            [(name, number, size, 0) for name, (number, size) in sums.items()],
            "ON CONFLICT (name) DO UPDATE SET number = number + excluded.number, size = size + excluded.size",
        )
        connection.execute("UPDATE life SET head = ?", (records[-1].offset,))
        self._trim(connection, sums)

    def _trim(self, connection: sqlite3.Connection, touched: Mapping[str, Any]) -> None:
        """Bring channels that are over a bound by an eighth back to it: not one event at a time."""
        count, size = self._keep.events, self._keep.size
        over: list[tuple[str, int, int]] = []
        names = list(touched)
        for start, number in _pieces(len(names)):
            statement = (
                f"SELECT name, number, size FROM channels WHERE name IN ({','.join('?' * number)}) AND (number > ? OR size > ?)"  # noqa: S608
            )
            given = [*names[start : start + number], count + count // 8, size + size // 8]
            over += connection.execute(statement, given).fetchall()
        for name, there, bytes_ in over:
            number, left, through, gone_bytes = there, bytes_, 0, 0
            rows = connection.execute("SELECT offset, length(data) FROM events WHERE channel = ? ORDER BY offset", (name,))
            while (number > count or left > size) and number > 1:
                through, length = rows.fetchone()
                number, left, gone_bytes = number - 1, left - length, gone_bytes + length
            rows.close()
            if through:
                connection.execute("DELETE FROM events WHERE channel = ? AND offset <= ?", (name, through))
                connection.execute(
                    "UPDATE channels SET number = ?, size = size - ?, gone = ? WHERE name = ?",
                    (number, gone_bytes, through, name),
                )

    def _let_go_older(self, connection: sqlite3.Connection, oldest: float) -> bool:
        first, last, number = connection.execute(
            "SELECT min(CASE WHEN at >= ? THEN offset END), max(offset), count(*)"
            " FROM (SELECT offset, at FROM events ORDER BY offset LIMIT ?)",
            (oldest, _SWEPT),
        ).fetchone()
        if last is None:
            return False
        through = last if first is None else first - 1
        statement = "SELECT count(*), sum(length(data)), max(offset), channel FROM events WHERE offset <= ? GROUP BY channel"
        sums = connection.execute(statement, (through,)).fetchall()
        connection.executemany("UPDATE channels SET number = number - ?, size = size - ?, gone = ? WHERE name = ?", sums)
        connection.execute("DELETE FROM events WHERE offset <= ?", (through,))
        self._forget_empty(connection)
        return first is None and number == _SWEPT

    def _forget_empty(self, connection: sqlite3.Connection) -> None:
        """Forget channels of which nothing has been left for the longest time, if they are many: `floor` tells of them."""
        (kept,) = connection.execute("SELECT min(offset) FROM events").fetchone()
        found = connection.execute(
            "SELECT gone FROM channels WHERE number = 0 AND gone < ? ORDER BY gone DESC LIMIT 1 OFFSET ?",
            (_ALL if kept is None else kept, self._spare),
        ).fetchone()
        if found is not None:
            connection.execute("DELETE FROM channels WHERE number = 0 AND gone <= ?", found)
            connection.execute("UPDATE life SET floor = max(floor, ?)", found)


def _refusal(path: Path, reason: str | Exception) -> Refusal:
    """What publishers are told: they may be anybody, and need not know where the file is."""
    told = reason.strerror if isinstance(reason, OSError) else reason
    return Refusal(Code.BROKER_DOWN, f"the log {path.name} cannot be used at present: {told}")


def busy(error: BaseException | None) -> bool:
    """Whether somebody else has a lock. The lower byte is the primary code: https://www.sqlite.org/rescode.html"""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _pieces(total: int) -> Iterator[tuple[int, int]]:
    """`total` rows as (start, number), where the numbers are of `_SHAPES`."""
    start = 0
    for number in _SHAPES:
        while total - start >= number:
            yield start, number
            start += number


def _write(connection: sqlite3.Connection, insert: str, rows: Sequence[Sequence[Any]], end: str = "") -> None:
    row = f"({','.join('?' * len(rows[0]))})"
    for start, number in _pieces(len(rows)):
        values = [value for each in rows[start : start + number] for value in each]
        connection.execute(f"{insert} {','.join([row] * number)} {end}", values)


def _in_order(records: list[Record], gone: list[Forgotten]) -> list[Step]:
    """What is gone, told before the records behind it and after those before it."""
    steps: list[Step] = []
    start = 0
    for each in gone:
        end = start
        while end < len(records) and records[end].offset <= each.through:
            end += 1
        if end > start:
            steps.append(records[start:end])
        steps.append(each)
        start = end
    if start < len(records):
        steps.append(records[start:])
    return steps


def _write_mark(mark: int, position: Position) -> None:
    """Write down that `position` was given, unless a higher one was. It is of one size, and needs no room on the disk."""
    known = _read_mark(mark)
    if known is None or known.epoch != position.epoch or known.offset < position.offset:
        with suppress(OSError):  # it is there to notice more, not to need more
            os.lseek(mark, 0, os.SEEK_SET)
            os.write(mark, f"{position.epoch:<16} {position.offset:>19} {os.fstat(mark).st_ino:>20}\n".encode())


def _read_mark(mark: int) -> Position | None:
    """What was written down; None when there is nothing, or it is a copy (its number on the disk is another)."""
    os.lseek(mark, 0, os.SEEK_SET)
    words = os.read(mark, 100).partition(b"\n")[0].decode("ascii", "replace").split()
    if len(words) != 3 or words[2] != str(os.fstat(mark).st_ino) or not words[1].isdigit():
        return None
    return Position(words[0], int(words[1]))
