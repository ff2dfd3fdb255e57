"""Redis is restarted, killed, flushed, restored, replaced, full: nothing is lost in silence, no offset given twice."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from tests.redis_server import EVERY_WRITE, NOTHING_KEPT, RedisServer, redis_server
from tests.stores import Followed
from transports import Code, ConfigError, Hub, Options, Refusal
from transports.asgi import Endpoints
from transports.brokers import redis
from transports.brokers.redis import RedisBroker, settings_from
from transports.testing import serving, until

EACH_SECOND = "--save '' --appendonly yes --appendfsync everysec"
NOW_AND_THEN = "--save 3600 1 --appendonly no"


class Worker:
    """A broker, and what it has handed over. What it published is in `published`, by epoch."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.broker = RedisBroker(url, **settings)
        self.followed = Followed()
        self.published: dict[str, dict[int, str]] = {}
        self.ever: list[tuple[str, int, bytes]] = []  # all that was ever handed over
        take = self.followed.take

        def remember(records: Any) -> None:
            self.ever += [(self.followed.epoch, record.offset, record.data) for record in records]
            take(records)

        self.followed.take = remember

    async def publish(self, data: bytes, *, channel: str = "a", key: str | None = None) -> int:
        epoch = self.followed.epoch
        offset = await self.broker.publish(channel, data, key)
        self.published.setdefault(epoch, {})[offset] = channel
        return offset

    async def insist(self, data: bytes, key: str) -> int:
        """Publish until it is kept, as clients do."""
        async with asyncio.timeout(30):
            while True:
                try:
                    return await self.publish(data, key=key)
                except Refusal as refusal:
                    if refusal.code is not Code.BROKER_DOWN:
                        raise
                    await asyncio.sleep(0.01)

    async def has(self, offset: int) -> None:
        await until(lambda: self.followed.through >= offset)

    async def away(self) -> None:
        await until(lambda: self.broker._pair is None)

    async def back(self) -> None:
        await until(lambda: self.broker._pair is not None)


@pytest.fixture
async def worker() -> AsyncIterator[Callable[..., Any]]:
    async with AsyncExitStack() as stack:

        async def opened(url: str, **settings: Any) -> Worker:
            one = Worker(url, **settings)
            await one.broker.tail(one.followed)
            stack.push_async_callback(one.broker.close)
            return one

        yield opened


class Gate:
    """A way to a Redis that can be closed, and lead to another afterwards."""

    def __init__(self) -> None:
        self.port = 0
        self._target = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def open(self, target: RedisServer) -> None:
        self._target = target.port
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await until(lambda: not self._writers)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, there_writer}
        await asyncio.gather(self._copy(reader, there_writer), self._copy(there_reader, writer))
        self._writers -= {writer, there_writer}

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    gate = Gate()
    yield gate
    await gate.close()


# ------------------------------------------------------------------------------------------------ what Redis has is all there


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_restart_of_a_redis_that_writes_everything_down_loses_nothing(tmp_path: Path, worker: Any, how: str) -> None:
    async with redis_server(tmp_path, EVERY_WRITE) as server:
        both = [await worker(server.url), await worker(server.url)]
        await both[0].publish(b"before")
        publishing = [
            asyncio.create_task(one.insist(b"%d %d" % (place, n), f"{place}.{n}"))
            for n in range(100)
            for place, one in enumerate(both)
        ]
        await until(lambda: sum(task.done() for task in publishing) > 5)
        await getattr(server, how)()
        await server.start()
        offsets = await asyncio.gather(*publishing)
        for one in both:
            await one.has(max(offsets))
            assert len(one.followed.epochs) == 1
            assert one.followed.gone == 0
            assert [data for _, _, data in one.ever].count(b"before") == 1
            assert sorted(data for _, _, data in one.ever[1:]) == sorted(b"%d %d" % (p, n) for n in range(100) for p in (0, 1))
        assert both[0].ever == both[1].ever


async def test_scripts_that_are_forgotten_are_told_again(tmp_path: Path, worker: Any) -> None:
    async with redis_server(tmp_path) as server:
        one = await worker(server.url)
        for _ in range(2):
            await server.ask("SCRIPT", "FLUSH")
            offsets = await asyncio.gather(*(one.publish(b"%d" % n) for n in range(3)))
            assert offsets == sorted(set(offsets))
        await one.has(6)
        assert [offset for _, offset, _ in one.ever] == [1, 2, 3, 4, 5, 6]


async def test_a_cut_loses_nothing(tmp_path: Path, worker: Any, gate: Gate) -> None:
    async with redis_server(tmp_path) as server:
        await gate.open(server)
        here, there = await worker(gate.url), await worker(server.url)
        await here.publish(b"1")
        await here.has(1)
        await gate.close()
        await here.away()
        with pytest.raises(Refusal, match="4504"):
            await here.publish(b"no")
        await there.publish(b"2")
        await gate.open(server)
        await here.back()
        await here.publish(b"3")
        await here.has(3)
        assert [data for _, _, data in here.ever] == [b"1", b"2", b"3"]
        assert here.followed.gone == 0
        assert len(here.followed.epochs) == 1


async def test_what_was_trimmed_in_the_meantime_is_told_and_nothing_else(tmp_path: Path, worker: Any, gate: Gate) -> None:
    async with redis_server(tmp_path) as server:
        await gate.open(server)
        here, there = await worker(gate.url), await worker(server.url, history_total=200)
        await there.publish(b"0")
        await here.has(1)
        await gate.close()
        await here.away()
        await asyncio.gather(*(there.publish(b"%d" % n) for n in range(1000)))
        await gate.open(server)
        await here.has(1001)
        assert here.followed.lacks(there.published[here.followed.epoch]) == set()
        (first, *_), *_ = await server.ask("XRANGE", f"everywire:{{everywire}}:log:{here.followed.epoch}", "-", "+", "COUNT", 1)
        assert here.followed.gone == int(first.rpartition(b"-")[2]) - 1 > 1, "what is kept was not told to be gone"
        late = await worker(server.url)
        assert (late.followed.gone, len(late.followed.epochs)) == (here.followed.gone, 1)
        assert late.followed.records == here.followed.records[1:]


async def test_all_that_is_too_old_is_told_at_a_start(tmp_path: Path, worker: Any) -> None:
    async with redis_server(tmp_path) as server:
        one = await worker(server.url)
        await one.publish(b"1")
        await one.publish(b"2")
        await one.has(2)
        await server.ask("DEL", f"everywire:{{everywire}}:log:{one.followed.epoch}")  # as when it expires
        late = await worker(server.url)
        assert (late.followed.epoch, late.followed.gone, late.followed.records) == (one.followed.epoch, 2, [])
        assert await late.publish(b"3") == 3
        await one.has(3)
        assert one.followed.gone == 0


# ------------------------------------------------------------------------------------------- what Redis has may not be all there


@pytest.mark.parametrize("options", [EACH_SECOND, NOW_AND_THEN, NOTHING_KEPT], ids=["each second", "now and then", "nothing"])
async def test_a_restart_of_another_redis_is_told_to_everybody(tmp_path: Path, worker: Any, options: str) -> None:
    async with redis_server(tmp_path, options) as server:
        both = [await worker(server.url), await worker(server.url)]
        for one in both:
            await one.has(await one.publish(b"1"))
        await server.kill()
        await server.start()
        offsets = [await one.insist(b"2", f"{place}") for place, one in enumerate(both)]
        for one in both:
            await one.has(max(offsets))
            assert len(one.followed.epochs) == 2
            assert [record.data for record in one.followed.records] == [b"2", b"2"]
        assert both[0].followed.epochs == both[1].followed.epochs


async def test_a_flushed_redis_is_told_to_everybody(tmp_path: Path, worker: Any) -> None:
    async with redis_server(tmp_path, EVERY_WRITE) as server:
        both = [await worker(server.url), await worker(server.url)]
        for one in both:
            await one.has(await one.publish(b"1"))
        await server.ask("FLUSHALL")
        offset = await both[0].insist(b"2", "k")
        for one in both:
            await until(lambda one=one: len(one.followed.epochs) == 2)
            await one.has(offset)
            assert [record.data for record in one.followed.records] == [b"2"]
        assert both[0].followed.epochs == both[1].followed.epochs


@pytest.mark.parametrize("restart", ["prove", "trust"])
async def test_a_redis_with_an_older_state_is_told_to_everybody(tmp_path: Path, worker: Any, restart: str) -> None:
    async with redis_server(tmp_path, NOW_AND_THEN) as server:
        both = [await worker(f"{server.url}?restart={restart}"), await worker(f"{server.url}?restart={restart}")]
        await both[0].publish(b"1")
        await server.ask("SAVE")
        for one in both:
            await one.has(await one.publish(b"2"))
        await server.kill()
        await server.start()
        offset = await both[1].insist(b"3", "k")
        for one in both:
            await until(lambda one=one: len(one.followed.epochs) == 2)
            await one.has(offset)
            assert [record.data for record in one.followed.records] == [b"3"]


async def test_who_has_seen_less_comes_first_and_gives_no_offset_twice(tmp_path: Path, worker: Any, gate: Gate) -> None:
    async with redis_server(tmp_path, NOW_AND_THEN) as server:
        await gate.open(server)
        seen = await worker(f"{gate.url}?restart=trust")
        await seen.publish(b"1")
        await server.ask("SAVE")
        await seen.has(await seen.publish(b"2"))
        await gate.close()
        await server.kill()
        await server.start()
        fresh = await worker(f"{server.url}?restart=trust")
        assert fresh.followed.epochs == seen.followed.epochs, "it has been told to trust, and knows of nothing that is missing"
        for n in range(5):
            await fresh.publish(b"new %d" % n)
        await fresh.has(max(fresh.published[fresh.followed.epoch]))
        first = fresh.followed.epoch
        await gate.open(server)
        await seen.back()
        await until(lambda: len(fresh.followed.epochs) == 2)
        assert fresh.followed.epochs == seen.followed.epochs
        assert set(seen.published[first]) & set(fresh.published[first]) == {*()}
        offsets = {(epoch, offset): data for one in (fresh, seen) for epoch, offset, data in one.ever}
        assert len(offsets) == len({(epoch, offset, data) for one in (fresh, seen) for epoch, offset, data in one.ever})


async def test_a_trusted_restart_that_lost_nothing_goes_on(tmp_path: Path, worker: Any) -> None:
    async with redis_server(tmp_path, NOW_AND_THEN) as server:
        one = await worker(f"{server.url}?restart=trust")
        await one.has(await one.publish(b"1"))
        await server.stop()  # which saves
        await server.start()
        await one.has(await one.insist(b"2", "k"))
        assert len(one.followed.epochs) == 1
        assert one.followed.gone == 0
        late = await worker(server.url)
        assert late.followed.records == one.followed.records
        assert late.followed.gone == 0, "offsets left out are not lost"


@asynccontextmanager
async def _replicated(tmp_path: Path, primary: RedisServer | Gate) -> AsyncIterator[RedisServer]:
    (tmp_path / "second").mkdir()
    async with redis_server(tmp_path / "second", f"{EVERY_WRITE} --replicaof 127.0.0.1 {primary.port}") as replica:
        await replica.says(b"master_link_status:up", "INFO", "replication")
        yield replica


async def test_a_replica_that_was_behind_is_told_to_everybody(tmp_path: Path, worker: Any, gate: Gate) -> None:
    async with redis_server(tmp_path, EVERY_WRITE) as primary, _replicated(tmp_path, primary) as replica:
        await gate.open(primary)
        both = [await worker(gate.url), await worker(gate.url)]
        offset = await both[0].publish(b"kept")
        await replica.says(b"kept", "XRANGE", _log_of(both[0]), "-", "+")
        replica.pause()
        offset = await both[0].publish(b"lost")
        for one in both:
            await one.has(offset)
        await gate.close()
        await primary.kill()
        replica.go_on()
        await replica.ask("REPLICAOF", "NO", "ONE")
        await gate.open(replica)
        offset = await both[1].insist(b"after", "k")
        for one in both:
            await until(lambda one=one: len(one.followed.epochs) == 2)
            await one.has(offset)
            assert [record.data for record in one.followed.records] == [b"after"]
        assert both[0].followed.epochs == both[1].followed.epochs


async def test_a_replica_that_was_behind_and_is_restarted_as_a_primary_is_told(
    tmp_path: Path, worker: Any, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "_LOOK", 0.1)
    between = Gate()
    async with redis_server(tmp_path, EVERY_WRITE) as primary:
        await between.open(primary)
        await gate.open(primary)
        one = await worker(gate.url)
        await one.publish(b"kept")
        async with _replicated(tmp_path, between) as replica:
            await primary.says(b"'0'", "HMGET", "everywire:{everywire}:state", "durable")
            await replica.says(b"'0'", "HMGET", "everywire:{everywire}:state", "durable")
            await between.close()
            await one.has(await one.insist(b"lost", "k"))
            await gate.close()
            await primary.kill()
            replica.options = EVERY_WRITE
            await replica.stop()
            await replica.start()
            await gate.open(replica)
            fresh = await worker(replica.url)  # who has seen nothing
            assert fresh.followed.epoch != one.followed.epoch
            await until(lambda: one.followed.epoch == fresh.followed.epoch)


async def test_replicas_that_must_have_it_make_a_trusted_failover_lossless(tmp_path: Path, worker: Any, gate: Gate) -> None:
    async with redis_server(tmp_path, NOTHING_KEPT) as primary, _replicated(tmp_path, primary) as replica:
        await gate.open(primary)
        one = await worker(f"{gate.url}?replicas=1&restart=trust")
        await asyncio.gather(*(one.publish(b"%d" % n) for n in range(50)))
        await gate.close()
        await primary.kill()
        await replica.ask("REPLICAOF", "NO", "ONE")
        await gate.open(replica)
        async with asyncio.timeout(30):
            reason = ""
            while "replicas" not in reason:  # it is there, and nobody replicates from it
                with pytest.raises(Refusal, match="4504") as refused:
                    await one.publish(b"after", key="k")
                reason = refused.value.reason
                await asyncio.sleep(0.01)
        await until(lambda: one.ever[-1][2] == b"after")
        assert len(one.followed.epochs) == 1
        assert one.followed.lacks(one.published[one.followed.epoch]) == set()
        assert [data for _, _, data in one.ever][:50] == [b"%d" % n for n in range(50)]


async def test_an_event_that_no_replica_has_is_not_acknowledged(
    tmp_path: Path, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "_REPLICATE", 0.05)
    async with redis_server(tmp_path) as server:
        one = await worker(f"{server.url}?replicas=1")
        with pytest.raises(Refusal, match=r"4504.*replicas"):
            await one.publish(b"1", key="k")
        with pytest.raises(Refusal, match=r"4504.*replicas"):
            await one.publish(b"1", key="k")
        await one.has(1)
        assert len(one.ever) == 1


def _log_of(one: Worker) -> str:
    return f"everywire:{{everywire}}:log:{one.followed.epoch}"


# -------------------------------------------------------------------------------------------------- what Redis does not answer


async def test_who_publishes_at_a_mute_redis_is_told_soon(tmp_path: Path, worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis, "_ANSWER", 0.3)
    monkeypatch.setattr(redis, "_CONNECT", 0.3)
    async with redis_server(tmp_path) as server:
        one = await worker(server.url)
        await one.publish(b"1")
        server.pause()
        try:
            with pytest.raises(Refusal, match=r"4504.*kept or not") as unknown:
                await asyncio.wait_for(one.publish(b"2", key="k"), 30)
            assert unknown.value.retry is not None
            await one.away()
            with pytest.raises(Refusal, match=r"4504.*away"):
                await one.publish(b"no")
            with pytest.raises(Refusal, match="4504"):
                await one.broker.head()
        finally:
            server.go_on()
        second = await one.insist(b"2", "k")
        await one.has(await one.insist(b"3", "l"))
        assert [data for _, _, data in one.ever] == [b"1", b"2", b"3"]
        assert second == 2


async def test_a_silent_cut_is_noticed_by_who_only_reads(tmp_path: Path, worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis, "_ANSWER", 0.3)
    monkeypatch.setattr(redis, "_BLOCK", 0.1)
    async with redis_server(tmp_path) as server:
        one = await worker(server.url)
        server.pause()
        await one.away()
        server.go_on()
        await one.back()


async def test_a_publish_that_is_given_up_breaks_no_other(tmp_path: Path, worker: Any) -> None:
    async with redis_server(tmp_path) as server:
        one = await worker(server.url)
        tasks = [asyncio.create_task(one.publish(b"%d" % n)) for n in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        kept = await asyncio.gather(*tasks[1::2])
        end = await one.publish(b"end")
        await one.has(end)
        assert {offset for _, offset, _ in one.ever} >= {*kept, end}


async def test_who_closes_lets_nobody_wait(tmp_path: Path) -> None:
    async with redis_server(tmp_path) as server:
        one = Worker(server.url)
        await one.broker.tail(one.followed)
        tasks = [asyncio.create_task(one.publish(b"%d" % n)) for n in range(600)]
        await asyncio.sleep(0)
        await one.broker.close()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(answer, int | Refusal) for answer in answers)
        length = await server.ask("XLEN", _log_of(one))
        assert length == sum(isinstance(answer, int) for answer in answers)
        with pytest.raises(Refusal, match="4504"):
            await one.publish(b"no")


async def test_who_waits_for_a_mute_redis_while_the_hub_closes_is_told(
    tmp_path: Path, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "_CLOSE", 0.05)
    async with redis_server(tmp_path) as server:
        one = await worker(server.url)
        server.pause()
        asked = [asyncio.create_task(one.publish(b"1"))]
        await until(lambda: one.broker._pair._sent)
        asked.append(asyncio.create_task(one.publish(b"2")))
        await asyncio.sleep(0)
        await one.broker.close()
        answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 30)
        assert [type(answer) for answer in answers] == [Refusal, Refusal]
        server.go_on()


# ----------------------------------------------------------------------------------------------------------- what Redis refuses


async def _fails(url: str) -> Exception:
    """What a start raises."""
    broker = RedisBroker(url)
    try:
        with pytest.raises((ConfigError, Refusal)) as failed:
            await broker.tail(Followed())
        return failed.value
    finally:
        await broker.close()


async def test_a_wrong_password_ends_the_start_and_is_not_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with redis_server(tmp_path, "--save '' --requirepass opensesame") as server:
        for user in ("", ":hushhush@", "somebody:hushhush@"):
            failed = await _fails(server.url.replace("//", f"//{user}"))
            assert isinstance(failed, ConfigError)
            assert "hushhush" not in f"{failed} {failed.__cause__} {caplog.text}"
        one = Worker(server.url.replace("//", "//:opensesame@"))
        await one.broker.tail(one.followed)
        assert await one.publish(b"1") == 1
        await one.broker.close()


async def test_a_password_that_the_server_repeats_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"-ERR unknown command 'AUTH', with args beginning with: 'hushhush'\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        failed = await _fails(f"redis://:hushhush@127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert "unknown command 'AUTH'" in str(failed)
        assert "hushhush" not in "".join(traceback.format_exception(failed)) + caplog.text


async def test_who_is_no_redis_ends_the_start() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        failed = await _fails(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert isinstance(failed, ConfigError)
        assert "not a Redis" in str(failed)


async def test_somebody_elses_key_ends_the_start_and_is_left_alone(tmp_path: Path) -> None:
    async with redis_server(tmp_path) as server:
        await server.ask("SET", "everywire:{everywire}:state", "mine")
        failed = await _fails(server.url)
        assert isinstance(failed, ConfigError)
        assert "WRONGTYPE" in str(failed)
        assert await server.ask("GET", "everywire:{everywire}:state") == b"mine"


async def test_a_command_that_is_not_allowed_ends_the_start(tmp_path: Path) -> None:
    async with redis_server(tmp_path, "--save '' --user live on >secret ~everywire:* +@all -xread") as server:
        failed = await _fails(server.url.replace("//", "//live:secret@"))
        assert isinstance(failed, ConfigError)
        assert "xread" in str(failed)


async def test_what_is_rented_may_keep_its_configuration_to_itself(tmp_path: Path, worker: Any) -> None:
    rights = "+info +eval +evalsha +hmget +hget +hset +hdel +xadd +xread +xrange +xtrim +zadd +zcard +zrange +zrem"
    rights += " +time +del +pexpire +wait"
    options = f"--save '' --user live on >secret ~everywire:* {rights}"
    async with redis_server(tmp_path, options) as server:
        one = await worker(server.url.replace("//", "//live:secret@"))
        await one.has(await one.publish(b"1", key="k"))
        assert await one.publish(b"1", key="k") == 1


async def test_a_redis_that_is_away_or_a_replica_is_4504_at_the_start(tmp_path: Path) -> None:
    async with redis_server(tmp_path) as primary, _replicated(tmp_path, primary) as replica:
        failed = await _fails(replica.url)
        assert isinstance(failed, Refusal)
        assert "replica" in str(failed.__cause__)
        await primary.kill()
        failed = await _fails(primary.url)
        assert isinstance(failed, Refusal)
        assert failed.code is Code.BROKER_DOWN


async def test_a_start_that_failed_can_be_tried_again(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    hub = Hub(Options(channels=("*",), broker=server.url))
    with pytest.raises(Refusal, match="4504"):
        await hub.open()
    try:
        await server.start()
        assert await hub.publish("a", 1)
    finally:
        await hub.close()
        await server.kill()


async def test_a_full_redis_refuses_events_and_takes_them_when_there_is_room(tmp_path: Path, worker: Any) -> None:
    async with redis_server(tmp_path) as server:
        one = await worker(server.url)
        await one.publish(b"1")
        await server.ask("CONFIG", "SET", "maxmemory", "1mb")
        with pytest.raises(Refusal, match=r"4504.*memory"):
            await one.publish(b"2")
        late = await worker(server.url)
        assert [record.data for record in late.followed.records] == [b"1"], "reading goes on"
        await server.ask("CONFIG", "SET", "maxmemory", "0")
        assert await one.publish(b"3") == 2
        assert len(one.followed.epochs) == 1


async def test_who_becomes_a_replica_is_left(tmp_path: Path, worker: Any) -> None:
    async with redis_server(tmp_path) as primary, _replicated(tmp_path, primary) as replica:
        one = await worker(f"{primary.url}?restart=trust")
        await one.publish(b"1")
        await replica.ask("REPLICAOF", "NO", "ONE")
        await primary.ask("REPLICAOF", "127.0.0.1", replica.port)
        with pytest.raises(Refusal, match="4504"):
            await one.publish(b"2")
        await one.away()


# --------------------------------------------------------------------------------------------------------------- ways to a Redis


async def test_many_hubs_share_one_redis(tmp_path: Path, worker: Any) -> None:
    async with redis_server(tmp_path) as server:
        shop, news, other = [await worker(f"{server.url}{rest}") for rest in ("?name=shop", "?name=news", "/3?name=shop")]
        assert [await one.publish(b"1") for one in (shop, shop, news, other)] == [1, 2, 1, 1]
        assert len({one.followed.epoch for one in (shop, news, other)}) == 3
        await shop.has(2)
        assert len(shop.ever) == 2


async def test_a_socket_and_tls_lead_there_too(tmp_path: Path, worker: Any) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    files = {name: tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem")}
    authority.cert_pem.write_to_path(files["ca.pem"])
    issued.cert_chain_pems[0].write_to_path(files["cert.pem"])
    issued.private_key_pem.write_to_path(files["key.pem"])
    tls = RedisServer(tmp_path).port
    options = (
        f"--save '' --unixsocket {tmp_path}/socket --tls-port {tls} --tls-auth-clients no --tls-cert-file {files['cert.pem']}"
    )
    async with redis_server(tmp_path, f"{options} --tls-key-file {files['key.pem']} --tls-ca-cert-file {files['ca.pem']}"):
        by_socket = await worker(f"unix://{tmp_path}/socket")
        by_tls = await worker(f"rediss://127.0.0.1:{tls}?ssl_ca_certs={files['ca.pem']}")
        await by_tls.has(await by_socket.publish(b"1"))
        assert by_tls.followed.epochs == by_socket.followed.epochs
        assert isinstance(await _fails(f"rediss://127.0.0.1:{tls}"), ConfigError), "a certificate that nobody vouches for"


async def test_a_cluster_says_where_our_keys_are(tmp_path: Path, worker: Any) -> None:
    (tmp_path / "second").mkdir()
    cluster = "--save '' --cluster-enabled yes"
    async with redis_server(tmp_path, cluster) as first, redis_server(tmp_path / "second", cluster) as second:
        slot = await first.ask("CLUSTER", "KEYSLOT", "everywire:{everywire}:state")
        await second.ask("CLUSTER", "ADDSLOTS", slot)
        await first.ask("CLUSTER", "ADDSLOTS", *({*range(16384)} - {slot}))
        await first.ask("CLUSTER", "MEET", "127.0.0.1", second.port)
        for each in (first, second):
            await each.says(b"cluster_state:ok", "CLUSTER", "INFO")
        one = await worker(first.url)
        await one.has(await one.publish(b"1", key="k"))
        assert await second.ask("XLEN", _log_of(one)) == 1


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://:hushhush@host:port", "number"),
        ("redis://:hushhush@host/db", "database"),
        ("redis://:hushhush@host?nmae=x", "no parameter nmae"),
        ("redis://:hushhush@host?name={x}", "name"),
        ("redis://:hushhush@host?replicas=-1", "replicas"),
        ("redis://:hushhush@host?restart=maybe", "restart"),
        ("unix://", "socket"),
        ("redis://host?db=x", "number"),
        ("redis://:hushhush@[::1", "bracket"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused_and_its_password_not_shown(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        settings_from(url)
    assert "hushhush" not in str(refused.value)


def test_without_the_extra_the_line_that_installs_it_is_shown() -> None:
    code = "import sys; sys.modules['redis'] = None\nfrom transports import Hub, Options\nHub(Options(broker='redis://x'))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "pip install 'everywire[redis]'" in ran.stderr


# --------------------------------------------------------------------------------------------------------------- what comes down


async def test_a_start_does_not_wait_until_nobody_publishes(
    tmp_path: Path, worker: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with redis_server(tmp_path) as server:
        busy, late = await worker(server.url), Worker(server.url)
        for number in range(300):
            await busy.publish(b"%d" % number)
        read = late.broker._read

        async def read_while_others_publish(*asked: Any) -> Any:
            await busy.publish(b"1")
            return await read(*asked)

        monkeypatch.setattr(late.broker, "_read", read_while_others_publish)
        try:
            async with asyncio.timeout(10):
                await late.broker.tail(late.followed)
            assert late.followed.through >= 300
            await late.has(await busy.publish(b"2"))
            assert not late.followed.lacks(busy.published[late.followed.epoch])
        finally:
            await late.broker.close()


async def test_entries_that_somebody_deleted_are_told(tmp_path: Path, worker: Callable[..., Any]) -> None:
    async with redis_server(tmp_path) as server:
        one = await worker(server.url)
        for number in range(10):
            await one.publish(b"%d" % number)
        log = f"everywire:{{everywire}}:log:{one.followed.epoch}"
        ids = [entry[0] for entry in await server.ask("XRANGE", log, "-", "+")]
        await server.ask("XDEL", log, ids[3], ids[7])
        two = await worker(server.url)
        assert not two.followed.lacks(one.published[one.followed.epoch])
        assert two.followed.gone == 8
        assert [record.offset for record in two.followed.records] == [1, 2, 3, 5, 6, 7, 9, 10]


async def test_what_somebody_else_wrote_is_passed_over(tmp_path: Path, worker: Callable[..., Any]) -> None:
    async with redis_server(tmp_path) as server:
        one = await worker(server.url)
        await one.has(await one.publish(b"1"))
        log = f"everywire:{{everywire}}:log:{one.followed.epoch}"
        code = "for n = 1, 600 do redis.call('XADD', KEYS[1], '*', 'x', 'y') end"
        await server.ask("EVAL", code, 1, log)
        last = await one.insist(b"2", "k")
        await one.has(last)
        two = await worker(server.url)
        await two.has(last)
        assert [record.data for record in two.followed.records] == [b"1", b"2"]


async def test_half_a_character_is_refused_alone(tmp_path: Path, worker: Callable[..., Any]) -> None:
    async with redis_server(tmp_path) as server:
        one = await worker(server.url)
        half, whole = await asyncio.gather(
            one.broker.publish("a", b"1", "\ud800"), one.broker.publish("a", b"2", None), return_exceptions=True
        )
        assert (half.code, whole) == (Code.BAD_COMMAND, 1)


# -------------------------------------------------------------------------------------------------------------------- two workers


@pytest.mark.real
async def test_polls_that_go_to_one_worker_after_the_other_lose_and_double_nothing(tmp_path: Path) -> None:
    async with redis_server(tmp_path, EVERY_WRITE) as server, AsyncExitStack() as stack:
        urls, hubs = [], []
        for _ in range(2):
            hub = Hub(Options(channels=("*",), broker=server.url))
            await hub.open()
            hubs.append(hub)
            urls.append(await stack.enter_async_context(serving(Endpoints(hub), drain=hub.close)))

        async def publish() -> None:
            for n in range(300):
                await hubs[n % 2].publish("a", n)

        async with aiohttp.ClientSession() as http:
            since = str(await hubs[0]._broker.head())
            publishing = asyncio.create_task(publish())
            read: list[dict[str, Any]] = []
            async with asyncio.timeout(60):
                for turn in range(100_000):
                    async with http.get(f"{urls[turn % 2]}/poll?channels=a&since={since}&wait=5") as answer:
                        items = await answer.json()
                    since = items[-1]["id"]
                    read += [item for item in items if item["type"] in ("event", "lost")]
                    if len(read) >= 300:
                        break
            await publishing
        assert [item.get("data", item) for item in read] == list(range(300))
