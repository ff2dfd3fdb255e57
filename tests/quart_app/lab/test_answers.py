"""Answers: what the lab says for experiments with what browsers make of it."""

from __future__ import annotations

import time

from quart_app.lab.app import Lab


async def test_it_is_unavailable_until_then_and_a_stream_afterwards() -> None:
    client = Lab().app.test_client()
    away = await client.get(f"/lab/answers/unavailable?until={time.time() + 60}")
    assert (away.status_code, away.headers["Retry-After"]) == (503, "1")
    back = await client.get(f"/lab/answers/unavailable?until={time.time() - 1}")
    assert (back.status_code, back.mimetype) == (200, "text/event-stream")
    assert await back.get_data() == b'data: {"n":1}\n\n'
    assert (await client.get("/lab/answers/unavailable?until=soon")).status_code == 200
