"""Endpoint: publish commands in, events out, and a reply for each command."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from locustfiles.measuring.publisher import command, data
from locustfiles.subjects.endpoint import Endpoint
from transports.items import Reply


async def ask(method: str, path: str, body: bytes = b"") -> tuple[int, bytes, list[tuple[str, Any]]]:
    """Status and body of the answer, and what was handed on."""
    emitted: list[tuple[str, Any]] = []
    sent: list[dict[str, Any]] = []
    came = [
        {"type": "http.request", "body": body[:5], "more_body": True},
        {"type": "http.request", "body": body[5:], "more_body": False},
    ]

    async def emit(channel: str, data: Any) -> None:
        emitted.append((channel, data))

    async def receive() -> dict[str, Any]:
        return came.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await Endpoint(emit)({"type": "http", "method": method, "path": path}, receive, send)
    assert [each["type"] for each in sent] == ["http.response.start", "http.response.body"]
    assert dict(sent[0]["headers"])[b"content-length"] == b"%d" % len(sent[1]["body"])
    return sent[0]["status"], sent[1]["body"], emitted


async def test_what_our_publisher_sends_is_understood() -> None:
    body = b"[%b,%b]" % (command(0, "a", "key-0", data(0, 17, 60)), command(1, "b", "key-1", data(1, 18, 60)))
    status, answer, emitted = await ask("POST", "/live/commands", body)
    assert status == 200
    assert msgspec.json.decode(answer, type=list[Reply]) == [Reply(0, True), Reply(1, True)]
    assert [(channel, data["n"], data["t"]) for channel, data in emitted] == [("a", 0, 17), ("b", 1, 18)]


async def test_other_commands_are_refused_one_by_one() -> None:
    body = b'[{"do":"ping","ref":1},{"do":"publish","ref":2,"channel":"a","data":0},{"do":"nonsense","ref":3}]'
    status, answer, emitted = await ask("POST", "/live/commands", body)
    assert status == 200
    assert [reply.ok for reply in msgspec.json.decode(answer, type=list[Reply])] == [False, True, False]
    assert emitted == [("a", 0)]


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[1]", b'{"do":'])
async def test_what_is_no_command_is_a_bad_request(body: bytes) -> None:
    status, answer, emitted = await ask("POST", "/live/commands", body)
    assert status == 400
    assert msgspec.json.decode(answer)["reason"]
    assert emitted == []


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/ready", 200), ("GET", "/commands", 404), ("POST", "/ready", 404)]
)
async def test_it_says_that_it_serves_and_nothing_else(method: str, path: str, status: int) -> None:
    assert (await ask(method, path))[0] == status
