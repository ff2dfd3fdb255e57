"""How batches are put on each wire, and how a wire ends."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from wsproto import events as ws

from .endpoints import told_bye
from .target import Target, batch_of, epoch, first, hello_of, mark, number, until
from .verdicts import Table, Unfit, Unmet, holds, same
from .wire import Socket, decoded, shown

TABLE: Final = Table("Framing")
JSON: Final = "everywire.v1.json"
MESSAGEPACK: Final = "everywire.v1.msgpack"
_PING: Final = b"everywire"
_TOO_BIG: Final = 1009  # RFC 6455 7.4.1
_SILENT: Final = 2.5  # beats
_LONG: Final = 20.0  # seconds; what takes longer is not waited for


@TABLE.check("subprotocol", "The subprotocol that is offered is taken")
async def _subprotocol(target: Target) -> None:
    async with target.socket({"channels": target.channel}, ["something.else", JSON]) as talk:
        same(talk.subprotocol, JSON, "subprotocol")
        await hello_of(talk)


@TABLE.check("no-subprotocol", "Who offers none gets none, and version 1 in JSON")
async def _no_subprotocol(target: Target) -> None:
    async with target.socket({"channels": target.channel}, ()) as talk:
        same(talk.subprotocol, None, "subprotocol")
        same((await hello_of(talk))["v"], 1, "v of hello")


@TABLE.check("unknown-subprotocol", "Who offers only unknown ones is accepted, told bye 4426 and closed")
async def _unknown_subprotocol(target: Target) -> None:
    async with target.socket({"channels": target.channel}, ["something.else"]) as talk:
        (item,) = await talk.batch()
        same((item["type"], item.get("code"), item.get("name")), ("bye", 4426, "version"), "the only item")
        same(await talk.closed(), 4426, "close code")


@TABLE.check("token-subprotocol", "A token that travels as a subprotocol is not the one that is taken", clause="Credentials")
async def _token(target: Target) -> None:
    shown = base64.urlsafe_b64encode((target.token or "nobody").encode()).decode().rstrip("=")
    async with target.handshake("ws", {"channels": target.channel}, [JSON, f"everywire.token.{shown}"]) as (socket, refused):
        if refused is not None:
            raise Unmet("a WebSocket", f"status {refused.status}")
        event = await socket.event()
        if not target.token and isinstance(event, ws.TextMessage) and batch_of(event.data)[0].get("code") == 4401:
            raise Unfit("this server lets nobody in whose token it does not know")
        same(socket.subprotocol, JSON, "subprotocol")


@TABLE.check("frames", "A WebSocket frame down is text, a JSON array of items")
async def _frames(target: Target) -> None:
    async with target.socket({"channels": target.channel}) as talk:
        await hello_of(talk)
        last = (await target.publish_all(*range(50)))[-1]
        await until(talk, last)


@TABLE.check("sse-blocks", "A block has event: (but for events), id: and data:, and LF at each line's end")
async def _blocks(target: Target) -> None:
    start = await target.present_position()
    last = await target.publish([mark(), "\n\n\r\u2028data: x"])
    kinds: list[str] = []
    async with target.stream({"channels": target.channel, "since": start, "beat": "1"}) as stream:
        while "beat" not in kinds or "event" not in kinds:
            block = await stream.block()
            item = decoded(block.data, "JSON in data:")
            kinds.append(item["type"])
            same(block.event, "" if item["type"] == "event" else item["type"], "event:")
            same(block.id, item.get("id"), "id:, that of the item")
            same(block.retry, "", "retry:, which only a bye has")
    same(kinds[0], "hello", "the first block")
    number(last)


@TABLE.check("poll-batch", "Events that have piled up come in one answer")
async def _poll_batch(target: Target) -> None:
    since = await target.present_position()
    ids = await target.publish_all(*range(20))
    await target.settle(ids[-1])
    items = await target.poll({"channels": target.channel, "since": since, "wait": "9"})
    same([item.get("id") for item in items], ids, "ids of the batch")


@TABLE.check("at-once", "The first bytes of a stream are sent at once", clause="Headers of streams and polls")
async def _at_once(target: Target) -> None:
    for transport in ("websocket", "sse"):
        began = time.monotonic()
        async with target.open(transport) as reading:
            await hello_of(reading)
        holds(time.monotonic() - began < 2, "hello within 2 s", f"{time.monotonic() - began:.2f} s over {transport}")


@TABLE.check("pong", "A ping of RFC 6455 is answered with its payload")
async def _pong(target: Target) -> None:
    async with target.socket({"channels": target.channel}) as talk:
        await hello_of(talk)
        talk.socket.ping(_PING)
        event = await talk.socket.event()
        same(bytes(event.payload) if isinstance(event, ws.Pong) else type(event).__name__, _PING, "payload of a pong (5.5.3)")


@TABLE.check("close", "A close frame is answered with its code")
async def _close(target: Target) -> None:
    for code in (1000, 4321):
        async with target.socket({"channels": target.channel}) as talk:
            await hello_of(talk)
            talk.socket.close(code)
            event = await talk.socket.event()
            same(
                event.code if isinstance(event, ws.CloseConnection) else type(event).__name__, code, "close code (RFC 6455 5.5.1)"
            )


@TABLE.check("fragments", "A message in fragments is one message")
async def _fragments(target: Target) -> None:
    async with target.socket({"channels": target.channel}) as talk:
        await hello_of(talk)
        talk.socket.say_parts('{"do":"pi', "", 'ng","ref":', "77}")
        same((await first(talk, "reply")).get("ref"), 77, "ref of the reply")


async def _ended(target: Target, frame: str | bytes, code: int, *others: int) -> None:
    """Raises: Unmet, a frame does not end a WebSocket with `bye` and close code, or with one of the `others` without a word."""
    async with target.socket({"channels": target.channel}) as talk:
        await hello_of(talk)
        talk.socket.say(frame)
        event = await talk.socket.event()
        if isinstance(event, ws.CloseConnection) and event.code in others:
            return
        item: dict[str, Any] = batch_of(event.data)[-1] if isinstance(event, ws.TextMessage) else {}
        same((item.get("type"), item.get("code")), ("bye", code), "the last item")
        same(await talk.closed(), code, "close code")


@TABLE.check("binary", "A binary frame, where JSON is spoken, ends the WebSocket with 4400")
async def _binary(target: Target) -> None:
    await _ended(target, b'{"do":"ping"}', 4400)


@TABLE.check("frame-that-is-none", "A frame that is neither object nor array of objects ends it with 4400")
async def _not_json(target: Target) -> None:
    for frame in ("nonsense", "", "5", "[1]", '{"do":"ping"}]', "null"):
        await _ended(target, frame, 4400)


@TABLE.check("overlong-frame", "A frame over the limit ends it with 4413, or with 1009")
async def _overlong(target: Target) -> None:
    limit = (await target.get("negotiate")).json()["limits"]["message_bytes"]
    for size in (limit + 1, 5 * limit):
        await _ended(target, '{"do":"ping"}' + " " * (size - 13), 4413, _TOO_BIG)


@TABLE.check(
    "silent", "Who has pinged and stops is closed with 4408, after two and a half beats", clause="Commands: what travels up"
)
async def _silent(target: Target) -> None:
    async with target.socket({"channels": target.channel, "beat": "1"}) as talk:
        beat = (await hello_of(talk))["beat"]
        await talk.replies({"do": "ping", "ref": 1})
        began = time.monotonic()
        try:
            async with asyncio.timeout((_SILENT + 2) * beat + 1):
                bye = await first(talk, "bye")
        except TimeoutError:
            raise Unmet(f"bye 4408 after {_SILENT * beat:g} s", "none") from None
        lasted = time.monotonic() - began
        same(bye.get("code"), 4408, "code of bye")
        same(await talk.closed(), 4408, "close code")
    holds(lasted > 2 * beat, f"an end after {_SILENT * beat:g} s", f"{lasted:.1f} s")


@TABLE.check("first-command", "Who follows no channel and says nothing is closed with 4408", clause="Limits")
async def _first_command(target: Target) -> None:
    seconds = (await target.get("negotiate")).json()["limits"].get("first_command_timeout", 10.0)
    if seconds > _LONG:
        raise Unfit(f"this server waits {seconds:g} s for a first command")
    async with target.socket({}) as talk:
        await hello_of(talk)
        began = time.monotonic()
        bye = await first(talk, "bye", seconds + 5)
        same(bye.get("code"), 4408, "code of bye")
        same(await talk.closed(), 4408, "close code")
    holds(time.monotonic() - began > seconds / 2, f"an end after {seconds:g} s", f"{time.monotonic() - began:.1f} s")


@TABLE.check("refused-websocket", "A refusal on ws comes as bye and close code, and is the last item")
async def _refused(target: Target) -> None:
    await told_bye(target, {"channels": target.channel, "since": "nonsense"}, 4400)


async def _packed(socket: Socket, wanted: Callable[[Sequence[dict[str, Any]]], Any]) -> Any:
    """What `wanted` finds in the items so far, in MessagePack. Raises: Unmet."""
    come: list[dict[str, Any]] = []
    while not (found := wanted(come)):
        event = await socket.event()
        if not isinstance(event, ws.BytesMessage):
            raise Unmet("a binary frame", type(event).__name__)
        try:
            items = msgspec.msgpack.decode(event.data)
        except msgspec.DecodeError as error:
            raise Unmet("a frame of MessagePack", shown(repr(bytes(event.data)))) from error
        holds(isinstance(items, list) and items and all(isinstance(each, dict) for each in items), "an array of items", items)
        come += items
    return found


def _of_type(kind: str) -> Callable[[Sequence[dict[str, Any]]], Any]:
    return lambda come: next((item for item in come if item.get("type") == kind), None)


def _published(come: Sequence[dict[str, Any]]) -> Any:
    """A reply, and the event that it names, whichever comes first."""
    replies = [item for item in come if item.get("type") == "reply"]
    named = [item for item in come if replies and item.get("type") == "event" and item.get("id") == replies[0].get("id")]
    return (replies[0], named[0]) if named else None


@asynccontextmanager
async def _in_messagepack(target: Target) -> AsyncIterator[Socket]:
    if MESSAGEPACK not in (await target.get("negotiate")).json().get("subprotocols", ()):
        raise Unfit("this server does not offer MessagePack")
    async with target.handshake("ws", {"channels": target.channel}, [MESSAGEPACK, JSON]) as (socket, refused):
        if refused is not None:
            raise Unmet("a WebSocket", f"status {refused.status}")
        same(socket.subprotocol, MESSAGEPACK, "subprotocol, the first that is offered and spoken")
        await _packed(socket, _of_type("hello"))
        yield socket


@TABLE.check("messagepack", "Items and commands in MessagePack say what their JSON says", clause="MessagePack")
async def _messagepack(target: Target) -> None:
    data: list[Any] = [mark(), None, True, 1, -(2**63), 2**64 - 1, 1.0, 0.1, "ä\u0000", {"": [{}]}]
    async with _in_messagepack(target) as socket:
        socket.say(msgspec.msgpack.encode({"do": "publish", "ref": 1, "channel": target.channel, "data": data}))
        reply, event = await _packed(socket, _published)
        holds(reply.get("ok") is True, "a reply with ok: true", reply)
        same(msgspec.msgpack.encode(event.get("data")), msgspec.msgpack.encode(data), "data")
    await target.settle(reply["id"])
    polled = await target.poll({"channels": target.channel, "since": f"{epoch(reply['id'])}.{number(reply['id']) - 1}"})
    same(msgspec.json.encode(polled[0]["data"]), msgspec.json.encode(data), "data in JSON")
    same([*polled[0]], [*event], "fields")


@TABLE.check("messagepack-integers", "An integer of more than 64 bits is an extension of its digits", clause="MessagePack")
async def _integers(target: Target) -> None:
    async with _in_messagepack(target) as socket:
        last = await target.publish(10**30)
        event = await _packed(socket, lambda come: next((item for item in come if item.get("id") == last), None))
        same(event.get("data"), msgspec.msgpack.Ext(1, str(10**30).encode()), "data")


@TABLE.check("messagepack-alone", "On a connection in MessagePack, text and garbage end it with 4400", clause="MessagePack")
async def _alone(target: Target) -> None:
    for frame in ('{"do":"ping"}', b"\xc1", b"\x93", msgspec.msgpack.encode({"do": b"ping"}), msgspec.msgpack.encode(5)):
        async with _in_messagepack(target) as socket:
            socket.say(frame)
            same((await _packed(socket, _of_type("bye"))).get("code"), 4400, "code of bye")
            event = await socket.event()
            same(event.code if isinstance(event, ws.CloseConnection) else type(event).__name__, 4400, "close code")
