"""Answers: what no server of ours says by itself, for experiments with what browsers make of it."""

from __future__ import annotations

import time
from typing import Final

from quart import Blueprint, Response, request

_EVENT: Final = b'data: {"n":1}\n\n'


def answers() -> Blueprint:
    """`GET /lab/answers/unavailable?until=<seconds since 1970>`: 503 until then, and from then on a stream with one event."""
    blueprint = Blueprint("answers", __name__)

    @blueprint.get("/unavailable")
    async def unavailable() -> Response:
        if time.time() < request.args.get("until", 0.0, float):
            return Response(b"not now\n", 503, {"Retry-After": "1", "Cache-Control": "no-store"}, content_type="text/plain")
        return Response(_EVENT, 200, {"Cache-Control": "no-store"}, content_type="text/event-stream")

    return blueprint
