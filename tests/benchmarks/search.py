"""Search: the highest rate that is still good, by doubling and then halving the steps. Pure: who probes is an argument."""

from __future__ import annotations

from collections.abc import Callable

Good = Callable[[float], bool]
_STEP_MOST = 2.0


def highest(
    good: Good, start: float, *, finest: float, first: float = _STEP_MOST, least: float = 1.0, most: float = 1e9
) -> float | None:
    """The highest rate for which `good` holds, to the factor `finest`; None if not even `least` is good.

    Args:
        good: probes a rate; taken to hold up to some rate and for none above it.
        start: where to begin.
        finest: the factor between two rates that are told apart, over 1.
        first: the factor of the first step: a small one where `start` is known to be near. Steps grow until they double.
        least: below that nothing is probed.
        most: above that nothing is probed; it is the answer if it is good.
    """
    start = min(max(start, least), most)
    if good(start):
        low, high = _up(good, start, first, most)
    else:
        low, high = _down(good, start, first, least)
    if low is None or high is None:
        return low
    while high / low > finest * 1.0001:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if good(middle) else (low, middle)
    return low


def _up(good: Good, low: float, step: float, most: float) -> tuple[float, float | None]:
    """The last good rate and the first bad one above it; None for that if `most` is good."""
    while low < most:
        high = min(low * step, most)
        if not good(high):
            return low, high
        low, step = high, min(step * step, _STEP_MOST)
    return low, None


def _down(good: Good, high: float, step: float, least: float) -> tuple[float | None, float]:
    """The first good rate and the last bad one above it; None for the first if `least` is bad."""
    while high > least:
        low = max(high / step, least)
        if good(low):
            return low, high
        high, step = low, min(step * step, _STEP_MOST)
    return None, high
