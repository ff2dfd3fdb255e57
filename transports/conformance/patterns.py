"""Patterns, and how much of what piled up is wanted."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .endpoints import refuses
from .target import Target, first, hello_of, mark, number, until
from .verdicts import ALL, LONGPOLL, Table, holds, same

TABLE: Final = Table("Patterns")
POLICIES: Final = Table("Policies")


@TABLE.check("pattern", "A pattern reads the channels that begin like it", over=ALL)
async def _pattern(target: Target, transport: str) -> None:
    pattern = f"{target.channel}*"
    start = await target.present_position()
    last = await target.publish(mark())
    async with target.open(transport, {"channels": pattern, "since": start}) as reading:
        if transport != LONGPOLL:
            same((await hello_of(reading)).get("channels"), [pattern], "channels of hello")
        same((await until(reading, last))[-1].get("channel"), target.channel, "channel")


@TABLE.check("pattern-leaves-out", "A pattern leaves out who is there, unless it says so", over=ALL)
async def _leaves_out(target: Target, transport: str) -> None:
    sent = mark()
    start = await target.present_position()
    await target.commands({"do": "present", "ref": 1, "channel": target.channel, "as": sent, "for": 30})
    last = await target.publish(sent)
    try:
        async with target.open(transport, {"channels": f"{target.channel}*", "since": start}) as reading:
            items = await until(reading, last)
        same({item.get("channel") for item in items if item["type"] == "event"}, {target.channel}, "channels")
    finally:
        await target.commands({"do": "present", "ref": 2, "channel": target.channel, "as": sent, "for": 0})


@TABLE.check("pattern-garbage", "What is no pattern is refused with 4404", over=ALL)
async def _garbage(target: Target, transport: str) -> None:
    for pattern in (f"*{target.channel}", f"{target.channel}**", "a*b", "-*"):
        await refuses(target, transport, {"channels": pattern}, 4404)


def _without(items: list[dict[str, Any]], transport: str) -> list[dict[str, Any]]:
    return items if transport == LONGPOLL else items[1:]


@POLICIES.check("latest", "Of what piled up, latest brings the newest of each about, and tells of the rest", over=ALL)
async def _latest(target: Target, transport: str) -> None:
    start = await target.present_position()
    command = {"do": "publish", "channel": target.channel}
    abouts = ["a", "b", "a", None, "a", None]
    replies = await target.commands(*[{**command, "ref": n, "data": n, "about": each} for n, each in enumerate(abouts)])
    last = replies[-1]["id"]
    await target.settle(last)
    async with target.open(transport, since=start, latest=target.channel) as reading:
        items = _without(await until(reading, last), transport)
    same([item["type"] for item in items], ["skipped", "event", "event", "event"], "items")
    same([item["data"] for item in items[1:]], [1, 4, 5], "data of the newest of b, of a, and of none")
    _skipped(items[0], target, "latest", 3, start)


@POLICIES.check("lag", "Of what piled up, lag brings only so many of the newest", over=ALL)
async def _lag(target: Target, transport: str) -> None:
    start = await target.present_position()
    ids = await target.publish_all(*range(10))
    await target.settle(ids[-1])
    async with target.open(transport, since=start, lag=f"{target.channel}:3") as reading:
        items = _without(await until(reading, ids[-1]), transport)
    same([item["type"] for item in items], ["skipped", "event", "event", "event"], "items")
    same([item["id"] for item in items[1:]], ids[-3:], "ids of the events")
    _skipped(items[0], target, "lag", 7, start)


def _skipped(item: dict[str, Any], target: Target, reason: str, count: int, start: str) -> None:
    same((item.get("channel"), item.get("reason"), item.get("count")), (target.channel, reason, count), "channel, reason, count")
    same(item.get("id"), start, "id, where the reader stands")
    holds(number(item["after"]) < number(item["through"]), "a range", item)


@POLICIES.check("every", "Who asks for nothing gets every event", over=ALL)
async def _every(target: Target, transport: str) -> None:
    start = await target.present_position()
    ids = await target.publish_all(*range(10), about="same")
    async with target.open(transport, since=start) as reading:
        items = _without(await until(reading, ids[-1]), transport)
    same([(item["type"], item["id"]) for item in items], [("event", each) for each in ids], "types and ids")


@POLICIES.check("policy-garbage", "A policy for what is not in channels, or two for one, is refused with 4400", over=ALL)
async def _policy_garbage(target: Target, transport: str) -> None:
    name = target.channel
    for more in (
        {"latest": "something-else"},
        {"lag": "something-else:3"},
        {"latest": name, "lag": f"{name}:3"},
        {"lag": f"{name}:0"},
        {"lag": f"{name}:1000001"},
        {"lag": f"{name}:x"},
        {"lag": name},
    ):
        await refuses(target, transport, {"channels": name, **more}, 4400)


@POLICIES.check("policy-by-command", "subscribe says the same as a URL")
async def _by_command(target: Target) -> None:
    start = await target.present_position()
    ids = await target.publish_all(*range(5))
    await target.settle(ids[-1])
    async with target.socket({}) as talk:
        await hello_of(talk)
        command: dict[str, Any] = {"do": "subscribe", "ref": 1, "channels": [target.channel], "since": start}
        (bad,) = await talk.replies({**command, "latest": ["something-else"]})
        same((bad.get("ok"), bad.get("code")), (False, 4400), "reply to a policy for something else")
        (reply,) = await talk.replies({**command, "lag": {target.channel: 2}})
        same(reply.get("ok"), True, f"ok of {msgspec.json.encode(command).decode()}")
        same((await first(talk, "skipped")).get("count"), 3, "count of skipped")
        items = await until(talk, ids[-1])
        same([item["id"] for item in items], ids[-2:], "events")
