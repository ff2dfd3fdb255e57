"""The SQLite broker beyond the contract: commits that are shared, other processes, troubles and their end."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.stores import Followed
from transports import ConfigError, Hub, Options, Refusal
from transports.brokers import broker_from
from transports.brokers.sqlite import SqliteBroker, path_of
from transports.position import Position
from transports.testing import until


class Counting:
    """A clock that goes on by one each time it is asked."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


def broker_of(path: Path, clock: Callable[[], float] | None = None, **settings: object) -> SqliteBroker:
    options = Options(broker=f"sqlite:///{path}", **settings)
    return SqliteBroker.from_options(options, **({"clock": clock} if clock else {}))


@pytest.fixture
async def broker(path: Path) -> AsyncIterator[SqliteBroker]:
    broker = broker_of(path)
    yield broker
    await broker.close()


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///events.db", "events.db"),
        ("sqlite:///a/b%20c%23.db", "a/b c#.db"),
        ("sqlite:////var/lib/events.db", "/var/lib/events.db"),
    ],
)
def test_a_url_names_a_file(url: str, path: str) -> None:
    assert path_of(url) == Path(path)


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///", "sqlite://events.db", "sqlite:///a/", "sqlite:///:memory:", "sqlite:///a?b=1", "sqlite:///a#b"],
)
def test_a_url_that_names_no_file_is_told_at_the_start(url: str) -> None:
    with pytest.raises(ConfigError, match="names no file"):
        broker_from(Options(broker=url))


async def test_what_is_published_in_one_turn_shares_a_commit(path: Path) -> None:
    broker, followed = broker_of(path, Counting()), Followed()
    await broker.tail(followed)
    await asyncio.gather(*(broker.publish("a", b"1", None) for _ in range(200)))
    assert len({record.at for record in followed.records}) == 1
    await broker.close()


async def test_what_comes_during_a_commit_shares_the_next(path: Path, broker: SqliteBroker) -> None:
    await broker.close()
    broker, followed = broker_of(path, Counting()), Followed()
    await broker.tail(followed)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # a commit takes as long as we like
        tasks = []
        for _ in range(50):
            tasks.append(asyncio.create_task(broker.publish("a", b"1", None)))
            await asyncio.sleep(0)
        other.execute("ROLLBACK")
        await asyncio.gather(*tasks)
    assert len({record.at for record in followed.records}) <= 3
    await broker.close()


async def test_a_publish_has_been_handed_over_when_it_returns(broker: SqliteBroker) -> None:
    followed = Followed()
    await broker.tail(followed)
    assert await broker.publish("a", b"1", None) == followed.records[-1].offset


async def test_a_long_history_leaves_the_loop_its_turns(path: Path) -> None:
    first, followed = broker_of(path, history_count=10_000), Followed()
    await first.tail(followed)
    await asyncio.gather(*(first.publish("a", b"1", None) for _ in range(3000)))
    await first.close()
    turns: list[int] = []

    class Counted(Followed):
        def take(self, records) -> None:
            turns.append(len(records))
            super().take(records)

    again, counted = broker_of(path, history_count=10_000), Counted()
    await again.tail(counted)
    await again.close()
    assert counted.records == followed.records
    assert max(turns) <= 256


async def test_half_a_character_is_refused_and_nothing_else_with_it(broker: SqliteBroker) -> None:
    await broker.tail(Followed())
    ends = await asyncio.gather(
        broker.publish("a", b"1", None), broker.publish("a", b"1", "\ud800"), broker.publish("a", b"1", None, "\udfff"),
        return_exceptions=True,
    )  # fmt: skip
    assert ends[0] == 1
    assert [end.code for end in ends[1:]] == [4400, 4400]


async def test_before_and_after_its_life_it_refuses(broker: SqliteBroker) -> None:
    with pytest.raises(Refusal, match="4504"):
        await broker.publish("a", b"1", None)
    await broker.tail(Followed())
    await broker.close()
    with pytest.raises(Refusal, match="4504"):
        await broker.head()


async def test_a_start_that_fails_can_be_tried_again(tmp_path: Path) -> None:
    broker = broker_of(tmp_path / "data" / "events.db")
    with pytest.raises(Refusal, match="4504"):
        await broker.tail(Followed())
    (tmp_path / "data").mkdir()
    await broker.tail(Followed())
    assert await broker.publish("a", b"1", None) == 1
    await broker.close()


async def test_another_file_in_its_place_is_another_life(path: Path, broker: SqliteBroker) -> None:
    followed = Followed()
    await broker.tail(followed)
    await broker.publish("a", b"1", None)
    await broker.publish("a", b"2", None)
    for name in ("events.db", "events.db-wal", "events.db-shm"):
        path.with_name(name).unlink()
    await until(lambda: len(followed.epochs) == 2)
    assert await broker.publish("b", b"3", None) == 1
    assert [(record.channel, record.offset) for record in followed.records] == [("b", 1)]
    assert await broker.head() == Position(followed.epoch, 1)


async def test_readers_of_a_hub_go_on_over_a_restart(path: Path) -> None:
    options = Options(channels=("*",), broker=f"sqlite:///{path}", history_count=3)
    hub = Hub(options)
    await hub.open()
    ids = [await hub.publish("a", n) for n in range(2)]
    await hub.close()
    hub = Hub(options)
    await hub.open()
    position = Position(*ids[0].split(".")[:1], 1)
    with hub.feed(["a"], position) as feed:
        assert feed.resumed == "exact"
        assert [item.id for item in feed.ready().items] == ids[1:]
        for n in range(5):
            await hub.publish("a", n)
    await hub.close()
    hub = Hub(options)
    await hub.open()
    with hub.feed(["a", "b"], position) as feed:
        assert feed.resumed == "lost"
        items = feed.ready().items
        assert [item.kind for item in items] == ["lost", "event", "event", "event"]
        assert b'"channel":"a"' in items[0].json
    await hub.close()


def test_a_loop_that_ends_without_a_word_takes_the_thread_with_it(path: Path) -> None:
    broker = broker_of(path)
    asyncio.run(broker.tail(Followed()))
    thread = broker._thread
    thread.join(30)
    assert not thread.is_alive()


PUBLISHER = """
import asyncio, sys
from transports import Options
from transports.brokers import broker_from

class Nobody:
    def begin(self, epoch, gone=0): pass
    def forget(self, channel, through): pass
    def take(self, records): pass

async def main(url, name):
    broker = broker_from(Options(broker=url, history_count=100_000))
    await broker.tail(Nobody())
    print("ready", flush=True)
    sys.stdin.readline()
    for n in range(200):
        offsets = await asyncio.gather(*(broker.publish("abc"[k], f"{name}.{n}.{k}".encode(), None) for k in range(3)))
        for k, offset in enumerate(offsets):
            print(offset, f"{name}.{n}.{k}", flush=True)
    await broker.close()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.real
async def test_processes_that_publish_at_once_and_one_that_is_killed(path: Path) -> None:
    """What each was told is kept under that offset, and all see the same order."""
    url = f"sqlite:///{path}"
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", PUBLISHER, url, f"p{n}", stdin=pipe, stdout=pipe)
        for n in range(3)
    ]
    broker, followed = broker_of(path, history_count=100_000), Followed()
    try:
        for process in processes:
            assert await process.stdout.readline() == b"ready\n"  # all have made, or found, the same file
        await broker.tail(followed)
        for process in processes:
            process.stdin.write(b"\n")
        reading = [asyncio.create_task(process.stdout.read()) for process in processes]
        await until(lambda: len(followed.records) > 100)
        os.kill(processes[0].pid, signal.SIGKILL)
        lines = [
            line.split()
            for output in await asyncio.gather(*reading)
            for line in output.decode().splitlines(keepends=True)
            if line.endswith("\n")
        ]
        acknowledged = {int(offset): data.encode() for offset, data in lines}
        assert len(acknowledged) == len(lines)
        await until(lambda: {record.offset for record in followed.records} >= set(acknowledged))
        assert acknowledged.items() <= {record.offset: record.data for record in followed.records}.items()
        assert sum(data.startswith((b"p1", b"p2")) for data in acknowledged.values()) == 2 * 600
        assert [record.offset for record in followed.records] == list(range(1, len(followed.records) + 1))
        late, again = broker_of(path, history_count=100_000), Followed()
        await late.tail(again)
        await late.close()
        assert again.records == followed.records
    finally:
        await broker.close()
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
