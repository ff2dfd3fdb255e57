"""What readers are told who have to go, or come too late. What comes of it over two processes is in `test_hub_shared.py`."""

from __future__ import annotations

import msgspec
import pytest

from transports import Code, Options, Refusal
from transports.feed import Feed
from transports.items import Bye
from transports.log import Log
from transports.parting import Parting
from transports.subscriptions import Selection, Subscription


def reading(readers: int) -> Feed:
    """A feed that so many share."""
    feed = Feed(Log("k3f9"), Subscription(("news",)), Selection(("news",)), None, limit=1000, leave=lambda feed: None)
    feed.readers = readers
    return feed


def last_word(feed: Feed) -> Bye:
    batch = feed.last()
    assert batch is not None
    return msgspec.json.decode(batch.items[-1].json, type=Bye)


async def test_at_the_end_whoever_comes_is_spread_as_widely_as_those_who_were_here() -> None:
    parting = Parting(Options(reconnects=100), [feed := reading(10_000)], lambda code: None)
    parting.check()
    parting.finish(Code.DRAINING)
    assert last_word(feed).code == 4503
    told = []
    for _ in range(50):
        with pytest.raises(Refusal, match="4503") as refused:
            parting.check()
        told.append(refused.value.retry)
    assert max(told) > 5.0  # of 100 seconds: by chance one time in 10**67 they are all below
    assert max(told) <= 100.5


async def test_in_another_life_nothing_is_left_of_the_end_before() -> None:
    parting = Parting(Options(reconnects=100), [reading(10_000)], lambda code: None)
    parting.finish(Code.DRAINING)
    parting.begin_anew()
    parting.check()
    assert (parting.begun, parting.refusal) == (False, None)
    assert all(parting.spread(Code.INTERNAL).retry <= 1.5 for _ in range(50))
    parting.finish_like(feed := reading(1), Refusal(Code.FORBIDDEN, "not for you any more"))
    assert last_word(feed).reason == "not for you any more"
