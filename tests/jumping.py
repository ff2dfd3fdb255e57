"""An event loop whose clock jumps: real sockets, and hours that pass while nobody waits for them.

Time stands still while anything happens, and goes on to the next timer when nothing does. What takes five seconds by this clock
takes exactly five, on however busy a machine.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import selectors
from collections.abc import Awaitable, Callable
from typing import Any

_GRACE = 0.01  # seconds of the real clock in which what was sent over loopback has long arrived
_LONG = 86_000.0  # seconds of the jumping clock: nothing that is tested takes longer


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0 if timeout is not None and timeout <= 0 else _GRACE)
        if not ready and timeout and not self._loop.elsewhere:
            self._loop.now += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """See above. `broken`: what it was told of, that nobody has caught. While a thread is at work, such as one that looks up
    a name, time stands still too.
    """

    def __init__(self) -> None:
        self.now = 1_000.0
        self.elsewhere = 0  # what threads are at
        self.wires = _Selector(self)
        super().__init__(self.wires)
        self.broken: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.broken.append(context))

    def run_in_executor(self, executor: Any, work: Any, *args: Any) -> Any:
        future = super().run_in_executor(executor, work, *args)
        self.elsewhere += 1
        future.add_done_callback(self._back)
        return future

    def _back(self, _: object) -> None:
        self.elsewhere -= 1

    def time(self) -> float:
        return self.now


def jumping(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an asynchronous test in such a loop. It must leave no task and no socket behind, and nothing uncaught."""

    @functools.wraps(test)
    def run(*args: Any, **named: Any) -> None:
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            runner.run(_whole(test(*args, **named)))
        gc.collect()

    return run


async def _whole(test: Awaitable[None]) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, JumpingLoop)
    async with asyncio.timeout(_LONG):
        await test
    assert not loop.broken
    assert len(loop.wires.get_map()) == 1, "a socket was left behind"  # one is the loop's own
    assert asyncio.all_tasks() == {asyncio.current_task()}, "a task was left behind"
