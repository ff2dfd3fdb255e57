"""The broker of one machine: a log in a file, for one process or several, that is there again after a restart.

    sqlite:///events.db          in the working directory
    sqlite:////var/lib/app/events.db

SQLite blocks, so all of it happens on a thread. What is published in one turn of the event loop, and what comes while a commit
waits for the disk, goes into one transaction: the more is published, the more share the wait. A publish is acknowledged
when the disk has it, and not before.

What others wrote is looked for often while there is something going on, and less often when there is not: see `_BRISK`.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import unquote, urlsplit

from ..errors import Code, ConfigError, Refusal
from ..options import Options
from ..position import Position
from . import Follower, check_text
from .database import Database, Entry, Forgotten, Keep, Step, busy

_log = logging.getLogger("transports")

_BRISK = 0.002  # seconds between two looks at what others wrote, while somebody writes,
_CALM = 0.02  # and when nobody did for a second
_SWEEP = 1.0  # seconds between two looks at what is too old; ages are told in minutes
_AHEAD = 16  # chunks that are read before the event loop has taken them
_RETRY = 0.5  # seconds until a file that could not be read is tried again
_CLOSING = 0.5  # seconds for which a broker that closes waits for another writer


_BROKEN = Refusal(Code.INTERNAL, "the log's thread has failed")
_CLOSED = Refusal(Code.BROKER_DOWN, "the log was closed")


class _NoLoopError(Exception):
    """The event loop has been closed."""


class _Publish(NamedTuple):
    entry: Entry
    future: asyncio.Future[int]


class _Head(NamedTuple):
    future: asyncio.Future[Position]


_Work: TypeAlias = "list[_Publish] | _Head | None"  # None: the end
_Result: TypeAlias = "tuple[asyncio.Future[Any], Any]"  # what a future gets: a value, or the Refusal


class _Post(NamedTuple):
    """What the thread has for the event loop."""

    begin: tuple[str, int] | None = None
    steps: Sequence[Step] = ()
    results: Sequence[_Result] = ()


class SqliteBroker:
    """Offsets from a file, which several processes of one machine may share.

    Args:
        path: the file; it is made if there is none.
        keep: what is trimmed.
        clock: seconds since 1970.
    """

    shared = True

    def __init__(self, path: Path, keep: Keep, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._keep = keep
        self._clock = clock
        self._thread: threading.Thread | None = None
        self._turn: list[_Publish] = []  # published in this turn of the event loop
        self._work: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        self._outbox: deque[_Post] = deque()
        self._epoch = ""  # that the follower knows of

    @classmethod
    def from_options(cls, options: Options, *, clock: Callable[[], float] = time.time) -> SqliteBroker:
        """The broker that `options.broker` names.

        Raises:
            ConfigError: it names no file.
        """
        keep = Keep(options.history_count, options.history_age, options.history_bytes, options.key_window, options.key_count)
        return cls(path_of(options.broker), keep, clock=clock)

    # --- on the event loop

    async def tail(self, follower: Follower) -> None:
        """See `Broker.tail`."""
        self._loop = asyncio.get_running_loop()
        self._follower = follower
        self._work, self._outbox, self._turn = queue.SimpleQueue(), deque(), []
        opened: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        database = Database(self.path, self._keep, clock=self._clock)
        worker = _Worker(database, self._work, self._outbox, self._call, opened, self._ended)
        self._thread = threading.Thread(target=worker.run, name=f"everywire {self.path.name}", daemon=True)
        self._thread.start()
        try:
            await opened
        except BaseException:
            await asyncio.shield(self.close())
            raise

    async def publish(self, channel: str, data: bytes, key: str | None, about: str | None = None) -> int:
        """See `Broker.publish`."""
        self._open()
        check_text(channel, key, about)
        future: asyncio.Future[int] = self._loop.create_future()
        if not self._turn:
            self._loop.call_soon(self._hand_in)
        self._turn.append(_Publish(Entry(channel, data, key, about), future))
        return await future

    async def head(self) -> Position:
        """See `Broker.head`."""
        self._open()
        future: asyncio.Future[Position] = self._loop.create_future()
        self._work.put(_Head(future))
        return await future

    async def close(self) -> None:
        """See `Broker.close`. What was published before is kept or refused first."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._hand_in()
        self._work.put(None)
        await asyncio.shield(self._ended)
        thread.join()

    def _open(self) -> None:
        if self._thread is None or self._ended.done():
            raise Refusal(Code.BROKER_DOWN, "the log is closed")

    def _hand_in(self) -> None:
        turn, self._turn = self._turn, []
        if turn := [each for each in turn if not each.future.done()]:  # who gave up before it began published nothing
            self._work.put(turn)

    def _call(self) -> None:
        """Called on the thread: there is something in the outbox."""
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError as error:  # https://docs.python.org/3/library/asyncio-eventloop.html: it is closed
            raise _NoLoopError from error

    def _deliver(self) -> None:
        """Hand one post over; the next one has a turn of the event loop of its own."""
        if not self._outbox:
            return
        post = self._outbox[0]
        try:
            if post.begin is not None:
                self._epoch = post.begin[0]
                self._follower.begin(*post.begin)
            for step in post.steps:
                if isinstance(step, Forgotten):
                    self._follower.forget(*step)
                else:
                    self._follower.take(step)
        except Exception:
            _log.exception("what the file has could not be taken")
            ends = [each.through if isinstance(each, Forgotten) else each[-1].offset for each in post.steps]
            self._follower.begin(self._epoch, max(ends, default=0))  # a hole, and told
        finally:
            self._outbox.popleft()
            for future, result in post.results:
                if future.done():
                    continue  # it was cancelled
                if isinstance(result, Refusal):
                    future.set_exception(result)
                else:
                    future.set_result(result)


class _Worker:
    """What happens on the thread: it writes, looks what there is behind `seen`, and posts it. Never waits for the event loop."""

    def __init__(
        self,
        database: Database,
        work: queue.SimpleQueue[_Work],
        outbox: deque[_Post],
        call: Callable[[], None],
        opened: asyncio.Future[None],
        ended: asyncio.Future[None],
    ) -> None:
        self._database = database
        self._work, self._outbox, self._call = work, outbox, call
        self._opened: asyncio.Future[None] | None = opened  # until the follower has what was there at the beginning
        self._ended = ended
        self._goal = 0  # through which that is
        self._epoch, self._seen = "", 0
        self._behind = True  # there may be something behind `seen`
        self._busy_until = self._sweep_at = 0.0
        self._down: tuple[float, Refusal] | None = None  # until when it is not tried again, and why

    def run(self) -> None:
        """The life of the thread."""
        try:
            try:
                self._goal = self._database.head().offset
                while self._database.sweep():
                    pass
            except Refusal as refusal:
                self._fail(refusal)
            while self._serve():
                pass
        except _NoLoopError:
            pass
        finally:
            self._database.close()
            self._end()

    def _serve(self) -> bool:
        """Do what there is to do; False at the end."""
        publishes: list[_Publish] = []
        going_on = True
        try:
            work = self._work.get(timeout=_BRISK if self._behind or time.monotonic() < self._busy_until else _CALM)
            while True:
                if work is None:
                    going_on = False
                    self._database.patience = _CLOSING
                    break
                if isinstance(work, _Head):
                    self._append(publishes)
                    publishes = []
                    self._answer(work)
                else:
                    publishes += work
                work = self._work.get_nowait()
        except queue.Empty:
            pass
        self._append(publishes)
        self._look()
        return going_on

    def _append(self, publishes: Sequence[_Publish]) -> None:
        if not publishes:
            return
        self._busy_until = time.monotonic() + 1
        futures = [each.future for each in publishes]
        if self._down is not None and time.monotonic() < self._down[0]:
            self._refuse(futures, self._down[1])
            return
        try:
            appended = self._database.append([each.entry for each in publishes])
        except Refusal as refusal:
            self._fail(refusal)
            self._refuse(futures, refusal)
            return
        except BaseException:
            self._refuse(futures, _BROKEN)
            raise
        results = list(zip(futures, appended.offsets, strict=True))
        if appended.before == self._seen and appended.epoch == self._epoch and not self._behind:
            if appended.records:
                self._seen = appended.records[-1].offset
            self._post(steps=[appended.records] if appended.records else (), results=results)
            return
        self._behind = True  # others have written in between: theirs come first
        self._look()
        self._post(results=results)

    def _answer(self, asked: _Head) -> None:
        try:
            self._post(results=[(asked.future, self._database.head())])
        except Refusal as refusal:
            self._refuse([asked.future], refusal)

    def _look(self) -> None:
        """Post what there is behind `seen`, as far as the event loop keeps up; now and then let go of what is too old."""
        now = time.monotonic()
        if self._down is not None and now < self._down[0]:
            return
        try:
            if self._database.changed():
                self._behind = True
                self._busy_until = now + 1
            while self._behind and len(self._outbox) < _AHEAD:
                self._read()
            if now >= self._sweep_at:
                self._call()  # is there an event loop? A program may end its own without a word
                self._sweep_at = now if self._database.sweep() else now + _SWEEP
        except Refusal as refusal:
            if busy(refusal.__cause__):  # somebody begins or ends to use the file: that is over at once
                self._behind = True
            else:
                self._fail(refusal)
        else:
            self._down = None

    def _read(self) -> None:
        chunk = self._database.read(self._seen, self._epoch, followed=self._opened is None)
        begin = (chunk.epoch, chunk.floor) if chunk.epoch != self._epoch or chunk.floor > self._seen else None
        self._epoch, self._seen, self._behind = chunk.epoch, chunk.through, chunk.more
        opened: list[_Result] = []
        if self._opened is not None and (self._seen >= self._goal or not chunk.more):
            opened, self._opened = [(self._opened, None)], None
        if begin or chunk.steps or opened:
            self._post(begin, chunk.steps, opened)

    def _fail(self, refusal: Refusal) -> None:
        self._behind = True  # whether it is on the disk will be seen
        self._down = (time.monotonic() + _RETRY, refusal)
        if self._opened is not None:
            self._post(results=[(self._opened, refusal)])
            self._opened = None

    def _refuse(self, futures: Sequence[asyncio.Future[Any]], refusal: Refusal) -> None:
        self._post(results=[(future, Refusal(refusal.code, refusal.reason)) for future in futures])

    def _post(self, begin: tuple[str, int] | None = None, steps: Sequence[Step] = (), results: Sequence[_Result] = ()) -> None:
        self._outbox.append(_Post(begin, steps, results))
        self._call()

    def _end(self) -> None:
        """Nothing is left without an answer."""
        left: list[asyncio.Future[Any]] = [] if self._opened is None else [self._opened]
        while not self._work.empty():
            work = self._work.get_nowait()
            if isinstance(work, _Head):
                left.append(work.future)
            elif work is not None:
                left += [each.future for each in work]
        try:
            self._refuse(left, _CLOSED)
            self._post(results=[(self._ended, None)])
        except _NoLoopError:  # and nobody waits
            pass


def path_of(url: str) -> Path:
    """The file that `sqlite:///…` names.

    Raises:
        ConfigError: it names none.
    """
    parts = urlsplit(url)
    path = unquote(parts.path[1:])
    if parts.netloc or parts.query or parts.fragment or not path or path.endswith("/") or "\0" in path or path == ":memory:":
        raise ConfigError(
            f"{url!r} names no file: it is sqlite:///events.db in the working directory, sqlite:////var/lib/events.db anywhere,"
            " and memory:// to keep nothing"
        )
    return Path(path)
