"""Status: what an operator wants to know, as JSON."""

from __future__ import annotations

from typing import Any

from quart import Blueprint

from transports.hub import Hub


def status(hub: Hub) -> Blueprint:
    """`/status`: how many read now, and what clients found out about the networks between here and them."""
    page = Blueprint("status", __name__)

    @page.get("/status")
    async def show() -> dict[str, Any]:
        return {"readers": hub.readers, "channels": hub.log.channels, **hub.counts.as_dict()}

    return page
