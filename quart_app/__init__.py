"""The reference application: a page, the machine's own figures as a stream, and every channel open to everybody who
can reach it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from quart import Quart

from transports.quart import Live

from .lab import pages
from .sources import vitals


def create_app(**settings: Any) -> Quart:
    """The application.

    Args:
        **settings: the fields of `transports.Options`. Unless they say otherwise, any channel may be used.
    """
    app = Quart(__name__)
    live = Live(app, **{"channels": ["*"], **settings})
    app.register_blueprint(pages(live.hub.options.mount))

    async def publish_vitals() -> None:
        async for figures in vitals():
            await live.publish("vitals", figures)

    @app.while_serving
    async def publishing() -> Any:
        task = asyncio.create_task(publish_vitals())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    return app
