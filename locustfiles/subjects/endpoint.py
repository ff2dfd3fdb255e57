"""Endpoint: the part that a server of another make needs to be compared: it takes our publish commands, and says that it serves.

An ASGI application of its own, so that it fits into any other. How an event gets from here to the readers is the business of the
server; so is what becomes of it when a reader is away.
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import msgspec

from transports.commands import Command, Publish, parse
from transports.errors import Code, Refusal
from transports.items import Reply

Emit: TypeAlias = Callable[[str, Any], Awaitable[None]]


class Endpoint:
    """Answers `POST …/commands` and `GET /ready`.

    Args:
        emit: hands the data of an event to the readers of a channel.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As ASGI has it, for HTTP."""
        match scope["method"], scope["path"].rpartition("/")[2]:
            case "POST", "commands":
                await _answer(send, *await self._commands(await _body(receive)))
            case "GET", "ready":
                await _answer(send, 200, b"{}")
            case _:
                await _answer(send, 404, b"{}")

    async def _commands(self, body: bytes) -> tuple[int, bytes]:
        try:
            replies = [await self._do(command) for command in parse(body)]
        except Refusal as refusal:
            return 400, msgspec.json.encode({"reason": refusal.reason})
        return 200, msgspec.json.encode(replies)

    async def _do(self, command: Command) -> Reply:
        if not isinstance(command, Publish):
            return Reply(command.ref, False, code=int(Code.BAD_COMMAND), reason="only publish is understood here")
        await self._emit(command.channel, command.data)
        return Reply(command.ref, True)


def address(what: str) -> tuple[str, int]:
    """Host and port out of the arguments of a server's program, which is described as `what`."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args()
    return given.host, given.port


async def _body(receive: Any) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def _answer(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
