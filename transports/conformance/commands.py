"""What travels up, by POST and over WebSocket: the replies, and what they do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from .endpoints import NAMES, refused
from .target import Target, events, hello_of, mark, number, until
from .verdicts import Table, Unfit, holds, same

TABLE: Final = Table("Commands: what travels up")
POST: Final = "post"
WEBSOCKET: Final = "websocket"
WAYS: Final = (POST, WEBSOCKET)
_MANY: Final = 5000  # commands


async def say(target: Target, way: str, *commands: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The replies to commands, whichever way they go up. Raises: Unmet."""
    if way == POST:
        return await target.commands(*commands)
    async with target.socket({}) as talk:
        await hello_of(talk)
        return await talk.replies(*commands)


def fails(reply: Mapping[str, Any], code: int, what: str) -> None:
    """Raises: Unmet, the reply does not tell of this refusal."""
    same((reply.get("ok"), reply.get("code"), reply.get("name")), (False, code, NAMES[code]), f"reply to {what}: ok, code, name")
    holds(isinstance(reply.get("reason"), str) and reply["reason"], f"a reason in the reply to {what}", reply)


@TABLE.check("publish", "The reply to publish has ok, ref and the id of the event", over=WAYS)
async def _publish(target: Target, transport: str) -> None:
    start, sent = await target.present_position(), mark()
    (reply,) = await say(target, transport, {"do": "publish", "ref": 7, "channel": target.channel, "data": sent})
    same((reply.get("type"), reply.get("ref"), reply.get("ok")), ("reply", 7, True), "type, ref and ok")
    number(reply.get("id"))  # type: ignore[arg-type]
    await target.settle(reply["id"])
    items = await target.poll({"channels": target.channel, "since": start, "wait": "0"})
    same([item.get("id") for item in items if item.get("data") == sent], [reply["id"]], "ids of what was published")


@TABLE.check("ping", "The reply to ping proves that both ways work; its id is null", over=WAYS)
async def _ping(target: Target, transport: str) -> None:
    (reply,) = await say(target, transport, {"do": "ping", "ref": -5})
    same((reply.get("type"), reply.get("ref"), reply.get("ok"), reply.get("id")), ("reply", -5, True, None), "the reply")


@TABLE.check("one-or-many", "A message is one command, or an array of them")
async def _one_or_many(target: Target) -> None:
    for body, refs in ((b' {"do":"ping","ref":1} ', [1]), (b'[{"do":"ping","ref":1},{"do":"ping"}]', [1, None]), (b"[]", [])):
        answer = await target.post(body)
        same(answer.status, 200, "status")
        same([reply.get("ref") for reply in answer.json()], refs, "refs of the replies")


@TABLE.check("order", "Commands are executed in order, and answered in the same", over=WAYS)
async def _order(target: Target, transport: str) -> None:
    commands = [{"do": "publish", "ref": 100 - n, "channel": target.channel, "data": n} for n in range(20)]
    replies = await say(target, transport, *commands)
    same([reply.get("ref") for reply in replies], [each["ref"] for each in commands], "refs")
    numbers = [number(reply.get("id")) for reply in replies]  # type: ignore[arg-type]
    holds(numbers == sorted(set(numbers)), "ids that grow", numbers)


@TABLE.check("bad-among-good", "A command that fails gets its reply, and the others go on", over=WAYS)
async def _bad_among_good(target: Target, transport: str) -> None:
    replies = await say(
        target,
        transport,
        {"do": "ping", "ref": 1},
        {"do": "dance", "ref": 2},
        {"ref": 3},
        {"do": "publish", "ref": 4, "channel": 5, "data": 1},
        {"do": "publish", "ref": 5, "channel": target.channel},
        {"do": "publish", "ref": 6, "channel": target.channel, "data": 1, "key": ""},
        {"do": "publish", "ref": 7, "channel": target.channel, "data": 1, "key": "x" * 129},
        {"do": "publish", "ref": 8, "channel": target.channel, "data": 1, "about": ""},
        {"do": "ping", "ref": 9},
    )
    same([reply.get("ref") for reply in replies], [*range(1, 10)], "refs")
    same([reply.get("ok") for reply in (replies[0], replies[-1])], [True, True], "ok of the good ones")
    for reply in replies[1:-1]:
        fails(reply, 4400, f"the command with ref {reply['ref']}")


@TABLE.check("unknown-channel", "What is no channel is refused with 4404", over=WAYS)
async def _unknown_channel(target: Target, transport: str) -> None:
    for name in ("no such/name", "", "x" * 129, "orders.*"):
        (reply,) = await say(target, transport, {"do": "publish", "ref": 1, "channel": name, "data": 1})
        fails(reply, 4404, f"publish to {name[:20]!r}")


@TABLE.check("unknown-fields", "Fields that are not known are ignored", over=WAYS)
async def _unknown_fields(target: Target, transport: str) -> None:
    (reply,) = await say(target, transport, {"do": "ping", "ref": 1, "color": {"a": [1]}, "type": "event"})
    same((reply.get("ok"), reply.get("ref")), (True, 1), "ok and ref")


@TABLE.check("body-that-is-none", "A body that is not JSON, or no object, is refused as a whole: 4400")
async def _body(target: Target) -> None:
    for body in (b"nonsense", b"", b"5", b"[1]", b"null", b'[{"do":"ping"},2]', b'{"do":"ping"', b"\xff", b'{"do":"ping"}}'):
        refused(await target.post(body), 4400, 400)


@TABLE.check("overlong-body", "A body over the limit is refused with 4413")
async def _overlong(target: Target) -> None:
    limit = (await target.get("negotiate")).json()["limits"]["message_bytes"]
    refused(await target.post(b'{"do":"ping"}' + b" " * (limit - 12)), 4413, 413)
    same((await target.post(b'{"do":"ping"}' + b" " * (limit - 13))).status, 200, "status of a body as long as the limit")


@TABLE.check("key", "The same key publishes once, whichever way it comes by", over=WAYS)
async def _key(target: Target, transport: str) -> None:
    start, sent = await target.present_position(), mark()
    command = {"do": "publish", "ref": 1, "channel": target.channel, "data": sent, "key": f"key:{sent}"}
    replies = await say(target, transport, command, command)
    replies += await say(target, POST if transport == WEBSOCKET else WEBSOCKET, {**command, "data": "again"})
    same([reply.get("ok") for reply in replies], [True] * 3, "ok")
    same({reply.get("id") for reply in replies}, {replies[0].get("id")}, "ids")
    last = await target.publish([sent, "last"])
    async with target.open("longpoll", since=start) as reading:
        came = [*events(await until(reading, last), target.channel)]
    same([each for each in came if each in (sent, "again", [sent, "last"])], [sent, [sent, "last"]], "what was published")


@TABLE.check("other-keys", "Another key publishes again")
async def _other_keys(target: Target) -> None:
    sent = mark()
    ids = {await target.publish(sent, key=f"{sent}:{n}") for n in range(3)}
    same(len(ids), 3, "ids of three keys")


@TABLE.check("subscribe", "subscribe reads further channels, from the position in the reply")
async def _subscribe(target: Target) -> None:
    async with target.socket({}) as talk:
        same((await hello_of(talk)).get("channels"), [], "channels of hello")
        (reply,) = await talk.replies({"do": "subscribe", "ref": 1, "channels": [target.channel]})
        same((reply.get("ok"), reply.get("ref")), (True, 1), "ok and ref")
        last = await target.publish(mark())
        await until(talk, last)
    async with target.open("longpoll", since=reply["id"]) as reading:  # who was cut off meanwhile
        await until(reading, last)


@TABLE.check("subscribe-since", "since is taken while no channel is followed, and refused later")
async def _subscribe_since(target: Target) -> None:
    ids = await target.publish_all(1, 2, 3)
    async with target.socket({}) as talk:
        await hello_of(talk)
        command = {"do": "subscribe", "ref": 1, "channels": [target.channel], "since": ids[0]}
        (reply,) = await talk.replies(command)
        same((reply.get("ok"), reply.get("id")), (True, ids[0]), "ok and id")
        items = await until(talk, ids[-1])
        same([item["id"] for item in items if item["type"] == "event"], ids[1:], "events behind since")
        (reply,) = await talk.replies(command)
        fails(reply, 4400, "subscribe with since, later")


@TABLE.check("unsubscribe", "unsubscribe ends the reading of a channel")
async def _unsubscribe(target: Target) -> None:
    async with target.socket({"channels": f"{target.channel},presence:{target.channel}", "beat": "1"}) as talk:
        await hello_of(talk)
        (reply,) = await talk.replies({"do": "unsubscribe", "ref": 1, "channels": [target.channel]})
        same(reply.get("ok"), True, "ok")
        last = await target.publish(mark())
        came: list[dict[str, Any]] = []
        while not came or came[-1]["type"] != "beat" or number(came[-1]["id"]) < number(last):
            came += await talk.batch()
        same([item["id"] for item in came if item["type"] == "event"], [], "events of what is not read any more")
        (reply,) = await talk.replies({"do": "subscribe", "ref": 2, "channels": [target.channel]})
        again = await target.publish(mark())
        items = await until(talk, again)
    same([item["id"] for item in items if item["type"] == "event"], [again], "events since then")


@TABLE.check("subscribe-elsewhere", "subscribe and unsubscribe are refused by POST: 4400")
async def _subscribe_elsewhere(target: Target) -> None:
    for do in ("subscribe", "unsubscribe"):
        (reply,) = await target.commands({"do": do, "ref": 1, "channels": [target.channel]})
        fails(reply, 4400, do)


@TABLE.check("subscribe-nothing", "subscribe wants channels, and names that are some")
async def _subscribe_nothing(target: Target) -> None:
    async with target.socket({}) as talk:
        await hello_of(talk)
        replies = await talk.replies(
            {"do": "subscribe", "ref": 1, "channels": []},
            {"do": "subscribe", "ref": 2},
            {"do": "subscribe", "ref": 3, "channels": [target.channel], "since": "nonsense"},
            {"do": "subscribe", "ref": 4, "channels": ["no such/name"]},
        )
    for reply in replies[:3]:
        fails(reply, 4400, f"the command with ref {reply.get('ref')}")
    fails(replies[3], 4404, "subscribe to no channel")


@TABLE.check("deep", "What is nested deeper than can be read is refused, and nothing breaks")
async def _deep(target: Target) -> None:
    limit = (await target.get("negotiate")).json()["limits"]["message_bytes"]
    if limit < 60_000:
        raise Unfit("messages of this server are short")
    for depth in (200, 20_000):
        nested = msgspec.Raw(b"[" * depth + b"]" * depth)
        answer = await target.post(msgspec.json.encode({"do": "publish", "ref": 1, "channel": target.channel, "data": nested}))
        if answer.status == 200:
            (reply,) = answer.json()
            fails(reply, 4400, f"data of {depth} levels")
        else:
            refused(answer, 4400, 400)


@TABLE.check("auth-elsewhere", "auth is refused by POST, where each request shows its own: 4400")
async def _auth_elsewhere(target: Target) -> None:
    (reply,) = await target.commands({"do": "auth", "ref": 1, "token": target.token or "nobody"})
    fails(reply, 4400, "auth")


@TABLE.check("auth", "auth renews in place, and the reply says until when that holds")
async def _auth(target: Target) -> None:
    if not target.token:
        raise Unfit("say --token, to show it once more")
    async with target.socket({"channels": target.channel}) as talk:
        await hello_of(talk)
        (reply,) = await talk.replies({"do": "auth", "ref": 1, "token": target.token})
        same((reply.get("ok"), reply.get("ref")), (True, 1), "ok and ref")
        holds(isinstance(reply.get("expires"), int | float | None), "expires, seconds since 1970 or null", reply)
        await until(talk, await target.publish(mark()))


@TABLE.check("too-many-commands", "Of too many commands the first are executed, the others told when to come", clause="Limits")
async def _too_many(target: Target) -> None:
    limits = (await target.get("negotiate")).json()["limits"]
    most = math.ceil(limits.get("commands_per_connection", math.inf) * limits.get("burst_seconds", 1)) if limits else 0
    command = {"do": "ping", "ref": 1000}
    if not 0 < most < _MANY or (most + 50) * len(msgspec.json.encode(command)) > limits["message_bytes"]:
        raise Unfit("so many commands do not fit into a message")
    async with target.socket({}) as talk:
        await hello_of(talk)
        replies = await talk.replies(*[{**command, "ref": n} for n in range(most + 50)])
    same([reply.get("ref") for reply in replies], [*range(most + 50)], "refs")
    good = [reply.get("ok") for reply in replies].index(False) if any(not reply.get("ok") for reply in replies) else len(replies)
    holds(most * 0.9 <= good < most + 50, f"about {most} that are executed", good)
    for reply in replies[good:]:
        fails(reply, 4429, f"command {reply['ref']}")
        holds(isinstance(reply.get("retry"), int | float) and reply["retry"] > 0, "retry, seconds", reply)
