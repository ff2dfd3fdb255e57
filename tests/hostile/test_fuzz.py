"""A share of what `fuzz.py` does, on each edge and over each transport."""

from __future__ import annotations

import os
import random
from contextlib import suppress

import pytest

from transports import Refusal
from transports.commands import parse
from transports.frames import FrameError, Frames
from transports.front.requests import RequestError, Requests

from . import mutations, wires
from .fuzz import fuzz
from .target import EDGES

SHARE = int(os.environ.get("EVERYWIRE_FUZZ", "1000"))  # for each edge and transport


@pytest.mark.alone
@pytest.mark.parametrize("way", wires.WAYS)
@pytest.mark.parametrize("edge", EDGES)
async def test_whatever_is_said_nothing_breaks_nothing_stays_and_nobody_notices(edge: str, way: str) -> None:
    came = await fuzz(edge, way, SHARE, seed=8)
    assert came.after.rss - came.warm.rss < 24 << 20  # caches fill up, as far as they may


@pytest.mark.parametrize("way", wires.WAYS)
def test_what_reads_it_knows_only_its_own_errors(way: str) -> None:
    """The same, without a socket: thousands of them in a second."""
    luck = random.Random(way)
    for make in mutations.of(way):
        for _ in range(400):
            sent = make(luck)
            for read in (lambda data: Requests().feed(data), lambda data: Frames(1000).feed(data), parse):
                with suppress(RequestError, FrameError, Refusal):
                    read(sent)
