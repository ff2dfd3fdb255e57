"""Target: the server that is looked at, and readings of it over each wire."""

from __future__ import annotations

import asyncio
import re
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from wsproto import events as ws

from ..errors import ConfigError
from .verdicts import LONGPOLL, SSE, WEBSOCKET, Unmet, holds, same
from .wire import PATIENCE, Answer, Exchange, Head, Place, Socket, decoded, shown

PATHS: Final = {WEBSOCKET: "ws", SSE: "sse", LONGPOLL: "poll"}
_SETTLE: Final = 2.0  # seconds
_AGAIN: Final = 0.02  # seconds until something is asked again
_ASKED: Final = 8  # times in a row: one is answered by one process, and there may be others
_BLOCK = re.compile(rb"(?:event: ([a-z]+)\n)?(?:id: ([^\n\r]+)\n)?(?:retry: ([0-9]+)\n)?data: ([^\n\r]+)")

Query: TypeAlias = Mapping[str, str] | Sequence[tuple[str, str]]


class Block(NamedTuple):
    """A block of an event stream."""

    event: str
    id: str
    retry: str
    data: bytes


class Reading:
    """One wire, open."""

    def __init__(self) -> None:
        self.aside: list[dict[str, Any]] = []  # what came, and was not asked for yet

    async def batch(self, seconds: float = PATIENCE) -> list[dict[str, Any]]:
        """The items that come next together, at least one. Raises: Unmet."""
        if self.aside:
            items, self.aside = self.aside, []
            return items
        return await self._come(seconds)

    async def _come(self, seconds: float) -> list[dict[str, Any]]:
        raise NotImplementedError


class Target:
    """The server that is looked at.

    Args:
        url: of the mount: `http://127.0.0.1:8000/live`.
        channel: that may be read and published.
        token: shown as `Authorization: Bearer …`.
        headers: sent with every request.
        ca: file with the certificate authority to trust.

    Raises:
        ConfigError: the URL is none.
    """

    def __init__(
        self,
        url: str,
        *,
        channel: str = "everywire-conformance",
        token: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        ca: str | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{url!r} is no URL of a mount: say http://127.0.0.1:8000/live")
        tls = ssl.create_default_context(cafile=ca) if parts.scheme == "https" else None
        self.secure = tls is not None
        port = parts.port or (443 if tls else 80)
        self.place = Place(parts.hostname, port, parts.netloc.rpartition("@")[2], tls)
        self.mount = parts.path.rstrip("/")
        self.channel = channel
        self.token = token
        shown_token = [("authorization", f"Bearer {token}")] if token else []
        self.headers = [(name.lower(), value) for name, value in headers] + shown_token

    async def reached(self) -> None:
        """Raises: ConfigError, nothing answers there, or not as a server of this protocol."""
        try:
            answer = await self.get("poll", {"channels": self.channel})
        except (OSError, Unmet) as error:
            raise ConfigError(f"{self.place.authority} does not answer: {error}") from error
        if answer.status != 200:
            raise ConfigError(
                f"channel {self.channel!r} cannot be read at {self.mount or '/'}: status {answer.status}, {shown(answer.body)}. "
                "Say --channel for one that may be read and published, and --token or --header for a server that asks who comes"
            )

    # Requests.

    def path(self, path: str, query: Query = ()) -> str:
        """The target of a request."""
        pairs = [*query.items()] if isinstance(query, Mapping) else [*query]
        return f"{self.mount}/{quote(path)}" + (f"?{urlencode(pairs, safe=',:*')}" if pairs else "")

    async def ask(
        self, method: str, path: str, query: Query = (), *, headers: Sequence[tuple[str, str]] = (), body: bytes | None = None
    ) -> Answer:
        """One request, and all of its answer. Raises: Unmet."""
        async with Exchange(self.place) as exchange:
            head = await exchange.ask(method, self.path(path, query), [*self.headers, *headers], body)
            endless = head.status == 200 and head.header("content-type").startswith("text/event-stream")
            return Answer(head.status, head.headers, b"" if endless else await exchange.rest())

    async def get(self, path: str, query: Query = (), *, headers: Sequence[tuple[str, str]] = ()) -> Answer:
        """See `ask`."""
        return await self.ask("GET", path, query, headers=headers)

    async def post(self, body: bytes, query: Query = (), *, headers: Sequence[tuple[str, str]] = ()) -> Answer:
        """`POST commands` with this body. Raises: Unmet."""
        return await self.ask("POST", "commands", query, headers=[("content-type", "application/json"), *headers], body=body)

    async def commands(self, *commands: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The replies to commands that go up by POST. Raises: Unmet."""
        answer = await self.post(msgspec.json.encode(commands))
        same(answer.status, 200, "status of the answer to commands")
        replies = answer.json()
        holds(isinstance(replies, list) and all(isinstance(each, dict) for each in replies), "an array of replies", replies)
        same(len(replies), len(commands), "number of replies")
        return list(replies)

    async def publish(self, data: Any, **more: Any) -> str:
        """Publish one event, and give its id. Raises: Unmet."""
        (reply,) = await self.commands({"do": "publish", "ref": 1, "channel": self.channel, "data": data, **more})
        holds(reply.get("ok") is True and isinstance(reply.get("id"), str), "a reply with ok: true and the event's id", reply)
        return str(reply["id"])

    async def publish_all(self, *data: Any, **more: Any) -> list[str]:
        """Publish several events in one request. Raises: Unmet."""
        command = {"do": "publish", "channel": self.channel, **more}
        replies = await self.commands(*[{**command, "ref": n, "data": each} for n, each in enumerate(data)])
        holds(all(reply.get("ok") is True for reply in replies), "replies with ok: true", replies)
        return [reply["id"] for reply in replies]

    async def present_position(self) -> str:
        """Where the log is now. Raises: Unmet."""
        return str((await self.poll({"channels": self.channel}))[0]["id"])

    async def settle(self, position: str) -> None:
        """Wait a little until whoever may answer has come as far as `position`: processes that share a log are not told of an
        event at the same moment.
        """
        met = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE):
                while met < _ASKED:
                    now = await self.present_position()
                    met = met + 1 if number(now) >= number(position) else 0

    async def poll(self, query: Query) -> list[dict[str, Any]]:
        """The batch that a poll is answered with. Raises: Unmet."""
        answer = await self.get("poll", query)
        same(answer.status, 200, "status of a poll")
        return batch_of(answer.body)

    # Wires.

    @asynccontextmanager
    async def open(self, transport: str, query: Query | None = None, **more: str) -> AsyncIterator[Reading]:
        """Open a wire; unless `query` says all, it reads the channel, and `more` are further parameters. Raises: Unmet."""
        asked = {"channels": self.channel, **more} if query is None else query
        if transport == LONGPOLL:
            yield Polls(self, asked)
        elif transport == SSE:
            async with self.stream(asked) as stream:
                yield stream
        else:
            async with self.socket(asked) as socket:
                yield socket

    @asynccontextmanager
    async def stream(self, query: Query, headers: Sequence[tuple[str, str]] = ()) -> AsyncIterator[Stream]:
        """Open an event stream. Raises: Unmet."""
        async with Exchange(self.place) as exchange:
            head = await exchange.ask("GET", self.path("sse", query), [*self.headers, *headers])
            if head.status != 200:
                raise Unmet("status of a stream: 200", f"{head.status} {shown(await exchange.rest())}")
            yield Stream(exchange, head)

    @asynccontextmanager
    async def socket(self, query: Query, subprotocols: Sequence[str] = ("everywire.v1.json",)) -> AsyncIterator[Talk]:
        """Open a WebSocket. Raises: Unmet."""
        async with self.handshake("ws", query, subprotocols) as (socket, refused):
            if refused is not None:
                raise Unmet("a WebSocket", f"status {refused.status}")
            yield Talk(socket)

    @asynccontextmanager
    async def handshake(
        self, path: str, query: Query = (), subprotocols: Sequence[str] = (), headers: Sequence[tuple[str, str]] = ()
    ) -> AsyncIterator[tuple[Socket, Head | None]]:
        """Ask for a WebSocket; gives the answer too, if it is refused. Raises: Unmet."""
        async with Socket(self.place) as socket:
            yield socket, await socket.open(self.path(path, query), [*self.headers, *headers], subprotocols)


class Polls(Reading):
    """A poll after the other, from the first, which may be without a position."""

    def __init__(self, target: Target, query: Query) -> None:
        super().__init__()
        self._target = target
        self._query = [*query.items()] if isinstance(query, Mapping) else [*query]

    async def _come(self, seconds: float) -> list[dict[str, Any]]:
        items = await self._target.poll([*self._query, ("wait", "1")])  # of two, the first counts
        if isinstance(items[-1].get("id"), str):
            self._query = [each for each in self._query if each[0] != "since"] + [("since", items[-1]["id"])]
        return items


class Stream(Reading):
    """An event stream, strictly as the protocol has it."""

    def __init__(self, exchange: Exchange, head: Head) -> None:
        super().__init__()
        self.head = head
        self._exchange = exchange
        self._rest = b""

    async def _come(self, seconds: float) -> list[dict[str, Any]]:
        return [item_of(decoded((await self.block(seconds)).data, "JSON in data:"))]

    async def block(self, seconds: float = PATIENCE) -> Block:
        """The next block. Raises: Unmet."""
        while b"\n\n" not in self._rest:
            part = await self._exchange.part(seconds)
            if part is None:
                raise Unmet("a block", "the end of the stream")
            self._rest += part
            if b"\r" in part:
                raise Unmet("lines that end with LF alone", shown(part))
        text, _, self._rest = self._rest.partition(b"\n\n")
        match = _BLOCK.fullmatch(text)
        if match is None:
            raise Unmet("lines event:, id:, retry:, data: that end with LF", shown(text))
        event, position, retry, data = match.groups(b"")
        return Block(event.decode(), position.decode("latin-1"), retry.decode(), data)

    async def ended(self) -> None:
        """Raises: Unmet, the body does not end here."""
        rest = self._rest + await self._exchange.rest()
        same(rest, b"", "behind the last item")


class Talk(Reading):
    """A WebSocket with items down and commands up."""

    def __init__(self, socket: Socket) -> None:
        super().__init__()
        self.socket = socket
        self.subprotocol = socket.subprotocol

    async def _come(self, seconds: float) -> list[dict[str, Any]]:
        event = await self.socket.event(seconds)
        if not isinstance(event, ws.TextMessage):
            raise Unmet("a text frame", _frame(event))
        return batch_of(event.data)

    def say(self, *commands: Mapping[str, Any]) -> None:
        """Send a frame: a command alone, or an array of them."""
        said: Any = commands[0] if len(commands) == 1 else commands
        self.socket.say(msgspec.json.encode(said).decode())

    async def replies(self, *commands: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The replies to commands in one frame. What else comes meanwhile is kept for `batch`. Raises: Unmet."""
        self.say(*commands)
        found: list[dict[str, Any]] = []
        kept: list[dict[str, Any]] = []
        try:
            async with asyncio.timeout(PATIENCE):
                while len(found) < len(commands):
                    for item in await self.batch():
                        (found if item["type"] == "reply" else kept).append(item)
        except TimeoutError:
            raise Unmet(f"{len(commands)} replies within {PATIENCE:g} s", f"{len(found)}") from None
        self.aside = kept
        same(len(found), len(commands), "number of replies")
        return found

    async def closed(self) -> int | None:
        """The code of the close frame, which has to come next. Raises: Unmet."""
        event = await self.socket.event()
        if not isinstance(event, ws.CloseConnection):
            raise Unmet("a close frame", _frame(event))
        with suppress(Exception):
            self.socket.close(event.code)
        return event.code


def _frame(event: ws.Event) -> str:
    return shown(f"{type(event).__name__} {getattr(event, 'data', '')!r}")


def batch_of(body: bytes | str) -> list[dict[str, Any]]:
    """The items of a JSON array. Raises: Unmet."""
    items = decoded(body, "a JSON array of items")
    holds(isinstance(items, list) and items, "a JSON array of items, at least one", items)
    return [item_of(each) for each in items]


def item_of(item: Any) -> dict[str, Any]:
    """Raises: Unmet, it is no item."""
    holds(isinstance(item, dict) and isinstance(item.get("type"), str), "an object with a type", item)
    return dict(item)


async def eventually(ask: Callable[[], Awaitable[Any]], wanted: Callable[[Any], bool], what: str) -> Any:
    """The first answer that is `wanted`: processes may know of something one after the other. Raises: Unmet, there is none."""
    found = await ask()
    with suppress(TimeoutError):
        async with asyncio.timeout(_SETTLE):
            while not wanted(found):
                await asyncio.sleep(_AGAIN)
                found = await ask()
    holds(wanted(found), what, found)
    return found


def mark() -> str:
    """A word that nobody else publishes."""
    return secrets.token_hex(8)


def number(position: str) -> int:
    """The number behind the dot. Raises: Unmet, it is no position."""
    match = re.fullmatch(r"[A-Za-z0-9]{1,16}\.(0|[1-9][0-9]*)", position) if isinstance(position, str) else None
    holds(match and int(match[1]) < 2**53, "a position: an epoch, a dot, a number below 2^53", position)
    return int(position.rpartition(".")[2])


def epoch(position: str) -> str:
    """What is before the dot. Raises: Unmet."""
    number(position)
    return position.rpartition(".")[0]


async def hello_of(reading: Reading) -> dict[str, Any]:
    """The first item, which has to be `hello`. Raises: Unmet."""
    first = await reading.batch()
    same(first[0]["type"], "hello", "type of the first item")
    reading.aside = first[1:]
    return first[0]


async def until(reading: Reading, last: str, seconds: float = PATIENCE) -> list[dict[str, Any]]:
    """All items through the event whose id is `last`. Raises: Unmet."""
    return await _gathered(reading, lambda item: item["type"] == "event" and item.get("id") == last, seconds)


async def first(reading: Reading, kind: str, seconds: float = PATIENCE) -> dict[str, Any]:
    """The next item of a type. Raises: Unmet."""
    return (await _gathered(reading, lambda item: item["type"] == kind, seconds))[-1]


async def _gathered(reading: Reading, wanted: Callable[[Mapping[str, Any]], bool], seconds: float) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(seconds):
            while not (found and wanted(found[-1])):
                batch = await reading.batch(seconds)
                found.append(batch[0])
                reading.aside = batch[1:] + reading.aside
    except TimeoutError:
        raise Unmet(f"what was waited for, within {seconds:g} s", shown(found[-3:])) from None
    return found


def events(items: Sequence[Mapping[str, Any]], channel: str) -> Iterator[Any]:
    """The data of the events of a channel."""
    return (item["data"] for item in items if item["type"] == "event" and item.get("channel") == channel)
