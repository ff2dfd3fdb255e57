"""A program with workers, whose code is partly in a file that tests change: `worker_program.py SERVER CODE [stays]`.

Answers every request with its process id and what the code says. With `stays` it does not leave when it is asked to.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from transports.options import Options
from transports.serve import address, configuration, listen
from transports.servers import find_server
from transports.workers import keep, place, serve_at

HANGS = float(os.environ.get("HANGS", "60"))


def main(server: str, code: str, stays: str = "") -> None:
    at = place()
    if at is None:
        listening = listen("127.0.0.1", 0)
        sys.exit(keep(listening, 3, 0.0, lambda: print(address(listening), flush=True), hangs=HANGS))
    said: dict[str, Any] = {"process": os.getpid(), "number": at.number}
    exec(Path(code).read_text(), said)  # what is deployed
    body = json.dumps({name: said[name] for name in ("process", "number", "version")}).encode()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    class Hub:
        board = None

        def show_figures(self) -> None:
            pass

        async def open(self) -> None:
            pass

        async def drain(self) -> None:
            if stays:
                await asyncio.Event().wait()

    config = configuration(at.listening, Options(), loads=at.loads)
    asyncio.run(serve_at(at, find_server(server), app, config, Hub(), lambda: None))


if __name__ == "__main__":
    main(*sys.argv[1:])
