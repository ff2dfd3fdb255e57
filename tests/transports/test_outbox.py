from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from transports import Code, ConnectionFailedError, QueueFullError, Refusal
from transports.items import Reply
from transports.outbox import Outbox


class Server:
    """Takes commands; `answers` says what becomes of each request, in order: an exception, or None for a yes to all."""

    def __init__(self, *answers: BaseException | None) -> None:
        self.answers = list(answers)
        self.requests: list[list[Any]] = []

    async def __call__(self, commands: Sequence[dict[str, Any]]) -> list[Reply]:
        self.requests.append([command["data"] for command in commands])
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        return [Reply(ref, True, id=f"e.{command['data']}") for ref, command in enumerate(commands)]


def command(n: Any) -> dict[str, Any]:
    return {"do": "publish", "channel": "a", "data": n, "key": str(n)}


async def test_what_waits_goes_together_and_in_order() -> None:
    server = Server()
    outbox = Outbox(server, 100)
    ids = await asyncio.gather(*[outbox.publish(command(n), 5.0) for n in range(70)])
    assert ids == [f"e.{n}" for n in range(70)]
    assert [n for request in server.requests for n in request] == list(range(70))
    assert max(map(len, server.requests)) <= 50


async def test_a_bundle_stays_below_the_servers_limit() -> None:
    server = Server()
    outbox = Outbox(server, 100)
    await asyncio.gather(*[outbox.publish({**command(n), "text": "x" * 20_000}, 5.0) for n in range(4)])
    assert [len(request) for request in server.requests] == [1, 1, 1, 1]


async def test_it_is_sent_again_until_it_is_acknowledged() -> None:
    server = Server(OSError("broke"), Refusal(Code.DRAINING, retry=0.0), None)
    outbox = Outbox(server, 100)
    publishing = asyncio.create_task(outbox.publish(command(1), 5.0))
    outbox.hurry()
    assert await publishing == "e.1"
    assert server.requests == [[1], [1], [1]]


class Bounded(Server):
    """Executes so many of the commands of each request, and wants the others later."""

    def __init__(self, *most: int, retry: float) -> None:
        super().__init__()
        self.most, self.retry = list(most), retry
        self.executed: list[Any] = []

    async def __call__(self, commands: Sequence[dict[str, Any]]) -> list[Reply]:
        replies = await super().__call__(commands)
        most = self.most.pop(0) if self.most else len(commands)
        self.executed += [command["key"] for command in commands[:most]]
        late = Reply(None, False, code=4429, name="rate_limited", reason="too much", retry=self.retry)
        return [*replies[:most], *[late] * (len(commands) - most)]


async def test_what_was_too_much_comes_again_in_order_under_the_same_keys() -> None:
    server = Bounded(7, 0, 3, 20, retry=0.0)
    outbox = Outbox(server, 100)
    ids = await asyncio.gather(*[outbox.publish(command(n), 20.0) for n in range(60)])
    assert ids == [f"e.{n}" for n in range(60)]
    assert server.executed == [str(n) for n in range(60)]


async def test_a_new_connection_does_not_make_it_hurry_when_too_much_was_said() -> None:
    server = Bounded(0, retry=1.0)
    outbox = Outbox(server, 100)
    publishing = asyncio.create_task(outbox.publish(command(1), 20.0))
    for _ in range(100):
        await asyncio.sleep(0)
        outbox.hurry()
    assert len(server.requests) == 1
    assert await publishing == "e.1"
    assert server.requests == [[1], [1]]


async def test_a_no_for_good_is_told_and_those_behind_go_on() -> None:
    server = Server(Refusal(Code.TOO_LARGE))
    outbox = Outbox(server, 100)
    first = asyncio.create_task(outbox.publish(command(1), 5.0))
    with pytest.raises(Refusal, match="4413"):
        await first
    assert await outbox.publish(command(2), 5.0) == "e.2"


async def test_of_those_that_go_together_only_the_guilty_is_refused() -> None:
    class Strict(Server):
        async def __call__(self, commands: Sequence[dict[str, Any]]) -> list[Reply]:
            self.answers.insert(0, Refusal(Code.TOO_LARGE) if any(each["data"] == 2 for each in commands) else None)
            return await super().__call__(commands)

    server = Strict()
    outbox = Outbox(server, 100)
    got = await asyncio.gather(*[outbox.publish(command(n), 5.0) for n in range(5)], return_exceptions=True)
    assert [str(each).partition(" ")[0] for each in got] == ["e.0", "e.1", "4413", "e.3", "e.4"]
    assert server.requests == [[0, 1, 2, 3, 4], [0], [1], [2], [3], [4]]


async def test_who_is_not_acknowledged_in_time_is_told_why_and_no_longer_sent() -> None:
    server = Server(*[OSError("no route")] * 1000)
    outbox = Outbox(server, 100)
    with pytest.raises(ConnectionFailedError, match="no route"):
        await outbox.publish(command(1), 0.05)
    server.answers.clear()
    assert await outbox.publish(command(2), 5.0) == "e.2"
    assert server.requests[-1] == [2]


async def test_no_more_wait_than_may() -> None:
    outbox = Outbox(Server(*[OSError("no route")] * 1000), 2)
    waiting = [asyncio.create_task(outbox.publish(command(n), 5.0)) for n in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFullError):
        await outbox.publish(command(3), 5.0)
    await outbox.close()
    for each in waiting:
        with pytest.raises(ConnectionFailedError, match="closed before"):
            await each
