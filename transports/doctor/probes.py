"""Probes: each looks at one thing and writes down what it saw. They judge nothing, and they believe nothing: what is kept
is bounded.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec

from .. import facts, wires
from ..errors import ConfigError, NotEverywireError, Refusal
from ..evidence import verdict_of
from ..items import Beat, Event, Hello, Item
from ..longpoll import TRANSPORT as POLL
from ..transport import Transport
from ..websocket import TRANSPORT as WEBSOCKET
from .certificate import issuer_and_subject
from .observations import Arrival, Asked, Ending, Head, Tls, Trial, kept, printable

PROOF: Final = facts.Pace().proof  # seconds for an item and an answer, as the negotiator has it
_EDGE_TIME: Final = 3.0  # seconds for an answer to nonsense
_EDGE_BYTES: Final = 4096
_BODY: Final = 65_536  # bytes of an answer that are looked at
_TIME_MOST: Final = 1e11  # seconds since 1970; what a server says beyond is not believed
_HEADS: Final = 20  # answers of one probe that are written down


class Place(NamedTuple):
    """Where to look, and as whom."""

    url: str  # of the mount
    channels: Sequence[str]
    headers: Mapping[str, str]
    token: str | None
    ca: str | None
    patience: float = PROOF  # seconds for each first answer

    @property
    def origin(self) -> str:
        """What a browser calls the origin of a page that is served there."""
        parts = urlsplit(self.url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        usual = {"http": 80, "https": 443}[parts.scheme]
        return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in (None, usual) else "")


class _Watch:
    """Writes down the heads of answers."""

    def __init__(self, heads: list[Head]) -> None:
        self.heads, self.began = heads, _now()

    async def __call__(self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        asked = _now()
        try:
            response = await handler(request)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):  # aiohttp may try once more, and tell nobody
            self._keep(request.url.path, 0, "", {}, asked)
            raise
        version = response.version or aiohttp.HttpVersion11
        self._keep(request.url.path, response.status, f"{version.major}.{version.minor}", response.headers, asked)
        return response

    def failed(self, error: BaseException) -> None:
        """A proxy that answered in place of the other side has a head too."""
        if isinstance(error, aiohttp.ClientResponseError) and error.headers and not self.heads:
            self._keep(error.request_info.url.path, error.status, "1.1", error.headers, self.began)

    def _keep(self, path: str, status: int, version: str, headers: Mapping[str, str], asked: float) -> None:
        if len(self.heads) < _HEADS:
            began = round(asked - self.began, 4)
            self.heads.append(Head(printable(path), status, version, kept(headers), began, _since(asked)))


# ---------------------------------------------------------------------------------------------------------------- wires


async def trial(
    place: Place,
    transport: Transport,
    kind: str,
    *,
    since: str | None = None,
    quiet: float,
    seconds: float,
    enough: Callable[[Trial], bool],
    headers: Mapping[str, str] | None = None,
) -> Trial:
    """Open one wire and read until `enough`, until it ends, or for `seconds` after its first item; only as long as the
    patience lasts if none comes.
    """
    seen = Trial(transport.name, kind)
    watch, moved = _Watch(seen.heads), asyncio.Event()
    async with _target(place, watch, headers) as target:
        wire = wires.Wire(
            transport,
            target,
            0,
            since=since,
            quiet=quiet,
            beat=facts.BEAT,
            query={},
            tell=lambda fact: _tell(seen, fact, watch.began, moved),
            take=lambda _, items: _take(seen, items, watch.began, moved),
            room=_room,
        )
        await _read(seen, wire, watch, moved, (place.patience, seconds), enough)
    seen.took = _since(watch.began)
    return seen


async def _read(
    seen: Trial,
    wire: wires.Wire,
    watch: _Watch,
    moved: asyncio.Event,
    times: tuple[float, float],
    enough: Callable[[Trial], bool],
) -> None:
    patience, seconds = times
    running = asyncio.create_task(wire.run())
    tasks: list[asyncio.Task[Any]] = [running]
    try:
        async with asyncio.timeout(patience) as bound:
            while not running.done() and not enough(seen):
                moved.clear()
                tasks = [running, asyncio.create_task(moved.wait()), *tasks[2:]]
                await asyncio.wait(tasks[:2], return_when=asyncio.FIRST_COMPLETED)
                tasks[1].cancel()
                if seen.arrivals and len(tasks) == 2:  # the first item: ask back, and be patient from now on
                    bound.reschedule(asyncio.get_running_loop().time() + seconds)
                    tasks.append(asyncio.create_task(wire.ask()))
    except TimeoutError:
        pass
    if running.done() and (error := running.exception()) is not None:
        watch.failed(error)
        seen.ended = ending(error, _since(watch.began), seen)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _tell(seen: Trial, fact: facts.Fact, began: float, moved: asyncio.Event) -> None:
    match fact:
        case facts.Opened() if seen.opened is None:
            seen.opened = _since(began)
        case facts.Answered() if seen.answered is None:
            seen.answered = _since(began)
    moved.set()


def _take(seen: Trial, items: Sequence[Item], began: float, moved: asyncio.Event) -> None:
    now = _since(began)
    for item in items:
        if isinstance(item, Hello):
            seen.beat, seen.resumed = item.beat, printable(item.resumed, 20)
        sent = item.at if isinstance(item, Beat | Event) and 0.0 < item.at < _TIME_MOST else 0.0
        if len(seen.arrivals) < _BODY:
            seen.arrivals.append(Arrival(item.kind, now, sent))
    moved.set()


async def _room(_: wires.Wire) -> None:
    pass


def ending(error: BaseException, at: float, seen: Trial | None = None) -> Ending:
    """What `error`, out of a wire or a request, says."""
    if not isinstance(error, (*wires.BROKEN, Refusal)):
        raise error
    fact = wires.ending(0, error)
    if isinstance(fact, facts.Refused):
        verdict = "refused" if isinstance(error, Refusal) else verdict_of(fact)  # the path is served: it is what we asked for
        return Ending(verdict, at, fact.status, printable(fact.via), fact.code, printable(fact.reason))
    ours = fact.code >= 4400
    broke = "ended" if seen is not None and seen.arrivals else "cut_early" if seen is not None and seen.opened else "unreachable"
    verdict = fact.how or ("refused" if ours and fact.final else broke)
    return Ending(verdict, at, code=fact.code, reason=printable(fact.reason), cause=_cause(error))


def _cause(error: BaseException) -> str:
    """What made something unreachable."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "name"
        case aiohttp.ClientProxyConnectionError():
            return "proxy"
        case aiohttp.ClientConnectorError():
            return "port"
        case TimeoutError():
            return "time"
    return ""


async def deflate(place: Place) -> bool | None:
    """Whether a WebSocket is compressed if a client offers it, as browsers do, and an item comes then; None: it does not."""
    async with _target(place._replace(channels=()), _Watch([]), None) as target:
        with suppress(*wires.BROKEN):
            async with asyncio.timeout(place.patience):
                headers = {} if place.token is None else {"authorization": f"Bearer {place.token}"}
                protocols = [WEBSOCKET.content_type]
                async with target.http.ws_connect(
                    f"{place.url}/{WEBSOCKET.path}", protocols=protocols, compress=15, headers=headers, max_msg_size=_BODY
                ) as socket:
                    message = await socket.receive()
                    return bool(socket.compress) if message.type is aiohttp.WSMsgType.TEXT else None
    return None


# ------------------------------------------------------------------------------------------------------------ plain HTTP


async def ask(place: Place, name: str, question: Callable[[wires.Target], Any]) -> tuple[Asked, Any]:
    """Put one question, and keep how it was answered; also gives what came of it, None if nothing did."""
    seen, answer = Asked(name), None
    watch = _Watch(seen.heads)
    async with _target(place, watch, None) as target:
        try:
            async with asyncio.timeout(place.patience):
                answer = await question(target)
        except TimeoutError as error:
            seen.ended = Ending("timeout_open", _since(watch.began), reason="no answer", cause=_cause(error))
        except (*wires.BROKEN, Refusal) as error:
            watch.failed(error)
            seen.ended = ending(error, _since(watch.began))
    seen.took, seen.at = _since(watch.began), time.time()
    return seen, answer


async def negotiate(target: wires.Target, headers: Mapping[str, str] | None = None) -> tuple[list[str], float, list[str]]:
    """The names of the transports that the server offers, best first, the seconds of its beat, and the codings of its answers.

    Raises: one of `wires.BROKEN`, Refusal.
    """
    async with wires.get(target, "negotiate", "application/json", {}, headers) as response:
        try:
            offer = msgspec.json.decode(await wires.read(response), type=_Offer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NotEverywireError(f"negotiate: {error}") from error
    return [printable(each.name, 40) for each in offer.transports[:20]], offer.beat, offer.encodings


class _Named(msgspec.Struct):
    name: str


class _Offer(msgspec.Struct):
    transports: list[_Named]
    beat: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = facts.BEAT
    encodings: list[str] = []


async def position(target: wires.Target) -> str:
    """Where the server stands now, by a poll. Raises: one of `wires.BROKEN`, Refusal."""
    async with wires.get(target, POLL.path, POLL.content_type, {"channels": ",".join(target.channels)}) as response:
        items = POLL.reader().feed(await wires.read(response))
    if not items or not isinstance(items[0], Hello):
        raise NotEverywireError("a poll that does not begin with a hello")
    return items[0].id


async def ping(target: wires.Target) -> None:
    """A command by POST. Raises: one of `wires.BROKEN`, Refusal."""
    await wires.post(target, [{"do": "ping"}])


# --------------------------------------------------------------------------------------------------------- bare sockets


async def edge(place: Place) -> str:
    """What is answered to a request that nobody can understand: whoever reads it first says so himself. "" for nothing."""
    host = urlsplit(place.url).hostname
    nonsense = f"GET {urlsplit(place.url).path}/negotiate HTTP/1.1\r\nHost: {host}\r\nnot a header\r\n\r\n"
    answer = b""
    with suppress(*wires.BROKEN, ValueError):
        async with asyncio.timeout(min(_EDGE_TIME, place.patience)):
            async with _connection(place, _trusting()) as (reader, writer):
                writer.write(nonsense.encode())
                while len(answer) < _EDGE_BYTES and (part := await reader.read(_EDGE_BYTES)):
                    answer += part
    return "\n".join(map(printable, answer[:_EDGE_BYTES].decode("latin-1").replace("\r\n", "\n").split("\n")))


async def tls(place: Place) -> Tls | None:
    """Who shows which certificate; None over plain HTTP, and where there is no answer."""
    if not place.url.startswith("https:"):
        return None
    context = ssl.create_default_context(cafile=place.ca)
    why = ""
    for attempt in (context, _trusting()):
        attempt.set_alpn_protocols(["h2", "http/1.1"])
        try:
            async with asyncio.timeout(place.patience), _connection(place, attempt) as (_, writer):
                shown: ssl.SSLObject = writer.get_extra_info("ssl_object")
                issuer, subject = issuer_and_subject(shown.getpeercert(binary_form=True) or b"")
                return Tls(issuer, subject, shown.version() or "", printable(shown.selected_alpn_protocol() or ""), why)
        except ssl.SSLCertVerificationError as error:
            why = printable(error.verify_message)
        except (*wires.BROKEN, ValueError):
            return None
    return None


async def secure(place: Place) -> bool:
    """Whether TLS is spoken at a port where plain HTTP was tried."""
    parts = urlsplit(place.url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    with suppress(*wires.BROKEN, ValueError):
        async with asyncio.timeout(min(_EDGE_TIME, place.patience)):
            async with _connection(place._replace(url=f"https://{host}:{parts.port or 80}/"), _trusting()):
                return True
    return False


def _trusting() -> ssl.SSLContext:
    """Trusts everybody, to see who he is. No secret is told to him."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@asynccontextmanager
async def _connection(place: Place, context: ssl.SSLContext) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection, through the proxy if there is one. Raises: OSError, ValueError, EOFError."""
    parts, proxy = urlsplit(place.url), proxy_of(place.url)
    secure, via = parts.scheme == "https", urlsplit(proxy)
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(via.hostname or host, (via.port or 80) if proxy else port)
    try:
        if secure and proxy:
            await _tunnel(reader, writer, f"{host}:{port}", proxy)
        if secure:
            await writer.start_tls(context, server_hostname=host)
        yield reader, writer
    finally:
        writer.transport.abort()


async def _tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: str, proxy: str) -> None:
    via = urlsplit(proxy)
    known = f"{unquote(via.username or '')}:{unquote(via.password or '')}"
    who = f"Proxy-Authorization: Basic {b64encode(known.encode()).decode()}\r\n" if via.username else ""
    writer.write(f"CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{who}\r\n".encode())
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise EOFError("the proxy's answer does not end") from error
    if head.split(b" ", 2)[1:2] != [b"200"]:
        raise EOFError("the proxy makes no tunnel")


def proxy_of(url: str) -> str:
    """The proxy that the environment names for `url`; "" for none."""
    parts = urlsplit(url)
    return "" if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme, "")


def check_proxies(url: str) -> None:
    """Whether aiohttp can make sense of the proxies of the environment; it looks at all of them, for whatever `url`.

    Raises: ConfigError, which shows none: what is not understood may be a password.
    """
    if proxy_bypass(urlsplit(url).hostname or ""):
        return
    for scheme in ("http", "https", "ws", "wss"):
        proxy = getproxies().get(scheme, "")
        try:
            parts = urlsplit(proxy)
            good = not proxy or bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
        except ValueError:
            good = False
        if not good:
            raise ConfigError(f"{scheme.upper()}_PROXY is not the URL of an HTTP proxy, such as http://proxy:3128")


def without_password(url: str) -> str:
    """A URL that can be shown."""
    parts = urlsplit(url)
    return printable(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl())


@asynccontextmanager
async def _target(place: Place, watch: _Watch, headers: Mapping[str, str] | None) -> AsyncIterator[wires.Target]:
    async def base() -> str:
        return place.url

    async def token() -> str | None:
        return place.token

    async with wires.open_session({**place.headers, **(headers or {})}, place.ca, watch=[watch]) as http:
        yield wires.Target(http, base, token, lambda: False, place.channels, lambda *_: None)


def _now() -> float:
    return time.monotonic()


def _since(began: float) -> float:
    """Seconds, to a tenth of a millisecond."""
    return round(time.monotonic() - began, 4)
