"""The timer of a hub."""

from __future__ import annotations

import asyncio
import time

from transports import Hub, Options
from transports.figures import LAGS, Histogram
from transports.pulse import Pulse
from transports.testing import until


async def test_it_calls_again_and_again_until_it_is_stopped() -> None:
    calls: list[float] = []
    pulse = Pulse(Histogram(LAGS), every=0.001)
    pulse.also(lambda: calls.append(asyncio.get_running_loop().time()))
    pulse.start()
    pulse.start()
    await until(lambda: len(calls) >= 3)
    pulse.stop()
    told = len(calls)
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, later.set)
    await later.wait()
    assert len(calls) == told


async def test_how_long_the_loop_was_busy_is_seen() -> None:
    lag = Histogram(LAGS)
    pulse = Pulse(lag, every=0.001)
    pulse.start()
    time.sleep(0.06)  # noqa: ASYNC251 - this is what is to be seen
    await until(lambda: sum(lag.counts))
    pulse.stop()
    assert lag.total >= 0.05


async def test_a_hub_has_a_pulse_as_long_as_it_is_open() -> None:
    hub = Hub(Options(channels=("a",)))
    calls: list[None] = []
    hub.pulse.every = 0.001
    hub.pulse.also(lambda: calls.append(None))
    await hub.open()
    await until(lambda: calls)
    await hub.close()
    assert hub.pulse._timer is None
