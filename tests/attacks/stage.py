"""A server to attack: each edge, with people, rights and data that is worth something, and wires to try it over."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h2.connection
import h2.events
from wsproto.frame_protocol import Opcode

from tests.transports.test_edge import UPGRADE, Connection, WebSocket, request, site
from transports import LADDER, Hub, Options, Request, Transport
from transports.asgi import Endpoints
from transports.brokers import Broker
from transports.front import Front
from transports.servers import find_server
from transports.testing import serving

EDGES = ("front", "plain")  # our own, and Hypercorn with the ASGI endpoints
SERVERS = (*EDGES, "uvicorn", "granian")  # whose own reading comes before ours
WIRES = {transport.path: transport for transport in LADDER}
SECRET = "secret.ann"  # a channel that only ann may read
OURS = "Cookie: who=ann"  # what ann's browser adds to whatever is asked of us
EVIL = "https://evil.example"  # where a page comes from that ann looks at
PATIENCE = 10.0  # seconds for what has to come
UNBOUNDED: dict[str, Any] = {}  # settings of guards that are taken away; they go before those of an attack


def who(request: Request) -> Hashable:
    """By cookie, as in an application with sessions, or by token."""
    return request.cookies.get("who") or request.token


def may(who: Hashable, action: str, channel: str) -> bool:
    """What is not for everybody is for the one after whom it is called."""
    return channel.startswith("open.") or channel.endswith(f".{who}")


class Seen(NamedTuple):
    """What came back. `status` is 0 where nothing did."""

    status: int
    headers: dict[str, str]
    items: Sequence[Any]

    @property
    def told(self) -> list[str]:
        """The channels of which something was told."""
        return [item.channel for item in self.items if item.kind == "event"]


class Target:
    """A server under attack.

    Args:
        edge: which one it has.
        path: that of the transport over which it is attacked.
        hub: what is behind it.
        url: where it is.
        endpoints: as an ASGI application.
        patience: seconds for an end that is to come; where nothing brings it, that need not be waited for long.
    """

    def __init__(self, edge: str, path: str, hub: Hub, url: str, endpoints: Endpoints, patience: float) -> None:
        self.edge, self.path, self.hub, self.url = edge, path, hub, url
        self.endpoints, self.patience = endpoints, patience
        self.name = "x"  # by which it is asked for
        self._open: list[Connection] = []

    @property
    def transport(self) -> Transport:
        return WIRES[self.path]

    @property
    def beginning(self) -> str:
        """The position before everything, which anybody can guess who knows any."""
        return f"{self.hub.log.epoch}.0"

    @property
    def secret(self) -> str:
        """The query for all that ann's channel has."""
        return f"channels={SECRET}&since={self.beginning}"

    async def connect(self, *, tls: bool = True) -> Connection:
        scheme, host, port = self.url.split(":")
        context = ssl._create_unverified_context() if scheme == "https" and tls else None
        self._open.append(Connection(*await asyncio.open_connection(host.removeprefix("//"), int(port), ssl=context)))
        return self._open[-1]

    def request(self, path: str, *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
        return request(f"/live/{path}", *headers, method=method, body=body).replace(b"Host: x", f"Host: {self.name}".encode(), 1)

    def opening(self, query: str, *headers: str) -> bytes:
        """What opens the transport under attack."""
        return self.request(f"{self.path}?{query}", *(UPGRADE if self.path == "ws" else ()), *headers)

    async def ask(self, path: str, *headers: str, method: str = "GET", body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """One request, and its whole answer."""
        connection = await self.connect()
        length = [f"Content-Length: {len(body)}"] if body else []
        connection.send(self.request(path, "Connection: close", *length, *headers, method=method, body=body))
        return await connection.answer(method)

    async def post(self, *commands: dict[str, Any], headers: Sequence[str] = ()) -> tuple[int, list[dict[str, Any]]]:
        """Commands by POST, and their replies."""
        status, _, body = await self.ask("commands", *headers, method="POST", body=json.dumps(commands).encode())
        return status, json.loads(body) if status == 200 else []

    async def websocket(self, query: str, *headers: str) -> WebSocket | int:
        """One that is open, or the status with which it was refused."""
        connection = await self.connect()
        connection.send(self.request(f"ws?{query}", *UPGRADE, *headers))
        status, _ = await connection.head()
        return WebSocket(connection) if status == 101 else status

    async def read(self, query: str, *headers: str) -> Seen:
        """What the transport under attack brings first: events, or an end."""
        async with asyncio.timeout(PATIENCE):
            if self.path == "ws":
                return await self._converse(query, *headers)
            connection = await self.connect()
            connection.send(self.opening(query, *headers))
            if self.path == "sse":
                return await self._stream(connection)
            status, answered, body = await connection.answer()
            return Seen(status, answered, self.transport.reader().feed(body) if status == 200 else ())

    async def _converse(self, query: str, *headers: str) -> Seen:
        ws = await self.websocket(query, *headers)
        if isinstance(ws, int):
            return Seen(ws, {}, ())
        items: list[Any] = []
        while not enough(items):
            items += self.transport.reader().feed((await ws.frame()).payload)
        return Seen(101, {}, items)

    async def _stream(self, connection: Connection) -> Seen:
        status, headers = await connection.head()
        items: list[Any] = []
        if status == 200:
            reader = self.transport.reader()
            while not enough(items):
                items += reader.feed(await connection.chunk())
        return Seen(status, headers, items)

    async def ends(self, connection: Connection) -> bool:
        """Whether the connection comes to an end, with or without a word. Who attacks goes on sending what it had begun."""
        try:
            async with asyncio.timeout(self.patience):
                while await connection.reader.read(65_536):
                    pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def leave(self) -> None:
        for each in self._open:
            each.writer.transport.abort()


async def replies(ws: WebSocket) -> list[dict[str, Any]]:
    """Those to what was said last, whatever comes before them: a beat, or events. Empty if the connection ends instead."""
    while (frame := await ws.frame()) is not None and frame.opcode == Opcode.TEXT:
        if said := [item for item in json.loads(frame.payload) if item["type"] == "reply"]:
            return said
    return []


def enough(items: Sequence[Any]) -> bool:
    """Whether what matters has come."""
    return any(item.kind not in ("hello", "skipped") and not getattr(item, "stays", None) for item in items)


@asynccontextmanager
async def stage(
    edge: str,
    path: str = "poll",
    *,
    knows: Callable[[Request], Any] | None = who,
    allows: Callable[[Hashable, str, str], bool] | None = may,
    broker: Callable[[], Broker] | None = None,
    patience: float = PATIENCE,
    pem: Path | None = None,
    **settings: Any,
) -> AsyncIterator[Target]:
    """A server that knows people by cookie and token, and has one event of ann's."""
    options = Options(**{"channels": ("*",), "beat": 0.3, **settings, **UNBOUNDED})
    hub = Hub(options, broker=broker and broker(), authorize=allows)
    await hub.open()
    endpoints = Endpoints(hub)
    endpoints.admission.authenticate = knows
    front = Front(endpoints.admission, "/live") if edge == "front" else None
    server = find_server("hypercorn" if edge in EDGES else edge)
    tls = {"certfile": str(pem), "keyfile": str(pem)} if pem else {}
    await hub.publish(SECRET, {"pin": 1234})
    async with serving(site(endpoints), drain=hub.close, options=options, front=front, server=server, **tls) as url:
        target = Target(edge, path, hub, url, endpoints, patience)
        try:
            yield target
        finally:
            target.leave()


async def read_http2(target: Target, query: str, *headers: tuple[str, str]) -> tuple[str, bytes]:
    """What the transport under attack answers over HTTP/2, and what it brings first; a WebSocket by RFC 8441."""
    connection, http2 = await target.connect(), h2.connection.H2Connection()
    http2.initiate_connection()
    asked = [(":method", "GET"), (":scheme", "http"), (":authority", target.name), (":path", f"/live/{target.path}?{query}")]
    if target.path == "ws":
        asked = [(":method", "CONNECT"), (":protocol", "websocket"), *asked[1:], ("sec-websocket-version", "13")]
    http2.send_headers(1, [*asked, *headers], end_stream=target.path != "ws")
    connection.writer.write(http2.data_to_send())
    status, body = "", b""
    async with asyncio.timeout(PATIENCE):
        while data := await connection.reader.read(65_536):
            for event in http2.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    status = dict(event.headers)[b":status"].decode()
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                if isinstance(event, h2.events.StreamEnded | h2.events.StreamReset) or b'"type":"event"' in body:
                    return status, body
            connection.writer.write(http2.data_to_send())
    return status, body
