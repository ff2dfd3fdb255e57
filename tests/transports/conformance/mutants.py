"""Servers that break one rule each: our own, with what a mutation does to what comes up and goes down."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlencode

import msgspec

Query: TypeAlias = list[tuple[str, str]]
Items: TypeAlias = list[dict[str, Any]]
CHANNEL = "everywire-conformance"


def _same(value: Any, *_: Any) -> Any:
    return value


@dataclass
class Mutation:
    """What is done to requests and answers; each gets the path below the mount, and gives what goes on instead."""

    query: Callable[[Query, str], Query] = _same
    scope: Callable[[dict[str, Any], str], Any] = _same  # changed in place
    up: Callable[[str, str], str] = _same  # a body, or a WebSocket message
    binary: bool = False  # WebSocket messages that are binary are taken as text
    items: Callable[[Items, str], Items] = _same  # in batches and in arrays of replies
    body: Callable[[Any, str], Any] = _same  # other JSON
    head: Callable[[int, dict[str, str], str], int] = _same  # headers are changed in place; gives the status
    raw: Callable[[bytes, str], bytes] = _same  # as it is framed
    event: Callable[[dict[str, Any], dict[str, Any], str], Any] = _same  # other messages of ASGI, changed in place; and the scope
    delay: float = 0.0  # seconds before whatever goes down first
    cut: dict[bytes, bytes] | None = None  # bytes on the wire, and what they become


class Mutant:
    """The application with a mutation."""

    def __init__(self, app: Any, mutation: Mutation) -> None:
        self.app, self.mutation = app, mutation

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        change, path = self.mutation, scope["path"].removeprefix("/live/")
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        scope = {**scope, "root_path": "/live", "headers": [*scope["headers"]]}
        scope["query_string"] = urlencode(change.query(query, path)).encode()
        change.scope(scope, path)
        call = _Call(change, scope, path, receive, send)
        await self.app(scope, call.receive, call.send)


class _Call:
    """One connection to a mutant."""

    def __init__(self, change: Mutation, scope: dict[str, Any], path: str, receive: Any, send: Any) -> None:
        self._change, self._scope, self._path, self._receive, self._send = change, scope, path, receive, send
        self._start: dict[str, Any] | None = None  # of an answer, as long as its body is not known
        self._kind = ""  # of the body
        self._begun = False

    async def receive(self) -> Any:
        message = await self._receive()
        if message["type"] == "websocket.receive":
            if message.get("text") is not None:
                return {"type": message["type"], "text": self._change.up(message["text"], self._path)}
            return {"type": message["type"], "text": message["bytes"].decode()} if self._change.binary else message
        if message["type"] == "http.request" and self._path == "commands":
            while message.get("more_body"):
                more = await self._receive()
                message = {**more, "body": message.get("body", b"") + more.get("body", b"")}
            body = self._change.up(message.get("body", b"").decode("utf-8", "surrogateescape"), self._path)
            return {**message, "body": body.encode("utf-8", "surrogateescape")}
        return message

    async def send(self, message: dict[str, Any]) -> None:
        if not self._begun:
            self._begun = True
            await asyncio.sleep(self._change.delay)
        match message["type"]:
            case "http.response.start":
                self._start = message
            case "http.response.body":
                await self._part(message)
            case "websocket.send" if message.get("text") is None:
                items = self._change.items(msgspec.msgpack.decode(message["bytes"]), self._path)
                await self._send({"type": message["type"], "bytes": msgspec.msgpack.encode(items)})
            case "websocket.send":
                text = self._down(message["text"].encode(), "application/json").decode()
                if text != "[]":
                    await self._send({"type": message["type"], "text": text})
            case _:
                message = dict(message)
                self._change.event(message, self._scope, self._path)
                await self._send(message)

    async def _part(self, message: dict[str, Any]) -> None:
        start, self._start = self._start, None
        if start is not None:
            headers = {name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]}
            self._kind = headers.get("content-type", "")
            status = self._change.head(start["status"], headers, self._path)
        body = self._down(message.get("body", b""), self._kind)
        if start is not None:
            if not message.get("more_body"):
                headers["content-length"] = str(len(body))
            lines = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
            await self._send({**start, "status": status, "headers": lines})
        if body or not message.get("more_body"):
            await self._send({**message, "body": body})

    def _down(self, data: bytes, kind: str) -> bytes:
        change, path = self._change, self._path
        if kind == "text/event-stream":
            items = [msgspec.json.decode(each) for each in re.findall(rb"^data: (.*)$", data, re.MULTILINE)]
            return change.raw(data if change.items is _same else b"".join(map(block, change.items(items, path))), path)
        if kind != "application/json" or not data:
            return change.raw(data, path)
        value = msgspec.json.decode(data)
        changed = change.items(value, path) if isinstance(value, list) else change.body(value, path)
        return change.raw(msgspec.json.encode(changed), path)


def block(item: dict[str, Any]) -> bytes:
    event = "" if item["type"] == "event" else f"event: {item['type']}\n"
    position = f"id: {item['id']}\n" if "id" in item else ""
    return f"{event}{position}data: ".encode() + msgspec.json.encode(item) + b"\n\n"


# --- small words for mutations


def drop(*names: str) -> Callable[[Query, str], Query]:
    return lambda query, _: [each for each in query if each[0] not in names]


def put(**more: str) -> Callable[[Query, str], Query]:
    return lambda query, _: [each for each in query if each[0] not in more] + [*more.items()]


def each(change: Callable[[dict[str, Any]], Any], *kinds: str) -> Callable[[Items, str], Items]:
    """Change the items of some kinds, in place; False leaves one out."""
    return lambda items, _: [item for item in items if item["type"] not in kinds or change(item) is not False]


def setting(*kinds: str, **more: Any) -> Callable[[Items, str], Items]:
    return each(lambda item: item.update(more), *kinds)


def without(*kinds: str) -> Callable[[Items, str], Items]:
    return lambda items, _: [item for item in items if item["type"] not in kinds]


def swap(old: str, new: str) -> Callable[[str, str], str]:
    return lambda text, _: text.replace(old, new)


def matching(pattern: str, new: str) -> Callable[[str, str], str]:
    return lambda text, _: re.sub(pattern, new, text)


def header(name: str, value: str | None) -> Callable[[dict[str, Any], str], None]:
    """A request's header, changed or taken away."""

    def change(scope: dict[str, Any], path: str) -> None:
        kept = [each for each in scope["headers"] if each[0].lower() != name.encode()]
        had = len(kept) < len(scope["headers"])
        scope["headers"] = (
            [*kept, (name.encode(), value.encode())] if value is not None and (had or name == "content-type") else kept
        )

    return change


def as_text(item: dict[str, Any]) -> None:
    item["data"] = str(item["data"])


def status(old: int, new: int) -> Callable[[int, dict[str, str], str], int]:
    return lambda status, headers, path: new if status == old else status


def lacks(name: str) -> Callable[[int, dict[str, str], str], int]:
    def change(status: int, headers: dict[str, str], path: str) -> int:
        headers.pop(name, None)
        return status

    return change


def replies(change: Callable[[dict[str, Any]], Any]) -> Callable[[Items, str], Items]:
    return each(change, "reply")


def behind(position: str, by: int) -> str:
    epoch, _, number = position.partition(".")
    return f"{epoch}.{max(0, int(number) - by)}"


class Forgetful:
    """Brings each event only once to whoever polls: a server that empties its buffer."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def __call__(self, items: Items, path: str) -> Items:
        if path != "poll":
            return items
        fresh = [item for item in items if item["type"] != "event" or item["id"] not in self.seen]
        self.seen |= {item["id"] for item in items if item["type"] == "event"}
        return fresh or [{"type": "beat", "id": items[-1]["id"], "at": 1.0}]


def fail_code(old: int, new: int) -> Callable[[Items, str], Items]:
    return replies(lambda item: item.update(code=new) if item.get("code") == old else None)


def good(item: dict[str, Any]) -> None:
    item.update(ok=True)
    for name in ("code", "name", "reason", "retry"):
        item.pop(name, None)


def stops_at_first(items: Items, path: str) -> Items:
    bad = next((place for place, item in enumerate(items) if item["type"] == "reply" and not item["ok"]), len(items))
    return items[: bad + 1] + [{"type": "reply", "ref": None, "ok": False, "code": 4400} for _ in items[bad + 1 :]]


def elsewhere(scope: dict[str, Any], path: str) -> None:
    if path == "nothing-here":
        scope["path"] = "/live/ws"


def first_channel(query: Query, path: str) -> Query:
    return [(name, value.split(",")[0] if name == "channels" else value) for name, value in query]


def some_channels(query: Query, path: str) -> Query:
    return (
        query
        if any(value.strip(",") for name, value in query if name == "channels")
        else [*drop("channels")(query, path), ("channels", CHANNEL)]
    )


def since_moved(by: int) -> Callable[[Query, str], Query]:
    return lambda query, _: [(name, behind(value, by) if name == "since" else value) for name, value in query]


def dislikes(query: Query, path: str) -> Query:
    return [("v", "2"), *query] if any(name == "nonsense" for name, _ in query) else query


def taken(subprotocol: Callable[[Sequence[str]], str | None]) -> Callable[[dict[str, Any], dict[str, Any], str], None]:
    def change(message: dict[str, Any], scope: dict[str, Any], path: str) -> None:
        if message["type"] == "websocket.accept":
            message["subprotocol"] = subprotocol(scope["subprotocols"])

    return change


def closes(code: int) -> Callable[[dict[str, Any], dict[str, Any], str], None]:
    def change(message: dict[str, Any], scope: dict[str, Any], path: str) -> None:
        if message["type"] == "websocket.close" and "code" in message:
            message["code"] = code

    return change


def no_subprotocols(scope: dict[str, Any], path: str) -> None:
    scope["subprotocols"] = []


def garbage_is_a_ping(text: str, path: str) -> str:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return '{"do":"ping"}'
    whole = isinstance(value, dict) or (isinstance(value, list) and all(isinstance(each, dict) for each in value))
    return text if whole else '{"do":"ping"}'


def only_the_first(text: str, path: str) -> str:
    value = msgspec.json.decode(text)
    return msgspec.json.encode(value[0]).decode() if isinstance(value, list) and value else text


def one(name: str) -> Callable[[Items, str], Items]:
    """Only the first item of a batch of events."""
    return lambda items, path: items[:1] if path == name else items


def other_json(items: Items, path: str) -> Items:
    return [dict(reversed(item.items())) for item in items] if path == "sse" else items


def nowhere(scope: dict[str, Any], path: str) -> None:
    if path in ("ws", "sse", "poll") and b"since=" not in scope["query_string"]:
        scope["query_string"] += b"&since=gone.1"


def page(change: Callable[[dict[str, Any]], Any]) -> Callable[[Any, str], Any]:
    def changed(body: Any, path: str) -> Any:
        if "members" in body:
            change(body)
        return body

    return changed


def first_data(item: dict[str, Any]) -> None:
    if isinstance(item["data"], list) and len(item["data"]) == 2 and item["data"][1] is True:
        item["data"][1] = 1


def listed_before(body: dict[str, Any]) -> None:
    body["id"] = f"{body['id'].partition('.')[0]}.0"


M = Mutation
MUTATIONS: list[tuple[str, Mutation]] = [
    # endpoints
    ("negotiate", M(body=lambda body, path: {**body, "versions": [2]} if path == "negotiate" else body)),
    ("negotiate", M(body=lambda body, path: {**body, "transports": []} if path == "negotiate" else body)),
    ("health", M(head=lambda status, headers, path: 503 if path == "health" else status)),
    ("unknown-path", M(head=status(404, 400))),
    ("unknown-path", M(body=lambda body, path: {**body, "code": 4404, "name": "unknown_channel"} if "code" in body else body)),
    ("wrong-method", M(head=status(405, 404))),
    ("plain-http-at-ws", M(head=status(426, 400))),
    ("plain-http-at-ws", M(head=lacks("upgrade"))),
    ("websocket-elsewhere", M(scope=elsewhere)),
    ("version", M(query=drop("v"))),
    ("version-of-commands", M(query=drop("v"))),
    ("version-1", M(query=lambda query, _: [("v", "2") if each == ("v", "1") else each for each in query])),
    ("no-channels", M(query=some_channels)),
    ("no-channels-yet", M(query=lambda query, path: some_channels(query, path) if path == "ws" else query)),
    ("channel-names", M(query=put(channels=CHANNEL))),
    ("too-many-channels", M(query=first_channel)),
    ("garbage-since", M(query=drop("since"))),
    ("empty-since", M(query=lambda query, _: [("since", "x") if each == ("since", "") else each for each in query])),
    ("garbage-beat", M(query=drop("beat"))),
    ("garbage-wait", M(query=drop("wait"))),
    ("unknown-parameters", M(query=dislikes)),
    ("twice", M(query=lambda query, _: query[::-1])),
    ("foreign-origin", M(scope=header("origin", None))),
    ("own-origin", M(scope=header("origin", "http://elsewhere.invalid"))),
    ("content-type-of-commands", M(scope=header("content-type", "application/json"))),
    ("headers", M(head=lacks("cache-control"))),
    ("headers", M(head=lacks("x-accel-buffering"))),
    ("headers", M(head=lacks("incremental"))),
    ("headers", M(head=lacks("x-content-type-options"))),
    ("headers", M(head=lacks("cross-origin-resource-policy"))),
    ("headers", M(head=lacks("content-security-policy"))),
    ("doubled-header", M(cut={b"HTTP/1.1 400": b"HTTP/1.1 403"})),
    ("encoded-body", M(scope=header("content-encoding", None))),
    ("overlong-head", M(cut={b"HTTP/1.1 414": b"HTTP/1.1 404"})),
    ("overlong-head", M(cut={b"HTTP/1.1 431": b"HTTP/1.1 413"})),
    ("alive", M(head=lambda status, headers, path: 503 if path == "health/live" else status)),
    ("ticket", M(query=drop("ticket"))),
    ("ticket", M(body=lambda body, path: {**body, "expires": None} if path == "ticket" else body)),
    ("content-types", M(head=lambda status, headers, path: headers.update({"content-type": "text/plain"}) or status)),
    # items
    ("hello-first", M(items=lambda items, _: [{"type": "beat", "id": "a.0", "at": 1.0}, *items])),
    ("hello-first", M(items=setting("hello", v=2))),
    ("hello-first", M(items=setting("hello", connection=""))),
    ("hello-is-the-whole-answer", M(items=lambda items, _: [*items, {"type": "beat", "id": "a.0", "at": 1.0}])),
    ("event", M(items=each(first_data, "event"))),
    ("event", M(items=each(lambda item: item.update(at=item["at"] * 1000), "event"))),
    ("event", M(items=setting("event", about="x"))),
    ("about", M(items=each(lambda item: item.pop("about", None), "event"))),
    ("same-json", M(items=other_json)),
    ("ids-grow", M(items=lambda items, _: items[::-1] if items[0]["type"] == "event" else items)),
    ("ids-grow", M(items=each(lambda item: item.update(id=f"x{item['id']}"), "hello"))),
    ("resume/websocket", M(items=setting("hello", resumed="fresh"))),
    ("resume", M(query=since_moved(1))),
    ("resume", M(query=since_moved(-1))),
    ("resume-from-hello", M(items=setting("hello", id="gone.1"))),
    ("present", M(scope=nowhere, items=lambda items, _: [item for item in items if item["type"] != "lost"] or items)),
    ("last-event-id", M(scope=header("last-event-id", None))),
    ("lost-epoch", M(items=lambda items, _: [item for item in items if item["type"] != "lost"])),
    ("lost-epoch", M(items=setting("lost", reason="evicted"))),
    ("lost-future", M(items=setting("lost", reason="epoch"))),
    ("lost-future", M(items=each(lambda item: item.update(after=item["through"]), "lost"))),
    ("beat", M(query=drop("beat"))),
    ("beat", M(items=setting("beat", id="a.0"))),
    ("beat-least", M(items=setting("hello", beat=0.01))),
    ("beat-most", M(items=setting("hello", beat=999999.0))),
    ("poll-waits", M(query=put(wait="0"))),
    ("poll-at-once", M(query=put(wait="3"))),
    ("poll-woken", M(items=lambda items, _: [{**items[0], "type": "beat"}] if items[0]["type"] == "event" else items)),
    ("poll-again", M(items=Forgetful())),
    ("quiet-readers-move", M(items=each(lambda item: item.update(id=behind(item["id"], 10**6)), "beat"))),
    ("several-channels", M(query=first_channel)),
    # framing
    ("subprotocol", M(event=taken(lambda offered: None))),
    ("no-subprotocol", M(items=setting("hello", v=2))),
    ("unknown-subprotocol", M(scope=no_subprotocols)),
    ("token-subprotocol", M(event=taken(lambda offered: offered[-1]))),
    ("frames", M(raw=lambda data, path: data[1:-1] if path == "ws" else data)),
    ("sse-blocks", M(raw=lambda data, path: data.replace(b"\n", b"\r\n") if path == "sse" else data)),
    ("sse-blocks", M(raw=lambda data, path: re.sub(rb"^id:", b"event: event\nid:", data) if path == "sse" else data)),
    ("sse-blocks", M(raw=lambda data, path: re.sub(rb"id: .*\n", b"", data) if path == "sse" else data)),
    ("sse-blocks", M(raw=lambda data, path: re.sub(rb"event: beat\n", b"", data) if path == "sse" else data)),
    ("sse-blocks", M(raw=lambda data, path: b":\n" + data if path == "sse" else data)),
    ("poll-batch", M(items=one("poll"))),
    ("at-once", M(delay=2.1)),
    ("pong", M(cut={b"everywire": b"somebody!"})),
    ("close", M(cut={(4321).to_bytes(2, "big"): (4322).to_bytes(2, "big")})),
    ("fragments", M(up=swap('"ref":77', '"ref":7'))),
    ("binary", M(binary=True)),
    ("frame-that-is-none", M(up=garbage_is_a_ping)),
    ("overlong-frame", M(cut={b":4413": b":4400", (1009).to_bytes(2, "big"): (1008).to_bytes(2, "big")})),
    ("silent", M(items=setting("bye", code=4500))),
    ("silent", M(event=closes(1000))),
    ("refused-websocket", M(event=closes(1000))),
    ("refused-websocket", M(items=lambda items, _: [*items, *items] if items[0]["type"] == "bye" else items)),
    ("first-command", M(items=setting("bye", code=4500))),
    ("messagepack", M(items=each(as_text, "event"))),
    ("messagepack", M(items=lambda items, path: setting("event", more=1)(items, path) if path == "ws" else items)),
    ("messagepack-integers", M(items=each(as_text, "event"))),
    ("messagepack-alone", M(items=setting("bye", code=4500))),
    # commands
    ("auth-elsewhere", M(items=replies(good))),
    ("auth", M(up=swap('"do":"auth"', '"do":"dance"'))),
    ("auth", M(items=setting("reply", expires="soon"))),
    ("too-many-commands", M(items=replies(good))),
    ("too-many-commands", M(items=setting("reply", retry=None))),
    ("publish", M(items=replies(lambda item: item.update(id=behind(item["id"], 1))))),
    ("publish", M(items=replies(lambda item: item.update(ref=None)))),
    ("ping", M(items=replies(lambda item: item.update(ref=5)))),
    ("ping", M(items=replies(lambda item: item.update(id="a.1")))),
    ("one-or-many", M(up=only_the_first)),
    ("order", M(items=lambda items, _: items[::-1])),
    ("bad-among-good", M(items=stops_at_first)),
    ("bad-among-good", M(items=fail_code(4400, 4500))),
    ("unknown-channel", M(items=fail_code(4404, 4400))),
    ("unknown-fields", M(up=lambda text, _: text.replace("ping", "dance") if "color" in text else text)),
    ("body-that-is-none", M(up=garbage_is_a_ping)),
    ("overlong-body", M(up=lambda text, _: text.strip())),
    ("overlong-body", M(head=status(413, 400))),
    ("key", M(up=matching('"key":"[^"]*"', '"no":1'))),
    ("other-keys", M(up=matching('"key":"[^"]*"', '"key":"same"'))),
    ("subscribe", M(items=lambda items, path: setting("reply", id="nonsense")(items, path) if path == "ws" else items)),
    ("subscribe-since", M(up=matching('"since":"[^"]*"', '"no":1'))),
    ("unsubscribe", M(up=swap('"do":"unsubscribe"', '"do":"ping"'))),
    ("subscribe-elsewhere", M(items=replies(good))),
    ("subscribe-nothing", M(items=fail_code(4400, 4500))),
    ("subscribe-nothing", M(items=fail_code(4404, 4400))),
    ("deep", M(items=replies(good))),
    # patterns and policies
    ("pattern", M(items=lambda items, path: each(lambda item: item.update(channel="x"), "event")(items, path))),
    ("pattern-leaves-out", M(query=lambda query, _: [(n, f"{v},presence:{v}") if v.endswith("*") else (n, v) for n, v in query])),
    ("pattern-garbage", M(query=put(channels=CHANNEL))),
    ("latest", M(query=drop("latest"))),
    ("latest", M(items=each(lambda item: item.update(count=item["count"] + 1), "skipped"))),
    ("lag", M(query=drop("lag"))),
    ("lag", M(items=without("skipped"))),
    ("every", M(query=put(latest=CHANNEL))),
    ("policy-garbage", M(query=drop("latest", "lag"))),
    ("policy-by-command", M(up=matching('"(lag|latest)":', '"no":'))),
    # presence
    ("visit", M(items=each(lambda item: item["data"].get("change") != "changed", "event"))),
    ("visit", M(items=replies(lambda item: item.pop("for", None)))),
    ("list-and-stream", M(body=page(listed_before))),
    ("pages", M(body=page(lambda body: body["members"].reverse()))),
    ("pages", M(query=drop("limit"))),
    ("presence-garbage", M(items=fail_code(4413, 4400))),
    ("presence-garbage", M(items=fail_code(4400, 4413))),
    ("nobody-else-tells", M(up=swap('"channel":"presence:', '"channel":"'))),
    ("no-presence-of-presence", M(items=replies(good))),
    ("list-garbage", M(query=drop("limit"))),
    ("list-garbage", M(query=drop("since"))),
    ("lease-ends", M(items=each(lambda item: item["data"].update(change="left") if "change" in item["data"] else None, "event"))),
]  # fmt: skip
"""The name of a check, without its transport, and what it has to find."""
