"""Redis servers: Debian's redis-server, in a directory and on a port of its own.

async with redis_server(tmp_path, "--appendonly yes") as server:
    broker = RedisBroker(server.url)
    await server.kill()
    await server.start()
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, NoPermissionError
from redis.exceptions import ConnectionError as NotConnected

from tests.ports import free_port

NOTHING_KEPT = "--save '' --appendonly no"
EVERY_WRITE = "--save '' --appendonly yes --appendfsync always"
_START = 30.0  # seconds until it answers
_STOP = 10.0  # seconds to end by itself


class RedisServer:
    """One server, that can be ended, begun again, and stopped for a while.

    Args:
        directory: for all that it writes; made if it is not there.
        options: its command line.
    """

    def __init__(self, directory: Path, options: str = NOTHING_KEPT) -> None:
        self.directory = directory
        self.options = options
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Begin, with what is in the directory. Skips the test where there is no redis-server; in CI that is a failure."""
        executable = shutil.which("redis-server")
        if executable is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no redis-server; Debian has it in redis-server")
        self.directory.mkdir(exist_ok=True)
        usual = f"--port {self.port} --bind 127.0.0.1 --dir {self.directory} --repl-diskless-sync-delay 0"
        with (self.directory / "output.log").open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                executable,
                *[part.strip("'") for part in f"{usual} {self.options}".split()],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        await self._answers()

    async def _answers(self) -> None:
        async with asyncio.timeout(_START):
            while True:
                assert self._process is not None
                assert self._process.returncode is None, (self.directory / "output.log").read_text()[-3000:]
                try:
                    await self.ask("ECHO", "there")
                except (AuthenticationError, NoPermissionError):
                    return
                except (NotConnected, BusyLoadingError, OSError):
                    pass
                else:
                    return
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Let it end by itself."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """End it where it stands."""
        await self._end(signal.SIGKILL)

    async def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(how)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _STOP)
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    def pause(self) -> None:
        """It does nothing any more, and nobody is told."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After `pause`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def ask(self, *command: Any) -> Any:
        """What it answers to one command, past whatever is tested."""
        async with Redis(port=self.port, protocol=2, retry=Retry(NoBackoff(), 0)) as redis:
            redis.response_callbacks.clear()
            return await redis.execute_command(*command)

    async def says(self, text: bytes, *command: Any) -> None:
        """Wait until it answers `command` with `text` in it. Raises: TimeoutError."""
        async with asyncio.timeout(_START):
            while text not in repr(await self.ask(*command)).encode():  # noqa: ASYNC110 - another process rings no bell here
                await asyncio.sleep(0.01)


@asynccontextmanager
async def redis_server(directory: Path, options: str = NOTHING_KEPT) -> AsyncIterator[RedisServer]:
    """One that has begun, and is gone at the end."""
    server = RedisServer(directory / "redis", options)
    try:
        await server.start()
        yield server
    finally:
        await server.kill()
