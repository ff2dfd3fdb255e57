"""The asyncio client: events as they come, over whichever transport works, resumed after any cut.

    async with connect("http://127.0.0.1:8000/live", channels=["vitals"]) as stream:
        async for event in stream:
            print(event.id, event.data)

The negotiator chooses the transport and can change its mind; `stream.evidence` says why. What arrives waits in a short
row: a consumer that takes its time slows the connection down, and what it cannot follow is told as lost. HTTP proxies come
from the environment (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`), with a user and password if they name them.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias, get_args

import msgspec

from . import facts, wires
from .driver import Driver, Hooks, Log, News
from .errors import ConfigError, ConnectionFailedError, EventsLostError, NotEverywireError, Refusal
from .evidence import Evidence, evidence
from .items import Event, Lost, Reply, Skipped
from .ladder import LADDER
from .memory import SHARED, Memory
from .outbox import Outbox, Publication, accepted, publication
from .outbox import publish as publish_all
from .position import parse
from .presence import Page
from .present import Members, Present
from .subscriptions import policies_of, subscription, write_lag
from .transport import Transport
from .wires import Tap

State: TypeAlias = Literal["idle", "connecting", "open", "reconnecting", "offline", "closed", "failed"]
Url: TypeAlias = str | Callable[[], Awaitable[str]]
Token: TypeAlias = str | Callable[[], str | Awaitable[str]] | None

Codec: TypeAlias = Literal["json", "msgpack"]

_QUEUE: Final = 100  # publishes under way
_FRAME: Final = 32_768  # bytes of commands that may go over a WebSocket, below the server's default limit of 64 KiB
_BY_WIRE: Final = 60.0  # seconds for which publishes go over the WebSocket once a POST did not get through
USUAL: Final = facts.Pace()


def connect(url: Url, channels: Sequence[str], **settings: Any) -> Stream:
    """A stream of the events of `channels`; see `Stream` for the settings. Use it in an `async with` block."""
    return Stream(url, channels, **settings)


class Stream:
    """Events, in order, each once.

    Args:
        url: of the mount, such as `https://shop.example/live`, or an async function that gives it, asked before every
            connection.
        channels: the names to follow; `orders.*` follows all that begin with `orders.`, also those that come up later.
        latest: those of `channels` of which only the newest of each `about` is wanted when events have piled up.
        lag: those of `channels` of which no more than so many events may pile up: older ones are skipped.
        since: the position to read on from; the present by default.
        transport: `auto`, or the name of the only one to use.
        transports: what there is to use, best first.
        codec: `json`, or `msgpack` for MessagePack over WebSocket, from a server that speaks it: less to decode. The other
            transports, and other servers, speak JSON all the same.
        on_lost: called with a `Lost` for what is gone for good. Without it, `EventsLostError` is raised from the iteration,
            which may then be continued: loss is never silent.
        on_skipped: called with a `Skipped` for what was left out because of `latest` and `lag`.
        on_state: called with the new state.
        tap: called with a transport's name and the bytes as they came from it.
        log: called with each step of the negotiator, `{"now", "luck", "fact"}`, for a replay.
        headers: to send with every request.
        token: what to show as `Authorization: Bearer …`, or a function that gives it, which is asked again before it expires, if
            the server says when, and after a 4401.
        ca: path of a certificate authority to trust instead of the system's.
        connect_timeout: seconds for the `async with` to have a first item; afterwards it tries for ever.
        queue: publishes that may be under way at the same time, also while there is no connection.
        memory: where to keep what was learnt about networks; by default all clients of this process share one. None: nowhere.
        pace: the negotiator's times.

    Raises:
        ConnectionFailedError: on entering, nothing worked within `connect_timeout`; the message tells what was tried.
        Refusal: the server says no for good (44xx without `retry`); at once, `since` is no position.
    """

    def __init__(
        self,
        url: Url,
        channels: Sequence[str],
        *,
        latest: Sequence[str] = (),
        lag: Mapping[str, int] | None = None,
        since: str | None = None,
        transport: str = "auto",
        transports: Sequence[Transport] = LADDER,
        codec: Codec = "json",
        on_lost: Callable[[Lost], None] | None = None,
        on_skipped: Callable[[Skipped], None] | None = None,
        on_state: Callable[[State], None] | None = None,
        tap: Tap | None = None,
        log: Log | None = None,
        headers: Mapping[str, str] | None = None,
        token: Token = None,
        ca: str | None = None,
        connect_timeout: float = 20.0,
        queue: int = _QUEUE,
        memory: Memory | None = SHARED,
        pace: facts.Pace = USUAL,
    ) -> None:
        if isinstance(channels, str):
            raise TypeError(f"channels is a list of names: [{channels!r}]")
        if not channels or not all(channels) or any("," in name for name in channels):
            raise ConfigError(f"{list(channels)} are no channels: at least one name, and none with a comma")
        if isinstance(latest, str):
            raise TypeError(f"latest is a list of names: [{latest!r}]")
        try:
            subscription(channels, policies_of(latest, lag))
        except Refusal as refusal:
            raise ConfigError(refusal.reason) from refusal
        given = {"latest": ",".join(latest), "lag": write_lag(lag or {})}
        self._policies = {name: text for name, text in given.items() if text}
        self._on_skipped = on_skipped
        if codec not in get_args(Codec):
            raise ValueError(f"codec={codec!r}: there is {', '.join(get_args(Codec))}")
        self._rungs = [_wanting(codec, each) for each in transports if transport in ("auto", each.name)]
        if not self._rungs:
            raise ValueError(f"transport={transport!r}: there is auto, {', '.join(each.name for each in transports)}")
        self._url = wires.mount_url(url) if isinstance(url, str) else url
        self._channels, self._since = list(channels), str(parse(since)) if since else None
        self._on_lost, self._on_state, self._tap, self._log = on_lost, on_state, tap, log
        self._headers, self._ca, self._connect_timeout = headers, ca, connect_timeout
        self._token = _Token(token)
        self._memory, self._pace = (memory if len(self._rungs) > 1 else None), pace
        self._http: wires.Http | None = None
        self._driver: Driver | None = None
        self._outbox = Outbox(self._send, queue)
        self._position = self._since
        self._closing: asyncio.Task[None] | None = None
        self._by_wire_until = 0.0  # seconds of the loop's clock; until then POST is known not to get through

    @property
    def state(self) -> State:
        """One of the states of a connection."""
        if self._driver is None:
            return "closed" if self._closing else "idle"
        return self._driver.state.state  # type: ignore[return-value]

    @property
    def transport(self) -> str | None:
        """The name of the transport in charge, or of the last that was; at the beginning, of the one that brought the first
        item; None before that.
        """
        return None if self._driver is None else self._driver.transport

    @property
    def position(self) -> str | None:
        """The position after the last event that was handed out: send it back as `since` to go on from there.

        It is that of an event as soon as you have it, also if you fail to handle it.
        """
        driver = self._driver
        if driver is not None and not driver.arrived and not self._closing:
            return driver.reading.position  # all that came is handed out; beats move it on
        return self._position

    @property
    def sentence(self) -> str:
        """How things stand, for people."""
        return "Not connected yet." if self._driver is None else self._driver.state.sentence

    @property
    def evidence(self) -> Evidence:
        """What was tried, what came of it, and what is in use for which reason."""
        state = facts.State([each.name for each in self._rungs]) if self._driver is None else self._driver.state
        return evidence(state, self.transport)

    async def __aenter__(self) -> Self:
        if self._http is not None or self._closing is not None:
            raise RuntimeError("a stream is used once: connect again")
        self._http = wires.open_session(self._headers, self._ca)
        self._target = wires.Target(
            self._http, self._base, self._token.get, self._token.renew, self._channels, self._tap or _nothing, self._policies
        )
        hooks = Hooks(self._on_state or _nothing, self._log or _nothing, self._outbox.hurry)
        driver = self._driver = Driver(
            self._target,
            self._rungs,
            since=self._since,
            memory=self._memory,
            pace=self._pace,
            hooks=hooks,
        )
        try:
            async with asyncio.timeout(self._connect_timeout):
                await driver.start()
                while driver.failure is None and not driver.over and not driver.transport:
                    driver.changed.clear()
                    await driver.changed.wait()
        except TimeoutError:
            await self.close()
            raise ConnectionFailedError(f"no connection to {self._url}: {self._tried()}") from None
        except BaseException:
            await self.close()
            raise
        if driver.failure is not None:
            await self.close()
            raise driver.failure
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        if self._driver is None:
            raise RuntimeError("a stream is used as: async with connect(…) as stream")
        while True:
            while (news := self._next()) is None:
                if self._closing is not None:
                    raise StopAsyncIteration
                if (failure := self._driver.failure) is not None:
                    if self.state != "failed":  # a defect of a callback's: told once, and the stream goes on
                        self._driver.failure = None
                    raise failure
                if self._driver.over:
                    raise StopAsyncIteration
                self._driver.changed.clear()
                await self._driver.changed.wait()
            item, self._position = news
            if isinstance(item, Event):
                return item
            if isinstance(item, Skipped):
                if self._on_skipped is not None:
                    self._on_skipped(item)
                continue
            if self._on_lost is None:
                raise EventsLostError(item)
            self._on_lost(item)

    def _next(self) -> News | None:
        """Take the next item that arrived."""
        return None if self._driver is None or self._closing is not None else self._driver.take()

    async def publish(
        self, channel: str, data: Any, *, key: str | None = None, about: str | None = None, timeout: float = 30.0
    ) -> str:
        """Publish `data` and return the event's id.

        Publishes of one stream go up in order, but for those that the server wants to have later. One is sent again after a
        lost answer, with the same `key`, and so published once; it goes by POST or, where POST does not get through, over the
        WebSocket in use.

        Args:
            channel: its name.
            data: anything that JSON can say.
            key: what makes it the same publish when it is sent again; made up unless given.
            about: which of the channel's things it tells of.
            timeout: seconds to go on trying.

        Raises:
            Refusal: the server says no.
            QueueFullError: too many wait already.
            ConnectionFailedError: not acknowledged within `timeout`. It may have been published.
        """
        if self._driver is None:
            raise RuntimeError("a stream is used as: async with connect(…) as stream")
        if self._closing is not None:
            raise ConnectionFailedError("the stream is closed")
        return await self._outbox.publish(publication(channel, data, key, about), timeout)

    def present(self, channel: str, *, as_: str, data: Any = None) -> Present:
        """Be present in `channel` under the name `as_`, for the length of an `async with` block.

        It is renewed over whatever gets through, survives reconnects and switches, and ends with the block; who dies leaves when
        the lease ends. `stay.say(data)` says something else of the member; `stay.refusal` is set if the server says no for good.

        Args:
            channel: its name.
            as_: who is there, 1 to 128 characters.
            data: what is said of the member, anything that JSON can say up to 1,024 bytes.

        Raises:
            Refusal: on entering, the server says no.
            ConnectionFailedError: on entering, not acknowledged within 30 s.
        """
        if self._driver is None:
            raise RuntimeError("a stream is used as: async with connect(…) as stream")

        async def send(command: dict[str, Any]) -> float:
            (reply,) = await self._send([command])
            accepted(reply)
            return reply.lasts or 0.0

        return Present(send, {"channel": channel, "as": as_}, data, wires.BROKEN)

    async def members(self, channel: str) -> Members:
        """Who is in `channel`: a list that is not older than this stream is, and goes on with its events, by
        `members.take(event)`, if the stream reads `presence:<channel>` too.

        Raises:
            Refusal: the server says no, or does not know at present.
            ConnectionFailedError: no answer.
        """
        if self._driver is None:
            raise RuntimeError("a stream is used as: async with connect(…) as stream")
        query = {"since": place} if (place := self.position) else {}
        page = await self._page(channel, query)
        members = Members(page)
        while page.next is not None:
            page = await self._page(channel, {**query, "after": page.next})
            members.add(page)
        return members

    async def _page(self, channel: str, query: dict[str, str]) -> Page:
        try:
            async with (
                asyncio.timeout(wires.PUBLISH_TRY),
                wires.get(self._target, f"presence/{channel}", "application/json", query) as response,
            ):
                return msgspec.json.decode(await wires.read(response), type=Page)
        except msgspec.DecodeError as error:
            raise NotEverywireError(f"no list of members: {error}") from error
        except wires.BROKEN as error:
            raise ConnectionFailedError(f"who is in {channel} could not be asked: {error}") from error

    async def renew(self) -> float | None:
        """Ask the function `token` again, and show what it gives from now on: over a WebSocket at once and in place, over the
        other transports with the next request. There is no need to, unless rights have changed: before a token expires the
        function is asked again by itself.

        Returns:
            Until when it holds, in seconds since 1970, as far as the server said.

        Raises:
            ConfigError: `token` is no function.
            Refusal: 4401, the server does not take it; 4403, with it this stream may not be read.
        """
        if self._driver is None:
            raise RuntimeError("a stream is used as: async with connect(…) as stream")
        if not self._token.renew():
            raise ConfigError("there is nothing to ask for another token: let token= be a function")
        token, wire = await self._token.get(), self._driver.in_charge
        if wire is None or not wire.transport.commands_up:
            return None
        try:
            async with asyncio.timeout(wires.PUBLISH_TRY):
                reply = await wire.command({"do": "auth", "token": token})
        except wires.BROKEN:
            return None  # the next one shows it
        accepted(reply)
        return reply.expires

    def switch(self, transport: str) -> None:
        """Move to `transport` as soon as it is proven to work, for tests and for teaching.

        Raises:
            ValueError: this stream does not have it.
        """
        if transport not in [each.name for each in self._rungs]:
            raise ValueError(f"{transport!r} is none of {', '.join(each.name for each in self._rungs)}")
        if self._driver is None:
            raise RuntimeError("a stream is used as: async with connect(…) as stream")
        self._driver.tell(facts.Prefer(transport))

    async def close(self) -> None:
        """Give the connections back; the iteration ends, also in another task that waits for its next event."""
        if self._closing is None:
            self._position = self.position
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        try:
            if self._driver is not None:
                await self._driver.stop()
        finally:
            await self._outbox.close()
            if self._http is not None:
                await self._http.close()

    async def _base(self) -> str:
        return self._url if isinstance(self._url, str) else wires.mount_url(await self._url())

    async def _send(self, commands: Sequence[dict[str, Any]]) -> list[Reply]:
        """Send commands up: by POST or, if that does not get through, over the wire in use if it carries them."""
        assert self._driver is not None  # noqa: S101 - entered
        wire, now = self._driver.in_charge, asyncio.get_running_loop().time()
        # A frame that is too large would end the wire, and a publish must never do that.
        small = sum(len(msgspec.json.encode(command)) for command in commands) <= _FRAME
        carries = wire is not None and wire.transport.commands_up and small
        if not carries or now >= self._by_wire_until:
            try:
                replies = await wires.post(self._target, commands)
            except wires.BROKEN:
                if not carries:
                    self._driver.tell(facts.HttpFailed())
                    raise
                self._by_wire_until = now + _BY_WIRE
            else:
                self._driver.tell(facts.HttpOk())
                return replies
        assert wire is not None  # noqa: S101 - it carries
        async with asyncio.timeout(wires.PUBLISH_TRY):
            return list(await asyncio.gather(*[wire.command(command) for command in commands]))

    def _tried(self) -> str:
        """What was tried, and how each ended last."""
        attempts = [] if self._driver is None else self._driver.state.attempts
        last = {each.rung: each.reason or each.verdict for each in attempts if each.verdict != "remembered_bad"}
        if not last:
            return f"no answer for {self._connect_timeout:g} s"
        if len(set(last.values())) == 1:
            return f"{', '.join(last)}: {next(iter(last.values()))}{wires.hint(str(last))}"
        return "; ".join(f"{name}: {outcome}" for name, outcome in last.items()) + wires.hint(str(last))


def _wanting(codec: Codec, transport: Transport) -> Transport:
    """`transport`, as it is asked for: in what is wanted, or else as it is spoken everywhere."""
    wanted = [each for each in transport.also if codec == "msgpack" and each.content_type.endswith(f".{codec}")]
    plain = msgspec.structs.replace(transport, also=())
    return msgspec.structs.replace(wanted[0], also=(plain,)) if wanted else plain


class _Token:
    """What to show to the server: a text, or a function that gives one and is asked again when that is refused."""

    def __init__(self, source: Token) -> None:
        self._source = source
        self._known = source if isinstance(source, str) else None
        self._asking = asyncio.Lock()  # wires that race want one answer

    async def get(self) -> str | None:
        if self._known is not None or not callable(self._source):
            return self._known
        async with self._asking:
            if self._known is None:
                given = self._source()
                self._known = await given if inspect.isawaitable(given) else given
            return self._known

    def renew(self) -> bool:
        """Forget it; whether there may be another."""
        if callable(self._source):
            self._known = None
        return callable(self._source)


@asynccontextmanager
async def publisher(
    url: Url, *, headers: Mapping[str, str] | None = None, token: Token = None, ca: str | None = None
) -> AsyncIterator[Callable[[Sequence[Publication]], Awaitable[list[str]]]]:
    """For those who only publish: a function that takes `(channel, data, key)`s, publishes them in order in one
    request, and returns their ids. It retries and raises as `Stream.publish` does.
    """
    mount = wires.mount_url(url) if isinstance(url, str) else url

    async def base() -> str:
        return mount if isinstance(mount, str) else wires.mount_url(await mount())

    async with wires.open_session(headers, ca) as http:
        credentials = _Token(token)
        target = wires.Target(http, base, credentials.get, credentials.renew, (), _nothing)

        async def publish(events: Sequence[Publication], *, timeout: float = 30.0) -> list[str]:
            return await publish_all(target, events, timeout)

        yield publish


def _nothing(*_: Any) -> None:
    pass
