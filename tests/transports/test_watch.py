from __future__ import annotations

import asyncio

from transports.testing import until
from transports.watch import Watch


async def test_what_ends_in_time_is_not_late_and_costs_one_timer() -> None:
    late: list[int] = []
    watch = Watch(lambda: late.append(1))
    watch.begin(60.0)
    timer = watch._timer
    for _ in range(100):
        watch.end()
        watch.begin(61.0)
    assert watch._timer is timer
    watch.end()
    assert not late
    watch.stop()
    assert timer.cancelled()


async def test_what_does_not_end_is_late_once() -> None:
    late: list[int] = []
    watch = Watch(lambda: late.append(1))
    watch.begin(0.0)
    await until(lambda: late)
    watch.begin(0.0)
    await until(lambda: len(late) == 2)
    assert watch._timer is None


async def test_a_deadline_that_moves_is_looked_at_again() -> None:
    loop, late = asyncio.get_running_loop(), []
    watch = Watch(lambda: late.append(loop.time()))
    watch.begin(0.01)
    watch.begin(0.05)
    moved = watch._deadline
    await until(lambda: late)
    assert late[0] >= moved


async def test_a_nearer_deadline_is_not_missed() -> None:
    late: list[int] = []
    watch = Watch(lambda: late.append(1))
    watch.begin(60.0)
    watch.end()
    watch.begin(0.0)
    await until(lambda: late)
    watch.stop()
