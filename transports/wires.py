"""Wires: the client's side of each transport, over HTTP and WebSocket. What aiohttp raises is known here and in `BROKEN`.

A wire is an asynchronous generator: it opens one connection at the position where the reader stands, gives the items as they
come, a list for what came together, and ends by raising why.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import ssl
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeAlias, TypeVar
from urllib.parse import urlsplit

import msgspec

from .errors import ConfigError, ConnectionFailedError, ErrorBody, MissingExtraError, NotEverywireError, Refusal, refusal_from
from .items import Beat, Hello, Item, Reply, decode_batch
from .reading import Reading
from .transport import Transport

try:
    import aiohttp
    from yarl import URL
except ImportError as error:  # the message is the line that installs it
    raise MissingExtraError("client", "aiohttp") from error

_T = TypeVar("_T")
Http: TypeAlias = aiohttp.ClientSession
Tap: TypeAlias = Callable[[str, bytes], None]
Publication: TypeAlias = tuple[str, Any, str | None]  # channel, data, key

_BACKOFF_BASE, _BACKOFF_CAP = 0.5, 20.0  # seconds
_POLL_WAIT = 15.0  # seconds to ask for, until a `hello` says how long a beat is here
_POLL_PAUSE = 1.0  # seconds from one poll to the next if the first brought nothing
_PUBLISH_TRY = 10.0  # seconds for one answer to a publish; then it is sent again, with the same key
_MESSAGE_MAX = 16 << 20  # bytes of one WebSocket message; a batch of ours has some 256 KiB
_SILENT_BEATS = 2.0  # a wire on which nothing came for so many beats is dead
BROKEN = (aiohttp.ClientError, OSError, NotEverywireError, EOFError)  # a TimeoutError is an OSError


class Target(NamedTuple):
    """What a wire needs to know to open."""

    http: Http
    base: str
    channels: Sequence[str]
    open_timeout: float
    tap: Tap


def backoff(attempt: int, luck: float) -> float:
    """Seconds to wait before a further try, with full jitter: `luck` (0 to 1) of 0.5, 1, 2, … up to 20 seconds.
    `attempt` counts from 0.
    """
    return luck * float(min(_BACKOFF_CAP, _BACKOFF_BASE * 2 ** min(attempt, 10)))


def over(transport: Transport, target: Target, reading: Reading) -> AsyncGenerator[list[Item]]:
    """What comes over one connection of `transport`, read on from where `reading` stands."""
    wire = _websocket if transport.commands_up else _stream if transport.many else _poll
    return wire(transport, target, reading)


async def _websocket(transport: Transport, target: Target, reading: Reading) -> AsyncGenerator[list[Item]]:
    reader, patience, pinging = transport.reader(), target.open_timeout, None
    async with asyncio.timeout(patience):
        socket = await target.http.ws_connect(
            _url(transport, target, reading, {}), protocols=[transport.content_type], max_msg_size=_MESSAGE_MAX
        )
    try:
        while True:
            message = await _in_time(socket.receive(), patience)
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                raise _closed(socket.close_code)
            body = message.data.encode() if isinstance(message.data, str) else message.data
            target.tap(transport.name, body)
            items = reader.feed(body)
            if (beat := _beat(items)) is not None:
                patience = _SILENT_BEATS * beat
                pinging = pinging or asyncio.create_task(_ping(socket, beat))
            yield items
    finally:
        if pinging is not None:
            pinging.cancel()
        await socket.close()


async def _stream(transport: Transport, target: Target, reading: Reading) -> AsyncGenerator[list[Item]]:
    reader, patience = transport.reader(), target.open_timeout
    async with _get(transport, target, reading, {}, patience) as response:
        while data := await _in_time(response.content.readany(), patience):
            target.tap(transport.name, data)
            items = reader.feed(data)
            if (beat := _beat(items)) is not None:
                patience = _SILENT_BEATS * beat
            yield items
    raise EOFError("the stream ended")


async def _poll(transport: Transport, target: Target, reading: Reading) -> AsyncGenerator[list[Item]]:
    wait = 0.0  # the first answer proves that it works; the rest may take their time
    patience, longest = target.open_timeout, _POLL_WAIT
    while True:
        asked = time.monotonic()
        async with _get(transport, target, reading, {"wait": f"{wait:g}"}, patience) as response:
            body = await _in_time(response.read(), patience)
        target.tap(transport.name, body)
        items = transport.reader().feed(body)
        longest = _beat(items) or longest
        yield items
        if wait and all(isinstance(item, Beat) for item in items):  # a server that cannot wait must not make us spin
            await asyncio.sleep(min(wait, _POLL_PAUSE) - (time.monotonic() - asked))
        wait, patience = longest, longest + target.open_timeout


@asynccontextmanager
async def _get(
    transport: Transport, target: Target, reading: Reading, more: dict[str, str], patience: float
) -> AsyncIterator[aiohttp.ClientResponse]:
    """An answer whose head says that it is ours. Raises: Refusal, NotEverywireError."""
    response = await _in_time(target.http.get(_url(transport, target, reading, more)), patience)
    async with response:
        if response.status >= 400:
            raise await _refused(response)
        if response.content_type != transport.content_type:
            raise NotEverywireError(f"{response.status} {response.content_type}: not an everywire answer")
        yield response


async def _ping(socket: aiohttp.ClientWebSocketResponse, beat: float) -> None:
    """Show, once a beat, that we are there; a server gives up a client that stops doing so."""
    while not socket.closed:
        await socket.send_str('{"do":"ping"}')
        await asyncio.sleep(beat)


async def publish(http: Http, base: str, events: Sequence[Publication], timeout: float) -> list[str]:
    """Publish `events` in one request, again and again for `timeout` seconds until it is answered; their ids.

    Raises: Refusal, when the server says no for good; ConnectionFailedError, when no answer came.
    """
    commands = [
        {"do": "publish", "ref": ref, "channel": channel, "data": data, "key": key or uuid.uuid4().hex}
        for ref, (channel, data, key) in enumerate(events)
    ]
    url, body = f"{base}/commands", msgspec.json.encode(commands)
    last: Exception | None = None
    try:
        async with asyncio.timeout(timeout):
            for attempt in itertools.count():
                try:
                    return await _in_time(_post(http, url, body), _PUBLISH_TRY)
                except Refusal as refusal:
                    if refusal.retry is None:
                        raise
                    last = refusal
                    await asyncio.sleep(refusal.retry)
                except BROKEN as error:
                    last = error
                    await asyncio.sleep(backoff(attempt, random.random()))
    except TimeoutError:
        pass
    raise ConnectionFailedError(f"not acknowledged within {timeout:g} s: {last}{hint(str(last))}") from last


def hint(outcome: str) -> str:
    """What may have been meant, where an outcome tells that nothing of ours is served."""
    wrong = "HTTP 404" in outcome or "HTTP 405" in outcome
    return ". Is the URL that of the mount, such as http://127.0.0.1:8000/live?" if wrong else ""


async def _post(http: Http, url: str, body: bytes) -> list[str]:
    async with http.post(url, data=body, headers={"content-type": "application/json"}) as response:
        if response.status >= 400:
            raise await _refused(response)
        return _ids(decode_batch(await response.read()))


def _ids(replies: list[Item]) -> list[str]:
    ids = []
    for reply in replies:
        if not isinstance(reply, Reply):
            raise NotEverywireError(f"{reply.kind} instead of a reply")
        if not reply.ok:
            raise refusal_from(reply.code, reply.reason, reply.retry)
        ids.append(reply.id or "")
    return ids


def _beat(items: list[Item]) -> float | None:
    """The seconds of a beat, if these items begin with a `hello`."""
    return items[0].beat if items and isinstance(items[0], Hello) else None


def _url(transport: Transport, target: Target, reading: Reading, more: Mapping[str, str]) -> URL:
    """Where to read on. All that matters is in the URL, because headers get lost on the way, and it is unique,
    because some caches ignore `no-store`.
    """
    since = {"since": reading.position} if reading.position else {}
    query = {"channels": ",".join(target.channels), **since, **more, "_": uuid.uuid4().hex[:8]}
    return URL(f"{target.base}/{transport.path}").with_query(query)


def mount_url(url: str) -> str:
    """The URL of a mount without the slash at its end. Raises: ConfigError, when it can never be one."""
    if not url.startswith(("http://", "https://")) or not urlsplit(url).hostname:
        raise ConfigError(f"{url!r} is not the URL of a mount, such as http://127.0.0.1:8000/live")
    return url.rstrip("/")


async def _in_time(work: Awaitable[_T], seconds: float) -> _T:
    async with asyncio.timeout(seconds):
        return await work


async def _refused(response: aiohttp.ClientResponse) -> Exception:
    """Why an HTTP error came: the answer to what was asked, with its code, or something about this path or on the
    way to it.
    """
    try:
        refusal = msgspec.json.decode(await response.read(), type=ErrorBody).refusal()
    except msgspec.DecodeError:
        via = response.headers.get("via") or response.headers.get("server")
        return NotEverywireError(f"HTTP {response.status} at {response.url.path}{f' from {via}' if via else ''}")
    if refusal.code.status != response.status:  # ours, but it does not serve this transport here
        return NotEverywireError(f"HTTP {response.status}: {refusal.reason}")
    return refusal


def _closed(code: int | None) -> EOFError:
    return EOFError(f"closed with {code}" if code else "closed without a word")


def open_session(headers: Mapping[str, str] | None, ca: str | None) -> Http:
    """Connections to share, with proxies from the environment. Raises: ConfigError, when `ca` holds no authority."""
    try:
        tls: ssl.SSLContext | bool = ssl.create_default_context(cafile=ca) if ca else True
    except OSError as error:  # SSLError is one
        raise ConfigError(f"{ca} holds no certificate authority: {error}") from error
    return aiohttp.ClientSession(
        headers=headers,
        trust_env=True,  # HTTP_PROXY and the like
        timeout=aiohttp.ClientTimeout(total=None),  # each phase has its own
        connector=aiohttp.TCPConnector(ssl=tls),
    )
