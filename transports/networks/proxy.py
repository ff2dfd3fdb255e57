"""The fault proxy: a relay in front of a server, which does to connections what bad networks do.

    async with Network("no-upgrade", upstream="http://127.0.0.1:8000") as url:
        ...

Each connection of a client has one of its own to the server. Two lanes lead from side to side; what comes in is taken apart
into pieces, and each piece goes through the stages of the network's behaviours. They can be exchanged while connections are
open.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ..errors import ConfigError
from .behaviours import Cut, How, Life
from .connection import Connection
from .lane import now
from .profiles import Profile, network
from .record import Record
from .sockets import DIAL, here, names_of, reset

if TYPE_CHECKING:
    from .authority import Authority
    from .edge import Edge

_CONNECTIONS: Final = 2_000  # at the same time
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class Network:
    """A named network in front of a server.

    Args:
        names: of `NETWORKS`, joined by `+`; or a `Profile` of your own.
        upstream: where the server is: `http://host:port`, `host:port` or `:port`. A path is kept for the URL that is given.
        host: the address to listen on.
        port: 0 takes any that is free.
        expose: allow a host that is not loopback. A network that answers to everybody must be asked for twice.
        seed: for what happens by chance.

    Raises:
        ConfigError: no such network, no such upstream, a host that is not loopback; on entering, an upstream that is itself.
        OSError: the port is taken.
    """

    def __init__(
        self,
        names: str | Profile = "open",
        *,
        upstream: str,
        host: str = "127.0.0.1",
        port: int = 0,
        expose: bool = False,
        seed: int | None = None,
    ) -> None:
        if host not in _LOOPBACK and not expose:
            raise ConfigError(f"{host!r} can be reached by others: say expose (--expose), too, if that is meant")
        self.profile = network(names) if isinstance(names, str) else names
        self.upstream, self._path = _upstream(upstream)
        self.record = Record()
        self._host, self._port = host, port
        self._chance = random.Random(seed)
        self._began: float | None = None
        self._accepted: set[asyncio.Task[None]] = set()
        self._connections: dict[Connection, None] = {}  # a set that keeps their order
        self._numbers = 0
        self._server: asyncio.Server | None = None
        self._edge: Edge | None = None
        self._authority = _authority(*names_of(host)) if self.profile.tls else None
        self._tls: ssl.SSLContext | None = None  # where it is not the edge that speaks it

    # ------------------------------------------------------------------------------------------------------ from outside

    async def __aenter__(self) -> str:
        """Listen; gives the URL for clients. That of a forward proxy is the server's own: see `proxy`.

        Raises: ConfigError, the server would be this very network.
        """
        tls = None if self._authority is None else self._authority.server(http2=self.profile.http2)
        if tls is not None and self.profile.http2:
            await self._open_edge(tls)
        else:
            self._tls = tls
            self._server = await asyncio.start_server(self._accept, self._host, self._port, backlog=1024)
            self._port = self._server.sockets[0].getsockname()[1]
        if self.upstream[1] == self._port and await here(self.upstream[0], self._host):
            await self.__aexit__(None, None, None)
            raise ConfigError(f"{_address(*self.upstream)} is where this network listens: it would lead to itself")
        return self.url

    async def _open_edge(self, tls: ssl.SSLContext) -> None:
        """Have clients come to an edge, and listen behind it."""
        from .edge import Edge  # with what it needs only where it is needed

        self._server = await asyncio.start_server(self._accept, _LOOPBACK[0], 0, backlog=1024)
        self._edge = Edge(self._server.sockets[0].getsockname(), self._accept, tls, _CONNECTIONS)
        try:
            self._port = await self._edge.open(self._host, self._port)
        except OSError:
            self._server.close()
            raise

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End all connections, and listen no more."""
        if self._edge is not None:
            await self._edge.close()
        server, self._server = self._server, None
        if server is not None:
            server.close()
        tasks = list(self._accepted)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(5):  # for what was just accepted to be refused, and for its socket to be closed
            await asyncio.sleep(0)

    @property
    def url(self) -> str:
        """Where clients go."""
        if self.profile.forward:
            return f"http://{_address(*self.upstream)}{self._path}"
        return f"{self._scheme}://{_address(self._host, self._port)}{self._path}"

    @property
    def proxy(self) -> str | None:
        """What clients must be told as their proxy; None if they need none."""
        return f"{self._scheme}://{_address(self._host, self._port)}" if self.profile.forward else None

    @property
    def _scheme(self) -> str:
        return "https" if self.profile.tls else "http"

    def save_authority(self, path: Path) -> Path:
        """Write the certificate of the authority that clients must trust to get through. Raises: ConfigError, it has none."""
        if self._authority is None:
            raise ConfigError(f"{self.profile.name} does not end TLS")
        return self._authority.save(path)

    def switch(self, names: str | Profile) -> None:
        """Become another network, for the connections that are open too. What was held back passes, if the new one lets it; where
        something was swallowed, nothing comes behind it.

        Raises: ConfigError, no such network, or one that clients reach in another way (by TLS, by HTTP/2, as a forward proxy).
        """
        profile = network(names) if isinstance(names, str) else names
        if _entry(profile) != _entry(self.profile):
            raise ConfigError(f"from {self.profile.name} to {profile.name}: clients would have to come in another way")
        self.profile, self._began = profile, now() if self._connections else None
        for connection in self._connections:
            connection.switch()

    def cut(self, how: How = "reset") -> int:
        """End all connections now; how many. `how`: `reset`, `close`, or `forget`: they stay open, and nothing passes."""
        if how not in ("reset", "close", "forget"):
            raise ConfigError(f"a connection is cut by reset, close or forget, not by {how!r}")
        open_now = list(self._connections)
        for connection in open_now:
            connection.end(Cut(0, how))
        return len(open_now)

    @property
    def connections(self) -> int:
        """That are open, those included that were forgotten."""
        return len(self._connections)

    # ------------------------------------------------------------------------------------------------------- from within

    def luck(self) -> float:
        """The next number from 0 to 1."""
        return self._chance.random()

    def life(self) -> Life:
        """Of a connection that begins now."""
        at = now()
        if self._began is None:
            self._began = at
        return Life(self._began, at, at, self.luck())

    def _admits(self, life: Life) -> bool:
        return len(self._accepted) < _CONNECTIONS and all(behaviour.admits(life) for behaviour in self.profile.behaviours)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        life = self.life()
        if self._server is None or not self._admits(life):
            reset(writer)
            return
        task = asyncio.create_task(self._serve(life, reader, writer))
        self._accepted.add(task)
        task.add_done_callback(self._accepted.discard)
        task.add_done_callback(lambda _: writer.transport.abort())  # even if it was cancelled before it began

    async def _serve(self, life: Life, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._tls is not None:
            try:  # here, so that a handshake that nobody goes on with ends with us
                await writer.start_tls(self._tls, ssl_handshake_timeout=DIAL)
            except OSError:  # a client that does not trust us, most likely
                return
        self._numbers += 1
        connection = Connection(self, self._numbers, life, reader, writer)
        self._connections[connection] = None
        try:
            await connection.run()
        finally:
            del self._connections[connection]


def _entry(profile: Profile) -> tuple[bool, bool, bool]:
    """The way in."""
    return profile.tls, profile.http2, profile.forward


def _upstream(text: str) -> tuple[tuple[str, int], str]:
    """Host and port, and the path behind them. Raises: ConfigError."""
    whole = text if "://" in text else f"http://{'127.0.0.1' if text.startswith(':') else ''}{text}"
    try:
        parts = urlsplit(whole)
        port = parts.port or 80
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme != "http" or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(f"{text!r} is no server to lead to, such as http://127.0.0.1:8000 or :8000")
    return (parts.hostname, port), parts.path.rstrip("/")


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _authority(*names: str) -> Authority:
    from .authority import Authority  # with what it needs only where it is needed

    return Authority(*dict.fromkeys((*_LOOPBACK, *names)))
