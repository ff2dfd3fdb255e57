"""A share of what `churn.py` does: readers come and go, half of them without a word, and nothing stays."""

from __future__ import annotations

import pytest

from . import wires
from .churn import churn, soak
from .target import EDGES

CYCLES = 300


@pytest.mark.parametrize("way", wires.WAYS)
@pytest.mark.parametrize("edge", EDGES)
async def test_behind_readers_that_came_and_went_is_nothing(edge: str, way: str) -> None:
    _, warm, after = await churn(edge, way, CYCLES)
    assert after.rss - warm.rss < 16 << 20
    assert after.members == 0


@pytest.mark.parametrize("edge", EDGES)
async def test_in_all_the_coming_and_going_those_who_stay_get_everything(edge: str) -> None:
    seen = await soak(edge, minutes=0.05)
    assert seen[-1].readers == 0
