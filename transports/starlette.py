"""Mounted in Starlette or FastAPI, streams are answered through sse-starlette's `EventSourceResponse`, where it is
installed.

The same bytes go down: it passes them through. `app.mount("/live", live.asgi)` is all there is to do; elsewhere the
plain responder of `transports.asgi` is smaller, and needs no library.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from .feed import Feed

_Response: TypeAlias = Callable[..., Awaitable[None]]
_NEVER = 10**9  # seconds; our own beats fill a silence, sse-starlette's comments are not wanted


def starlette_response(scope: MutableMapping[str, Any]) -> _Response | None:
    """What answers a stream within Starlette; None elsewhere, or without sse-starlette."""
    starlette = sys.modules.get("starlette.applications")
    if starlette is None or not isinstance(scope.get("app"), starlette.Starlette):
        return None
    try:
        import sse_starlette  # noqa: F401
    except ImportError:
        return None
    return _respond


async def _respond(
    chunks: AsyncIterator[bytes], headers: Sequence[tuple[bytes, bytes]], feed: Feed, scope: Any, receive: Any, send: Any
) -> None:
    from sse_starlette import EventSourceResponse

    wanted = {name.decode(): value.decode() for name, value in headers}
    response = EventSourceResponse(chunks, headers=wanted, media_type=wanted.pop("content-type"), ping=_NEVER)
    await response(scope, receive, send)
