"""Search: the highest rate that is still good, by doubling and then halving the steps. Pure: who probes is an argument."""

from __future__ import annotations

from collections.abc import Callable

Good = Callable[[float], bool]


def highest(good: Good, start: float, *, steps: int, least: float = 1.0, most: float = 1e9) -> float | None:
    """The highest rate for which `good` holds, to a factor of 2 ** (1 / 2 ** steps); None if not even `least` is good.

    Args:
        good: probes a rate; taken to hold up to some rate and for none above it.
        start: where to begin.
        steps: how often the step, which is a doubling at first, is halved.
        least: below that nothing is probed.
        most: above that nothing is probed; it is the answer if it is good.
    """
    low = start = min(max(start, least), most)
    if good(start):
        while (high := min(2 * low, most)) > low and good(high):
            low = high
        if high == low:
            return low
    else:
        while not good(low := max(start / 2, least)):
            if low == least:
                return None
            start = low
        high = start
    return _between(good, low, high, steps)


def nearby(good: Good, start: float, *, step: float, least: float = 1.0, most: float = 1e9) -> float | None:
    """As `highest`, for a `start` that is known to be near: up or down by the factor `step`."""
    rate = start
    if good(rate):
        while rate * step <= most and good(rate * step):
            rate *= step
        return rate
    while rate / step >= least:
        rate /= step
        if good(rate):
            return rate
    return None


def _between(good: Good, low: float, high: float, steps: int) -> float:
    for _ in range(steps):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if good(middle) else (low, middle)
    return low
