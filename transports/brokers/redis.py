"""The broker of many processes: one Redis Stream, which every hub tails, and one script, which numbers and appends.

What Redis has acknowledged it may lose: it is restarted with an older state, flushed, or replaced by a replica that was behind.
Then offsets would be given a second time, and what is gone would be gone in silence. So nothing is published on behalf of a
process that has not looked, at this very server, whether what it has read is still there; if that is not certain, another epoch
begins, and everybody is told. Why that is enough: docs/explanation/decisions/0017-redis-may-lose.md. The scripts: `lua.py`.

This is the only file that knows Redis.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import re
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from ..errors import Code, ConfigError, MissingExtraError, Refusal
from ..position import Position
from . import Follower, Record, check_text, new_epoch
from .lua import JOIN, PUBLISH

try:
    from redis.asyncio.connection import AbstractConnection, Connection, parse_url
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import (
        AuthenticationError,
        AuthorizationError,
        ClusterError,
        InvalidResponse,
        MovedError,
        NoPermissionError,
        NoScriptError,
        OutOfMemoryError,
        ReadOnlyError,
        RedisError,
        ResponseError,
        TryAgainError,
    )
except ImportError as missing:
    raise MissingExtraError("redis", "redis") from missing

_log = logging.getLogger("transports")

_CONNECT = 2.0  # seconds for a connection and what is said first on it
_ANSWER = 3.0  # seconds for an answer, then nobody is there
_BLOCK = 1.0  # seconds a read waits at the server: so often an idle process looks whether the epoch is still the same
_REPLICATE = 1.0  # seconds for replicas to say that they have it
_LOOK = 10.0  # seconds between two looks at how Redis keeps what it is told
_CLOSE = 1.0  # seconds for what is under way when the hub closes
_CHUNK = 256  # entries of one answer: 16 MB at the most
_BATCH = 256  # publishes of one write
_BACKOFF, _BACKOFF_MOST = 0.1, 2.0  # seconds between two attempts to come back, at the most, doubled each time
_SKIP = 2**20, 2**31  # offsets left out after a restart: more than were acknowledged in the time for which anything is lost
_OLDEST = (6, 2)  # which knows XTRIM MINID

_NAME = re.compile(r"[A-Za-z0-9_.:\-]{1,64}", re.ASCII)
_PASSED_ON = {"db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"}
_PASSING = ("MISCONF", "NOREPLICAS", "BUSY", "UNBLOCKED", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN")
_STAYING = ("MISCONF", "NOREPLICAS", "BUSY")  # what is refused, while the connection is as good as before
_SHA = {script: hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest() for script in (PUBLISH, JOIN)}

_Command: TypeAlias = tuple[Any, ...]


class _Trouble(Exception):  # noqa: N818 - it may pass
    """Redis is not there, or not as it should be; `hopeless` when that does not change by itself."""

    def __init__(self, reason: str, *, hopeless: bool = False) -> None:
        super().__init__(reason)
        self.hopeless = hopeless


def _trouble(error: BaseException, secret: str = "") -> _Trouble:
    """What an exception of the library means. `secret`: what it must not say; some servers repeat what they do not understand."""
    if isinstance(error, _Trouble):
        return error
    if isinstance(error, InvalidResponse):
        return _Trouble("whoever answers there is not a Redis", hopeless=True)
    said = str(error).replace(secret, "…") if secret else str(error)
    reason = f"{type(error).__name__}: {said}".rstrip(": ")
    if isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError):
        return _Trouble(reason, hopeless=True)
    if isinstance(error.__context__, ssl.SSLCertVerificationError):
        return _Trouble(reason, hopeless=True)
    if isinstance(error, ResponseError):
        passing = isinstance(error, ReadOnlyError | OutOfMemoryError | ClusterError | TryAgainError | MovedError)
        return _Trouble(reason, hopeless=not passing and not str(error).startswith(_PASSING))
    return _Trouble(reason)


def _refusal(reason: str, retry: float | None = None) -> Refusal:
    """4504. What it says goes to whoever publishes, so it names no host."""
    return Refusal(Code.BROKER_DOWN, reason, retry=round(random.uniform(0.5, 1.5), 3) if retry is None else retry)


class _Settings(NamedTuple):
    """What the URL says."""

    name: str
    replicas: int  # that must have an event before it is acknowledged
    trusted: bool  # after a restart or a failover the same epoch goes on, if nobody has read what is not there
    where: str  # without the password
    connection: dict[str, Any]


def settings_from(url: str) -> _Settings:
    """Read `redis://[[user]:password@]host[:port][/db]`, `rediss://…` or `unix:///path`, with its `?name=…`.

    Raises:
        ConfigError: the URL makes no sense. The message has no password.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError("the broker's URL has a bracket that is not closed") from None
    where = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    asked = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    name, replicas, restart = (asked.pop(key, usual) for key, usual in _OWN.items())
    if unknown := sorted(asked.keys() - _PASSED_ON):
        raise ConfigError(f"{where}: there is no parameter {unknown[0]}; there are {', '.join(sorted({*_OWN, *_PASSED_ON}))}")
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: name: {name[:70]!r} does not do: 1 to 64 of A-Z a-z 0-9 _ . : -")
    if not (replicas.isascii() and replicas.isdigit()) or int(replicas) > 100:
        raise ConfigError(f"{where}: replicas: {replicas[:40]!r} is not a number from 0 to 100")
    if restart not in ("prove", "trust"):
        raise ConfigError(f"{where}: restart: {restart[:40]!r} is neither 'prove' nor 'trust'")
    if parts.scheme != "unix" and parts.path.strip("/") and not parts.path.strip("/").isdigit():
        raise ConfigError(f"{where}: the path is the number of a database")
    if parts.scheme == "unix" and not parts.path:
        raise ConfigError(f"{where}: a socket's path is missing, as in unix:///run/redis/redis.sock")
    try:
        connection = parse_url(urlunsplit(parts._replace(query=urlencode(asked))))
    except ValueError:
        raise ConfigError(f"{where}: the port, or a parameter, is not a number") from None
    return _Settings(name, int(replicas), restart == "trust", where, dict(connection))


_OWN = {"name": "everywire", "replicas": "0", "restart": "prove"}


class _Line:
    """One connection: commands go up in one write, answers come in their order. Once it is broken it is not used again."""

    def __init__(self, connection: AbstractConnection, secret: str) -> None:
        self._connection = connection
        self._secret = secret

    async def open(self) -> None:
        """Connect, and say who we are. Raises: _Trouble."""
        await self._bounded(self._connection.connect, _CONNECT)

    async def ask(self, *commands: _Command, patience: float = 0.0) -> list[Any]:
        """The answers, as Redis gives them; errors are among them. `patience`: seconds that it may let us wait on purpose.
        Raises: _Trouble.
        """
        answers: list[Any] = await self._bounded(lambda: self._ask(commands), _ANSWER + patience)
        return answers

    async def _ask(self, commands: Sequence[_Command]) -> list[Any]:
        if not self._connection.is_connected:  # it would connect by itself, to whomever
            raise _Trouble("the connection is closed")
        await self._connection.send_packed_command(self._connection.pack_commands(commands), check_health=False)
        return [await self._answer() for _ in commands]

    async def _answer(self) -> Any:
        try:
            return await self._connection.read_response(disable_decoding=True)
        except ResponseError as error:
            return error

    async def _bounded(self, act: Callable[[], Awaitable[Any]], patience: float) -> Any:
        try:
            async with asyncio.timeout(patience):
                return await act()
        except TimeoutError:
            await self.close()
            raise _Trouble(f"no answer within {patience:g} s") from None
        except (RedisError, OSError, _Trouble) as error:
            await self.close()
            raise _trouble(error, self._secret) from (None if self._secret and self._secret in str(error) else error)
        except asyncio.CancelledError:
            await self.close()
            raise

    async def close(self) -> None:
        """Close it; again does no harm."""
        with suppress(RedisError, OSError):
            await self._connection.disconnect(nowait=True)


class _Server(NamedTuple):
    """What a server says of itself."""

    run: str  # the name of this run of it
    durable: bool  # what it acknowledges is on disk
    alone: bool  # nobody has a copy of it, which may be behind and be started in its place
    promoted: bool  # it was a replica


async def _look(line: _Line) -> _Server:
    """Who is there? Raises: _Trouble, if it is nobody to publish at."""
    server, replication, config = await line.ask(("INFO", "server"), ("INFO", "replication"), ("CONFIG", "GET", "*append*"))
    for answer in (server, replication):
        if isinstance(answer, ResponseError):
            raise _trouble(answer)
    told = dict(row.split(":", 1) for row in (server + replication).decode(errors="replace").splitlines() if ":" in row)
    version = told.get("redis_version", "0")
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < _OLDEST:
        raise _Trouble(f"Redis {version} is too old, it takes {'.'.join(map(str, _OLDEST))}", hopeless=True)
    if told.get("role") != "master":
        raise _Trouble("it is a replica, which can only be read")
    alone, promoted = told.get("connected_slaves") == "0", told.get("master_replid2", "0").strip("0") != ""
    return _Server(told["run_id"], _durable(config), alone, promoted)


def _durable(config: Any) -> bool:
    """Whether what is acknowledged is on disk; not, where that is not said."""
    if isinstance(config, ResponseError):  # often not allowed where Redis is rented
        return False
    says = dict(zip(config[::2], config[1::2], strict=True))
    wanted = {b"appendonly": b"yes", b"appendfsync": b"always", b"no-appendfsync-on-rewrite": b"no"}
    return all(says.get(name) == value for name, value in wanted.items())


class _Entry(NamedTuple):
    """One entry of the stream."""

    id: bytes
    record: Record
    before: int  # the offset of the one before it


def _offset(entry: bytes) -> int:
    return int(entry.rpartition(b"-")[2])


def _entries(answer: Any) -> list[_Entry]:
    """The entries of an answer to XREAD, but for those that somebody else wrote."""
    found = []
    for id_, flat in answer[0][1] if answer else ():
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        with suppress(KeyError, ValueError):
            offset = _offset(id_)
            about = fields.get(b"a")
            record = Record(
                offset,
                fields[b"c"].decode(),
                int(fields[b"t"]) / 1e6,
                fields[b"d"],
                None if about is None else about.decode(),
            )
            found.append(_Entry(id_, record, int(fields.get(b"p", offset - 1))))
    return found


class _Pair:
    """Both connections to one run of Redis, from the moment it was looked at to the first trouble with either.

    Args:
        up: for what is asked.
        down: for what is read.
        server: what is at the other end of both.
        replicas: that must have what is written.
    """

    def __init__(self, up: _Line, down: _Line, server: _Server, replicas: int) -> None:
        self.up, self.down, self.server = up, down, server
        self.head = 0  # the highest offset when it began
        self.over: asyncio.Future[_Trouble] = asyncio.get_running_loop().create_future()
        self._replicas = replicas
        self._waiting: list[tuple[_Command, asyncio.Future[Any]]] = []
        self._sent: list[tuple[_Command, asyncio.Future[Any]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def ask(self, command: _Command) -> Any:
        """What Redis answers to `command`, which goes up with all others of this turn of the loop. While those before are
        under way it waits, and all that wait go together.

        Raises:
            Refusal: 4504.
        """
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, answered))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return await answered

    async def _write(self) -> None:
        try:
            while self._waiting and not self.over.done():
                batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
                self._sent = [each for each in batch if not each[1].done()]  # the others gave up before it was sent
                answers = await self._answers([command for command, _ in self._sent])
                for (_, answered), answer in zip(self._sent, answers, strict=True):
                    if not answered.done():
                        self._tell(answered, answer)
                self._sent = []
        except _Trouble as trouble:
            self.end(trouble)
        finally:
            self._writing = None
            self._give_up(self._sent, "no answer came: it may be kept or not")
            self._give_up(self._waiting, "Redis is away")
            self._sent, self._waiting = [], []

    def _give_up(self, asked: Sequence[tuple[_Command, asyncio.Future[Any]]], reason: str) -> None:
        for _, answered in asked:
            if not answered.done():
                answered.set_exception(_refusal(reason))

    async def _answers(self, commands: list[_Command]) -> list[Any]:
        wait = (("WAIT", self._replicas, int(_REPLICATE * 1000)),) if self._replicas else ()
        answers = await self.up.ask(*commands, *wait)
        unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:  # Redis forgets scripts when it is told to, and with a restart
            again = await self.up.ask(*(("EVAL", PUBLISH, *commands[place][2:]) for place in unknown), *wait)
            for place, answer in zip(unknown, again, strict=False):
                answers[place] = answer
            answers[len(commands) :] = again[len(unknown) :]
        if wait and not (isinstance(count := answers.pop(), int) and count >= self._replicas):
            return [_refusal(f"kept, but not by {self._replicas} replicas within {_REPLICATE:g} s")] * len(commands)
        return answers

    def _tell(self, answered: asyncio.Future[Any], answer: Any) -> None:
        if isinstance(answer, Refusal):
            answered.set_exception(Refusal(answer.code, answer.reason, retry=answer.retry))
        elif isinstance(answer, ResponseError):
            staying = isinstance(answer, OutOfMemoryError) or str(answer).startswith(_STAYING)
            trouble = _trouble(answer)
            if not staying and not trouble.hopeless:
                self.end(trouble)
            _log.warning("Redis refused an event: %s", trouble)
            full = isinstance(answer, OutOfMemoryError)
            answered.set_exception(_refusal("Redis has no memory left" if full else "Redis refuses it"))
        else:
            answered.set_result(answer)

    def end(self, trouble: _Trouble) -> None:
        """No more is asked; the first trouble is what counts."""
        if not self.over.done():
            self.over.set_result(trouble)

    async def finish(self) -> None:
        """Let what is under way come to its end, within bounds."""
        if self._writing is not None:
            await asyncio.wait({self._writing}, timeout=_CLOSE)

    async def close(self) -> None:
        """Close both connections; who waits for an answer is refused."""
        self.end(_Trouble("closed"))
        for line in (self.up, self.down):
            await line.close()
        if self._writing is not None:
            self._writing.cancel()
            with suppress(asyncio.CancelledError):
                await self._writing


class RedisBroker:
    """Offsets from a script in Redis, events from a stream in it. Works with Valkey.

    Args:
        url: see `settings_from`.
        history_total: events kept, over all channels.
        history_age: seconds they are kept.
        key_window: seconds for which a key is remembered.
        key_count: keys remembered at the most, oldest forgotten first.

    Raises:
        ConfigError: the URL makes no sense.
    """

    shared = True

    def __init__(
        self,
        url: str,
        *,
        history_total: int = 100_000,
        history_age: float = 300.0,
        key_window: float = 120.0,
        key_count: int = 100_000,
    ) -> None:
        self._settings = settings_from(url)
        self._bounds = (history_total, _ms(history_age), _ms(key_window), key_count)
        self._follower: Follower | None = None
        self._pair: _Pair | None = None  # while Redis is there, and what was read of it is still in it
        self._task: asyncio.Task[None] | None = None
        self._epoch = ""  # that the follower knows of
        self._offset = 0  # of the last record handed over
        self._id = b""  # and the id of its entry
        self._seen = 0  # the highest offset that came back from a publish, or was handed over
        self._entry = b""  # and the id of its entry
        self._moved: tuple[str, int] | None = None  # where a cluster says that our keys are

    async def tail(self, follower: Follower) -> None:
        """See `Broker.tail`.

        Raises:
            ConfigError: trying again will not help: a wrong password, not a Redis, too old, somebody else's keys, or a command
                that is not allowed.
            Refusal: 4504, when it cannot be reached, or is loading, full, or a replica.
        """
        self._follower, self._epoch = follower, ""
        try:
            pair = await self._arrive()
            while self._offset < pair.head and await self._take_more(pair, None):  # what comes meanwhile is not waited for
                pass
        except _Trouble as trouble:
            await self._leave()
            told = f"{self._settings.where}: {trouble}"
            if trouble.hopeless:
                raise ConfigError(told) from trouble
            _log.warning("Redis cannot be used yet: %s", told)
            raise _refusal("Redis cannot be used yet") from trouble
        self._task = asyncio.create_task(self._follow(pair))

    async def publish(self, channel: str, data: bytes, key: str | None, about: str | None = None) -> int:
        """See `Broker.publish`."""
        check_text(channel, key, about)
        pair = self._there()
        epoch, names = self._epoch, self._names(self._epoch)
        told = (channel, data, "" if about is None else f"+{about}", "" if key is None else f"+{key}")
        asked = (epoch, pair.server.run, self._seen, *self._bounds, *told)
        entry: bytes | None = await pair.ask(("EVALSHA", _SHA[PUBLISH], len(names), *names, *asked))
        if entry is None:
            pair.end(_Trouble("its log is not the one that was read"))
            raise _refusal("Redis has another log, and has to be read first")
        offset = _offset(entry)
        if epoch == self._epoch and offset > self._seen:
            self._seen, self._entry = offset, entry
        return offset

    async def head(self) -> Position:
        """See `Broker.head`."""
        pair = self._there()
        epoch, head, run = await pair.ask(("HMGET", self._names()[0], "epoch", "head", "run"))
        if epoch is None or run is None or run.decode() != pair.server.run:
            raise _refusal("Redis has another log, and has to be read first")
        return Position(epoch.decode(), int(head))

    async def close(self) -> None:
        """See `Broker.close`."""
        if self._pair is not None:
            await self._pair.finish()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self._leave()
        self._follower = None

    def _there(self) -> _Pair:
        if self._pair is None or self._pair.over.done():
            raise _refusal("Redis is away")
        return self._pair

    def _names(self, epoch: str = "") -> tuple[str, str, str, str]:
        """All in one slot of a cluster."""
        start = f"everywire:{{{self._settings.name}}}"
        return f"{start}:state", f"{start}:log:{epoch}", f"{start}:keys", f"{start}:offsets"

    async def _follow(self, pair: _Pair) -> None:
        """Hand over what comes, and come back from whatever happens."""
        while True:
            trouble = await self._until_trouble(pair)
            await self._leave()
            _log.warning("Redis is away: %s: %s", self._settings.where, trouble)
            pair = await self._return(str(trouble))
            _log.warning("Redis is back: %s", self._settings.where)

    async def _return(self, told: str) -> _Pair:
        most = _BACKOFF
        while True:
            await asyncio.sleep(random.uniform(0, most))
            most = min(2 * most, _BACKOFF_MOST)
            try:
                return await self._arrive()
            except _Trouble as trouble:
                await self._leave()
                if str(trouble) != told:
                    told = str(trouble)
                    _log.warning("Redis is still away: %s: %s", self._settings.where, told)

    async def _until_trouble(self, pair: _Pair) -> _Trouble:
        reading = asyncio.create_task(self._read_on(pair))
        try:
            await asyncio.wait({reading, pair.over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                pair.end(await reading)
        return pair.over.result()

    async def _read_on(self, pair: _Pair) -> _Trouble:
        loop = asyncio.get_running_loop()
        look_at = loop.time() + _LOOK
        try:
            while True:
                await self._take_more(pair, _BLOCK)
                if loop.time() >= look_at:
                    look_at = loop.time() + _LOOK
                    if await _look(pair.down) != pair.server:
                        return _Trouble("it keeps what it is told in another way than before, or has or has lost replicas")
        except _Trouble as trouble:
            return trouble
        except Exception:  # whatever it is, the readers of this process must not be left alone
            _log.exception("what Redis has could not be taken")
            return _Trouble("what it has could not be taken")

    async def _arrive(self) -> _Pair:
        """Connect, learn which log there is, and begin where the last one ended. Raises: _Trouble."""
        await self._leave()
        try:
            return await self._connect()
        except _Moved as moved:
            self._moved = moved.where
        try:
            return await self._connect()
        finally:
            self._moved = None

    async def _connect(self) -> _Pair:
        up, down = self._line(), self._line()
        try:
            for line in (up, down):
                await line.open()
            server = await _look(up)
            if (await _look(down)).run != server.run:
                raise _Trouble("two connections ended at two servers")
            pair = _Pair(up, down, server, self._settings.replicas)
            epoch, pair.head = await self._join(pair)
            await self._begin(pair, epoch, pair.head)
        except BaseException:
            for line in (up, down):
                await line.close()
            raise
        self._pair = pair
        return pair

    def _line(self) -> _Line:
        said = dict(self._settings.connection)
        kind = said.pop("connection_class", Connection)
        if self._moved is not None:
            said |= {"host": self._moved[0] or said.get("host", "localhost"), "port": self._moved[1]}
        said |= {"protocol": 2, "socket_timeout": None, "socket_connect_timeout": _CONNECT, "retry": Retry(NoBackoff(), 0)}
        return _Line(kind(**said), said.get("password") or "")

    async def _join(self, pair: _Pair) -> tuple[str, int]:
        """The epoch and its head."""
        server, names = pair.server, self._names()
        epoch = new_epoch()
        proven, trusted = server.durable and not server.promoted, self._settings.trusted
        flags = (int(server.durable and server.alone), int(proven), int(trusted))
        asked = (server.run, epoch, *flags, random.randint(*_SKIP), self._epoch, self._seen, self._entry, names[1])
        (answer,) = await pair.up.ask(("EVAL", JOIN, 3, names[0], *names[2:], *asked))
        if isinstance(answer, MovedError):
            raise _Moved(answer.host, answer.port)
        if isinstance(answer, ResponseError):
            raise _trouble(answer)
        known, head, why = (part.decode() for part in answer)
        if why:
            _log.warning("Redis: a new epoch begins, %s: %s", known, why)
        return known, int(head)

    async def _begin(self, pair: _Pair, epoch: str, head: int) -> None:
        """Tell the follower where it goes on, and hand over the first of it."""
        anew = epoch != self._epoch
        entries = await self._read(pair, None, epoch, b"" if anew else self._id)
        assert self._follower is not None  # noqa: S101 - or nobody would come
        if anew:
            self._epoch, self._id, self._offset = epoch, b"", entries[0].before if entries else head
            self._seen, self._entry = self._offset, b""
            self._follower.begin(epoch, self._offset)
        elif not entries and head > self._offset:
            self._offset, self._seen, self._entry = head, head, b""
            self._follower.begin(epoch, head)
        self._hand_over(entries)

    async def _take_more(self, pair: _Pair, block: float | None) -> bool:
        """Hand over what there is, or what comes within `block` seconds; whether there was any. Raises: _Trouble."""
        entries = await self._read(pair, block, self._epoch, self._id)
        self._hand_over(entries)
        return bool(entries)

    def _hand_over(self, entries: Sequence[_Entry]) -> None:
        if self._follower is None:
            return
        last, start = self._offset, 0
        for place, entry in enumerate(entries):
            if entry.before > last:  # trimmed; or, in the midst of others, deleted by hand
                self._take(entries[start:place])
                self._follower.begin(self._epoch, entry.before)
                start = place
            last = entry.record.offset
        self._take(entries[start:])

    def _take(self, entries: Sequence[_Entry]) -> None:
        if not entries or self._follower is None:
            return
        last = entries[-1].record.offset
        self._id = entries[-1].id
        if last > self._seen:
            self._seen, self._entry = last, self._id
        self._follower.take([entry.record for entry in entries])
        self._offset = last  # if it could not be taken, that is a hole, and told when it goes on

    async def _read(self, pair: _Pair, block: float | None, epoch: str, after: bytes) -> list[_Entry]:
        """The entries behind the one with the id `after`. Raises: _Trouble, also when another epoch has begun."""
        state, log, *_ = self._names(epoch)
        blocking = () if block is None else ("BLOCK", _ms(block))
        while True:
            read = ("XREAD", "COUNT", _CHUNK, *blocking, "STREAMS", log, after or b"0-0")
            answers = await pair.down.ask(("HMGET", state, "epoch", "run"), read, patience=block or 0.0)
            for answer in answers:
                if isinstance(answer, ResponseError):
                    raise _trouble(answer)
            if answers[0] != [epoch.encode(), pair.server.run.encode()]:
                raise _Trouble("its log is not the one that was read")
            entries = _entries(answers[1])
            if entries or not answers[1]:
                return entries
            after = answers[1][0][1][-1][0]  # all of it is somebody else's: what is ours comes behind it

    async def _leave(self) -> None:
        pair, self._pair = self._pair, None
        if pair is not None:
            await pair.close()


class _Moved(_Trouble):
    """A cluster keeps our keys at another of its servers."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__("the cluster has our keys elsewhere")
        self.where = host, port


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))
