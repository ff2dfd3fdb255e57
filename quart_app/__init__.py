"""The reference application: a page, the machine's own figures as a stream, and every channel open to everybody who
can reach it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from quart import Quart

from transports import Code, Refusal
from transports.quart import Live

from .home import VITALS, home
from .look import look
from .manual import manual, no_lab
from .sources import vitals


def create_app(**settings: Any) -> Quart:
    """The application.

    Args:
        **settings: the fields of `transports.Options`. Unless they say otherwise, any channel may be used.
    """
    app = Quart(__name__, static_folder=None)  # the page's files have their own route, with its headers
    live = Live(app, **{"channels": ["*"], **settings})
    app.register_blueprint(home(live.hub.options.mount, live.hub.options.channels))
    app.register_blueprint(look())
    app.register_blueprint(manual())
    app.register_blueprint(no_lab())

    @app.while_serving
    async def publishing() -> Any:
        task = asyncio.create_task(publish_all(VITALS, vitals(), live))
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    return app


async def publish_all(channel: str, source: AsyncIterator[tuple[int, Any]], live: Live) -> None:
    """Publish what comes from `source`, until the server stops or the channel turns out not to be allowed.

    Every process does that. The number of the moment is the key, so that each moment is published once: readers have the same
    rate from any number of processes. On several machines the figures are of the one that was first.
    """
    async for moment, data in source:
        try:
            await live.publish(channel, data, key=f"{channel}:{moment}")
        except Refusal as refusal:
            if refusal.code is not Code.BROKER_DOWN:
                return
