"""A connection that has gone without a word: noticed within two beats even where nothing but beats comes, and nothing is lost."""

from __future__ import annotations

import pytest

from tests.transports.conftest import live
from transports import LADDER, Transport
from transports.client import connect
from transports.networks import Network
from transports.testing import until

pytestmark = pytest.mark.real

BEAT = 8.0  # seconds


@pytest.mark.parametrize("transport", LADDER, ids=lambda transport: transport.name)
async def test_it_is_noticed_within_two_beats(transport: Transport) -> None:
    async with live(LADDER, beat=BEAT, poll_wait=BEAT) as (hub, upstream):
        network = Network(upstream=upstream)
        async with network as url, connect(url, ["a"], transport=transport.name, memory={}) as stream:
            await until(lambda: stream.state == "open")
            await hub.publish("a", 0)
            assert (await anext(stream)).data == 0
            made = network.record.connections
            network.cut("forget")
            await hub.publish("a", 1)  # into the void
            await until(lambda: network.record.connections > made, timeout=2 * BEAT)
            await hub.publish("a", 2)
            assert [(await anext(stream)).data for _ in range(2)] == [1, 2]
