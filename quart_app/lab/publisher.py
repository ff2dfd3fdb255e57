"""Publisher: where the events of the lab come from. It publishes to the server under test by HTTP, as any program would.

While the server is away nothing is published, and what was refused is published when it is back, with the key that it had: the
numbers of the events have no holes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from transports.networks import Head
from transports.networks.pieces import FramingError, Splitter

CHANNEL: Final = "lab"

_AGAIN: Final = 0.25  # seconds until another try
_PATIENCE: Final = 5.0  # seconds for an answer
_AROUND: Final = 150  # bytes of a command around its pad, at the most
TOGETHER: Final = 60_000  # bytes of one burst: below the server's limit for a request


class Pace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How events are published."""

    rate: Annotated[float, Meta(gt=0, le=500)] = 5.0  # events a second
    size: Annotated[int, Meta(ge=0, le=32_768)] = 64  # bytes of an event's data, as JSON; a number and a time at the least
    burst: Annotated[int, Meta(ge=1, le=200)] = 1  # events that go together, in one request
    running: bool = True

    @property
    def together(self) -> int:
        """Bytes of a burst."""
        return self.burst * (self.size + _AROUND)


class Publisher:
    """Publishes to `lab`.

    Args:
        place: where the server is.
        changed: called when it begins or ends to wait for the server.
    """

    def __init__(self, place: Callable[[], tuple[str, int]], changed: Callable[[], None] = lambda: None) -> None:
        self.pace = Pace()
        self.published = 0
        self.waiting = False
        self._place, self._changed = place, changed
        self._stir = asyncio.Event()
        self._line: Line | None = None

    def become(self, pace: Pace) -> None:
        """Go on like that."""
        self.pace = pace
        self._stir.set()

    def state(self) -> dict[str, Any]:
        """How it goes, in JSON."""
        return {**msgspec.to_builtins(self.pace), "waiting": self.waiting}

    async def run(self) -> None:
        """Publish, until it is cancelled."""
        last = _now()
        try:
            while True:
                await self._until(last + self.pace.burst / self.pace.rate)
                pace, between = self.pace, self.pace.burst / self.pace.rate
                if not pace.running or _now() < last + between:
                    continue  # it was made another one meanwhile
                await self._publish([_command(n, pace.size) for n in range(self.published + 1, self.published + 1 + pace.burst)])
                self.published += pace.burst
                last = max(last + between, _now() - between)  # what was missed is not made up for
        finally:
            self._hang_up()

    async def _until(self, due: float) -> None:
        """Wait until it is time, or something is another."""
        self._stir.clear()
        wait = due - _now() if self.pace.running else None
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._stir.wait()

    async def _publish(self, commands: list[dict[str, Any]]) -> None:
        """Until all of them are. What failed before its answer may have been published: the key says that it is the same."""
        body = msgspec.json.encode(commands)
        while True:
            try:
                if self._line is None:
                    self._line = await Line.to(*self._place())
                if all(reply["ok"] for reply in await self._line.post("/live/commands", body)):
                    self._wait(False)
                    return
            except (OSError, FramingError, msgspec.DecodeError, TypeError, KeyError):
                pass
            self._hang_up()
            self._wait(True)
            await asyncio.sleep(_AGAIN)

    def _wait(self, waiting: bool) -> None:
        if self.waiting != waiting:
            self.waiting = waiting
            self._changed()

    def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()


class Line:
    """A connection for one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader, self._writer, self._host = reader, writer, host
        self._methods: list[bytes] = []
        self._answers = Splitter(self._methods)

    @classmethod
    async def to(cls, host: str, port: int) -> Line:
        """One that is open. Raises: OSError."""
        async with asyncio.timeout(_PATIENCE):
            return cls(*await asyncio.open_connection(host, port), f"{host}:{port}")

    async def post(self, path: str, body: bytes) -> Any:
        """What the answer says, in JSON. Raises: OSError, FramingError, msgspec.DecodeError."""
        headers = f"Host: {self._host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._methods.append(b"POST")
        self._writer.write(f"POST {path} HTTP/1.1\r\n{headers}".encode() + body)
        async with asyncio.timeout(_PATIENCE):
            status, answer = await self._answer()
        if status != 200:
            raise ConnectionError(f"answered {status}")
        return msgspec.json.decode(answer)

    async def _answer(self) -> tuple[int, bytes]:
        status, answer = 0, b""
        while data := await self._reader.read(65_536):
            for piece in self._answers.feed(data):
                if piece.kind == "head":
                    status = Head.parse(piece.raw).status
                answer += piece.payload
                if piece.kind == "end":
                    return status, answer
        raise ConnectionResetError("no answer")

    def close(self) -> None:
        """Hang up."""
        self._writer.transport.abort()


def _command(n: int, size: int) -> dict[str, Any]:
    data = {"n": n, "at": round(time.time(), 6), "pad": ""}
    data["pad"] = "." * max(0, size - len(msgspec.json.encode(data)))
    return {"do": "publish", "channel": CHANNEL, "data": data, "key": f"lab:{n}"}


def _now() -> float:
    return asyncio.get_running_loop().time()
