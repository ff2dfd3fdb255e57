"""What people show is in no line of a log, whether it is taken or refused."""

from __future__ import annotations

import logging

import pytest
from hypercorn.config import Config
from hypercorn.logging import AccessLogAtoms

from .credentials import ticket as ticket_of
from .stage import EDGES, OURS, SECRET, WIRES, stage

TOKEN = "a-token-that-is-nobodys-business"
COOKIE = "a-cookie-that-is-nobodys-business"


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("path", WIRES)
async def test_nothing_that_was_shown_is_in_a_log(edge: str, path: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with stage(edge, path) as target:
        ticket = await ticket_of(target)
        for _ in range(2):  # taken, and refused
            await target.read(f"{target.secret}&ticket={ticket}")
        await target.read(f"channels={SECRET}&ticket=none.of.ours")
        await target.read(target.secret, f"Authorization: Bearer {TOKEN}")
        await target.read(target.secret, f"Cookie: who={COOKIE}; session={COOKIE}")
        await target.post({"do": "auth", "ref": 1, "token": TOKEN}, headers=[OURS])
        await target.ask(f"nothing/{path}?ticket={ticket}", f"Authorization: Bearer {TOKEN}", f"Cookie: x={COOKIE}")
    told = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert "transports" in told  # something was told
    secrets = {"ticket": ticket, "token": TOKEN, "cookie": COOKIE, "signature": ticket.rpartition(".")[2]}
    assert [name for name, secret in secrets.items() if secret in told] == []


def test_the_access_log_of_hypercorn_has_no_queries_unless_it_is_asked_for_them() -> None:
    scope = {"type": "http", "headers": [], "method": "GET", "path": "/live/sse", "query_string": b"ticket=T", "scheme": "http"}
    line = Config().access_log_format % AccessLogAtoms(scope, None, 0.0)
    assert "/live/sse" in line
    assert "ticket" not in line
