"""Paths, methods, parameters, headers, and the ways in which something is refused."""

from __future__ import annotations

import gzip
import math
from typing import Any, Final

from .target import PATHS, Target, batch_of, hello_of, number
from .verdicts import ALL, HTTP, STREAMS, WEBSOCKET, Table, Unfit, holds, same
from .wire import Answer, Head

TABLE: Final = Table("Endpoints")
_JSON: Final = ("content-type", "application/json")
_ELSEWHERE: Final = "http://elsewhere.invalid"  # RFC 6761: nobody's
_HEADERS: Final = {
    "cache-control": {"no-store", "no-transform"},
    "x-accel-buffering": {"no"},
    "incremental": {"?1"},
    "x-content-type-options": {"nosniff"},
    "cross-origin-resource-policy": {"same-origin"},
    "content-security-policy": {"default-src 'none'; frame-ancestors 'none'"},
}
NAMES: Final = {
    4400: "bad_command",
    4401: "unauthorized",
    4403: "forbidden",
    4404: "unknown_channel",
    4413: "too_large",
    4426: "version",
    4429: "rate_limited",
}


def refused(answer: Answer, code: int, status: int) -> None:
    """Raises: Unmet, the answer is not this numbered error."""
    same(answer.status, status, f"status of {code}")
    same(answer.head.header("content-type"), "application/json", "content type of an error")
    error = answer.json()
    holds(isinstance(error, dict) and isinstance(error.get("reason"), str), "an object with a reason", error)
    same((error.get("code"), error.get("name")), (code, NAMES[code]), "code and name")
    holds("retry" in error, "retry, seconds or null", error)
    after = answer.head.header("retry-after")
    same(after, "" if error["retry"] is None else str(math.ceil(error["retry"])), "Retry-After, as the retry in the body")


async def told_bye(target: Target, query: Any, code: int) -> None:
    """Raises: Unmet, a WebSocket that asks for this is not accepted, told `bye` and closed with the code."""
    async with target.socket(query, ()) as talk:
        (item,) = await talk.batch()
        same((item["type"], item.get("code"), item.get("name")), ("bye", code, NAMES[code]), "the only item")
        same(await talk.closed(), code, "close code")


async def refuses(target: Target, transport: str, query: Any, code: int) -> None:
    """Raises: Unmet, what is asked for is not refused in the way of the transport."""
    if transport == WEBSOCKET:
        await told_bye(target, query, code)
    else:
        refused(await target.get(PATHS[transport], query), code, {4404: 404, 4413: 413}.get(code, 400))


@TABLE.check("negotiate", "GET negotiate tells versions, transports with their paths, and limits")
async def _negotiate(target: Target) -> None:
    answer = await target.get("negotiate")
    same(answer.status, 200, "status")
    same(answer.head.header("content-type"), "application/json", "content type")
    known = answer.json()
    holds(isinstance(known, dict) and 1 in known.get("versions", ()), "versions with 1 among them", known)
    found = {each["name"]: each["path"] for each in known.get("transports", ())}
    holds(found and set(found) & set(PATHS), "transports with name and path", known)
    same({name: path for name, path in found.items() if name in PATHS}, {n: PATHS[n] for n in found if n in PATHS}, "paths")
    holds(known.get("beat", 0) > 0 and isinstance(known.get("limits"), dict), "beat and limits", known)


@TABLE.check("health", "GET health is 200 where new readers may be sent")
async def _health(target: Target) -> None:
    answer = await target.get("health")
    same(answer.status, 200, "status")


@TABLE.check("unknown-path", "A path that serves nothing answers 404 with code 4400", clause="Codes")
async def _unknown_path(target: Target) -> None:
    refused(await target.get("nothing-here"), 4400, 404)


@TABLE.check("wrong-method", "A wrong method answers 405 with code 4400", clause="Codes")
async def _wrong_method(target: Target) -> None:
    refused(await target.get("commands"), 4400, 405)
    for path in ("sse", "poll"):
        answer = await target.ask("POST", path, headers=[("content-type", "application/json")], body=b"[]")
        refused(answer, 4400, 405)


@TABLE.check("plain-http-at-ws", "Plain HTTP at ws answers 426 with code 4400", clause="Codes")
async def _plain_http(target: Target) -> None:
    answer = await target.get("ws", {"channels": target.channel})
    refused(answer, 4400, 426)
    same(answer.head.header("upgrade"), "websocket", "Upgrade (RFC 9110 15.5.22)")


@TABLE.check("websocket-elsewhere", "A WebSocket at a path that serves none is a refused upgrade", clause="Codes")
async def _websocket_elsewhere(target: Target) -> None:
    async with target.handshake("nothing-here") as (_, head):
        holds(head is not None and head.status >= 400, "a status of 400 or more", head and head.status)


@TABLE.check("version", "Another version is refused with 4426", over=ALL)
async def _version(target: Target, transport: str) -> None:
    query = {"channels": target.channel, "v": "2"}
    if transport == WEBSOCKET:
        await told_bye(target, query, 4426)
    else:
        refused(await target.get(PATHS[transport], query), 4426, 400)


@TABLE.check("version-of-commands", "POST commands of another version are refused with 4426")
async def _version_of_commands(target: Target) -> None:
    refused(await target.post(b"[]", {"v": "2"}), 4426, 400)


@TABLE.check("version-1", "v=1 is what is spoken when nothing is said", over=ALL)
async def _version_one(target: Target, transport: str) -> None:
    async with target.open(transport, v="1") as reading:
        same((await hello_of(reading))["v"], 1, "v of hello")


@TABLE.check("no-channels", "sse and poll want channels: 4400 without", over=HTTP)
async def _no_channels(target: Target, transport: str) -> None:
    for query in ({}, {"channels": ""}, {"channels": ","}):
        refused(await target.get(PATHS[transport], query), 4400, 400)


@TABLE.check("no-channels-yet", "A WebSocket may start with no channels")
async def _no_channels_yet(target: Target) -> None:
    async with target.socket({}) as talk:
        same((await hello_of(talk))["channels"], [], "channels of hello")


@TABLE.check("channel-names", "What is no channel name is refused with 4404", over=ALL)
async def _channel_names(target: Target, transport: str) -> None:
    for name in ("no such/name", "-begins", "x" * 129, "a$b", "ä"):
        await refuses(target, transport, {"channels": name}, 4404)


@TABLE.check("too-many-channels", "More channels than the limit are refused with 4400", over=ALL)
async def _too_many_channels(target: Target, transport: str) -> None:
    limits = (await target.get("negotiate")).json().get("limits", {})
    most = limits.get("channels_per_reader", 100)
    if most > 1000:
        raise Unfit("so many channels do not fit into a URL")
    await refuses(target, transport, {"channels": ",".join(f"{target.channel}.{n}" for n in range(most + 1))}, 4400)


@TABLE.check("garbage-since", "A position that is none is refused with 4400", over=ALL, clause="Positions")
async def _garbage_since(target: Target, transport: str) -> None:
    for since in ("nonsense", "a.01", "a.-1", "a.9007199254740992", ".1", "a b.1", "aaaaaaaaaaaaaaaaa.1"):
        await refuses(target, transport, {"channels": target.channel, "since": since}, 4400)


@TABLE.check("empty-since", "An empty since= is none", over=ALL, clause="Positions")
async def _empty_since(target: Target, transport: str) -> None:
    async with target.open(transport, since="") as reading:
        same((await hello_of(reading))["resumed"], "fresh", "resumed")


@TABLE.check("garbage-beat", "A beat that is no number is refused with 4400", over=STREAMS)
async def _garbage_beat(target: Target, transport: str) -> None:
    for beat in ("soon", "-1", "1e3", ""):
        await refuses(target, transport, {"channels": target.channel, "beat": beat}, 4400)


@TABLE.check("garbage-wait", "A wait that is no number is refused with 4400")
async def _garbage_wait(target: Target) -> None:
    for wait in ("soon", "-1", "1e3", ""):
        await refuses(target, "longpoll", {"channels": target.channel, "wait": wait}, 4400)


@TABLE.check("unknown-parameters", "Parameters that are not known are ignored", over=ALL)
async def _unknown_parameters(target: Target, transport: str) -> None:
    async with target.open(transport, _="1700000000.5", callback="x", nonsense="%00") as reading:
        await hello_of(reading)


@TABLE.check("twice", "Of a parameter that is given twice, the first counts", over=ALL)
async def _twice(target: Target, transport: str) -> None:
    query = [("channels", target.channel), ("channels", "no such/name"), ("v", "1"), ("v", "2")]
    async with target.open(transport, query) as reading:
        same((await hello_of(reading))["channels"], [target.channel], "channels of hello")


@TABLE.check("foreign-origin", "A page of another origin is refused: 403, code 4403", clause="Pages of other origins")
async def _foreign_origin(target: Target) -> None:
    headers = [("origin", _ELSEWHERE)]
    for path in ("poll", "sse", "negotiate"):
        query = {"channels": target.channel, "wait": "0", "since": "a.0"} if path == "poll" else {"channels": target.channel}
        if path == "sse":
            async with target.handshake("ws", {"channels": target.channel}, headers=headers) as (_, head):
                _not_welcome(head)
        answer = await target.get(path, query, headers=headers) if path != "sse" else await target.get("health", headers=headers)
        if answer.head.header("access-control-allow-origin"):
            raise Unfit("the server lets pages of every origin in")
        refused(answer, 4403, 403)
    refused(await target.post(b'{"do":"ping"}', headers=headers), 4403, 403)
    refused(await target.get("poll", {"channels": target.channel}, headers=[("sec-fetch-site", "cross-site")]), 4403, 403)


def _not_welcome(head: Head | None) -> None:
    if head is not None and head.header("access-control-allow-origin"):
        raise Unfit("the server lets pages of every origin in")
    same(head and head.status, 403, "status of the refused upgrade")


@TABLE.check("own-origin", "A page of the server's own origin is let in", clause="Pages of other origins")
async def _own_origin(target: Target) -> None:
    origin = f"{'https' if target.secure else 'http'}://{target.place.authority}"
    answer = await target.get("poll", {"channels": target.channel}, headers=[("origin", origin)])
    same(answer.status, 200, "status of a poll")


@TABLE.check("content-type-of-commands", "POST wants application/json: 415 with code 4400", clause="Pages of other origins")
async def _content_type(target: Target) -> None:
    for kind in ([("content-type", "text/plain")], [("content-type", "application/x-www-form-urlencoded")], []):
        refused(await target.ask("POST", "commands", headers=kind, body=b'{"do":"ping"}'), 4400, 415)
    answer = await target.ask(
        "POST", "commands", headers=[("content-type", "application/json; charset=utf-8")], body=b'{"do":"ping"}'
    )
    same(answer.status, 200, "status with parameters behind the type")


@TABLE.check("headers", "Each answer says that nothing may keep or hold it back", clause="Headers of streams and polls")
async def _headers(target: Target) -> None:
    channels = {"channels": target.channel}
    heads = {
        "poll": (await target.get("poll", channels)).head,
        "commands": (await target.post(b'{"do":"ping","ref":1}')).head,
        "negotiate": (await target.get("negotiate")).head,
        "an error": (await target.get("poll", {**channels, "since": "nonsense"})).head,
    }
    async with target.stream(channels) as stream:
        heads["sse"] = stream.head
    for name, head in heads.items():
        for header, words in _HEADERS.items():
            said = {each.strip() for each in head.header(header).split(",")}
            holds(words <= said, f"{name}: {header}: {', '.join(sorted(words))}", head.header(header))


@TABLE.check("content-types", "sse is text/event-stream, a poll application/json", clause="Framing")
async def _content_types(target: Target) -> None:
    poll = await target.get("poll", {"channels": target.channel})
    same(poll.head.header("content-type"), "application/json", "content type of a poll")
    number(batch_of(poll.body)[0]["id"])
    async with target.stream({"channels": target.channel}) as stream:
        kind = stream.head.header("content-type")
        same(kind.partition(";")[0].strip(), "text/event-stream", "content type of sse")


@TABLE.check("doubled-header", "Two headers that say who or whose are refused with 4400", clause="Pages of other origins")
async def _doubled(target: Target) -> None:
    origin = ("origin", f"{'https' if target.secure else 'http'}://{target.place.authority}")
    refused(await target.get("poll", {"channels": target.channel}, headers=[origin, origin]), 4400, 400)


@TABLE.check("encoded-body", "A body with a Content-Encoding is refused: 415 with code 4400", clause="Compression")
async def _encoded(target: Target) -> None:
    body = gzip.compress(b'{"do":"ping"}')
    refused(await target.post(body, headers=[("content-encoding", "gzip")]), 4400, 415)
    same((await target.post(b'{"do":"ping"}', headers=[("content-encoding", "identity")])).status, 200, "status with identity")


@TABLE.check("overlong-head", "A URL or a head that is too long is refused: 414, 431, code 4413", clause="Limits")
async def _overlong(target: Target) -> None:
    query = {"channels": target.channel}
    refused(await target.get("poll", {**query, "_": "x" * 9000}), 4413, 414)
    refused(await target.get("poll", query, headers=[(f"x-{n}", "x" * 3000) for n in range(6)]), 4413, 431)


@TABLE.check("alive", "GET health/live is 200 as long as the process answers")
async def _alive(target: Target) -> None:
    same((await target.get("health/live")).status, 200, "status")


@TABLE.check("ticket", "A ticket lets in once, over the transport that it is for", over=HTTP, clause="Credentials")
async def _ticket(target: Target, transport: str) -> None:
    path, other = PATHS[transport], "poll" if transport != "longpoll" else "sse"
    refused(await target.ask("POST", "ticket", {"for": "nonsense"}, headers=[_JSON], body=b""), 4400, 400)
    answer = await target.ask("POST", "ticket", {"for": path}, headers=[_JSON], body=b"")
    if answer.status != 200:
        raise Unfit(f"no ticket is to be had here: {answer.status}")
    ticket = answer.json()
    holds(isinstance(ticket.get("ticket"), str) and isinstance(ticket.get("expires"), int | float), "ticket, expires", ticket)
    query = {"channels": target.channel, "ticket": ticket["ticket"]}
    refused(await target.get(other, query), 4401, 401)
    answer = await target.ask("POST", "ticket", {"for": path}, headers=[_JSON], body=b"")
    query["ticket"] = answer.json()["ticket"]
    same((await target.get(path, query)).status, 200, "status with the ticket")
    refused(await target.get(path, query), 4401, 401)
