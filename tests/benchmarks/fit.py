"""Fit: how a cost grows with a size: the exponent of a power law, by least squares over logarithms. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Power(NamedTuple):
    """cost = factor * size ** exponent.

    `spread` says how good that is: the largest factor by which a point lies off the line. A coefficient of determination
    would call a flat line bad, however close to it all points are.
    """

    exponent: float
    factor: float
    spread: float


def power_law(points: Sequence[tuple[float, float]]) -> Power:
    """The power law nearest to `points`, pairs of a size and a cost, all above 0.

    Raises:
        ValueError: fewer than two different sizes.
    """
    logs = [(math.log(size), math.log(cost)) for size, cost in points]
    if len({x for x, _ in logs}) < 2:
        raise ValueError("a power law needs two different sizes at the least")
    mean_x = sum(x for x, _ in logs) / len(logs)
    mean_y = sum(y for _, y in logs) / len(logs)
    exponent = sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)
    level = mean_y - exponent * mean_x
    return Power(exponent, math.exp(level), math.exp(max(abs(y - level - exponent * x) for x, y in logs)))
