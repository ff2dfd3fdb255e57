"""Readers who have read more elsewhere than has come here. What comes of it over two hubs is in `test_hub_shared.py`."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.jumping import jumping
from transports import Code, Position, Refusal
from transports.ahead import Ahead
from transports.feed import Feed
from transports.log import Log
from transports.subscriptions import Selection, subscription

BUSY = Refusal(Code.BROKER_DOWN, "away", retry=7.0)


class Place:
    """What has come here of a broker's events, and how far the broker is, which it tells when it is let."""

    def __init__(self, came: int, there: int = 0) -> None:
        self.log = Log("e")
        self.log.pass_over(came)
        self.there: Position | Refusal = Position("e", there)
        self.asked = 0
        self.answering = asyncio.Event()
        self.answering.set()
        self.ahead = Ahead(self)
        self.rung: Counter[int] = Counter()  # by where a reader came

    async def head(self) -> Position:
        self.asked += 1
        there = self.there
        await self.answering.wait()
        if isinstance(there, Refusal):
            raise there
        return there

    def feed(self, offset: int) -> Feed:
        """A reader who has read through `offset`."""
        asked, since = subscription(("a",), {}), Position("e", offset)
        feed = Feed(self.log, asked, Selection(("a",)), since, limit=1000, leave=lambda feed: None, patient=True)
        feed.bell = lambda: self.rung.update([offset])
        self.ahead.wait_for(feed)
        return feed

    def come(self, offset: int) -> None:
        """Everything through `offset` has come."""
        self.log.pass_over(offset)
        self.ahead.catch_up()

    def take(self) -> dict[int, int]:
        """Who was rung since this was last asked, and how often."""
        rung, self.rung = dict(self.rung), Counter()
        return rung


async def a_while() -> None:
    """Whatever can happen now has happened."""
    for _ in range(5):
        await asyncio.sleep(0)


@given(st.integers(0, 5), st.integers(0, 5), st.sets(st.integers(0, 12)))
def test_each_is_rung_once_when_its_place_has_come_or_is_known_to_be_none(came: int, more: int, places: set[int]) -> None:
    there = came + more

    @jumping
    async def wait() -> None:
        place = Place(came, there)
        feeds = {offset: place.feed(offset) for offset in sorted(places)}
        assert place.take() == {}
        await a_while()
        assert place.asked == (max(places, default=0) > came)
        assert place.take() == {offset: 1 for offset in places if offset > there}
        for offset, feed in feeds.items():
            assert (feed.resumed, feed.offset) == (("lost", came) if offset > there else ("exact", offset))
        for now in range(came + 1, there + 1):
            place.come(now)
            assert place.take() == ({now: 1} if now in places else {})
        place.come(20)
        await a_while()
        assert place.take() == {}

    wait()


@jumping
async def test_who_comes_while_the_broker_is_asked_is_asked_about_anew_as_it_may_have_read_more_by_then() -> None:
    place = Place(came=1, there=5)
    place.answering.clear()
    place.feed(5)
    await a_while()
    place.there = Position("e", 6)
    second, third = place.feed(6), place.feed(7)
    place.answering.set()
    await a_while()
    assert place.asked == 2
    assert place.take() == {7: 1}
    assert (second.resumed, third.resumed) == ("exact", "lost")


@jumping
async def test_who_is_placed_anew_while_the_broker_is_asked_is_asked_about_anew() -> None:
    place = Place(came=1, there=5)
    place.answering.clear()
    feed = place.feed(5)
    await a_while()
    place.there = Position("e", 6)
    feed.move(Position("e", 6), patient=True)
    place.ahead.wait_for(feed)
    place.answering.set()
    await a_while()
    assert (place.asked, place.take(), feed.resumed) == (2, {}, "exact")


@jumping
async def test_who_has_left_is_not_rung_whatever_comes() -> None:
    place = Place(came=1, there=3)
    place.answering.clear()
    feeds = [place.feed(2), place.feed(9)]
    await a_while()
    for feed in feeds:
        place.ahead.leave(feed)
    place.answering.set()
    await a_while()
    place.come(9)
    assert place.take() == {}


@jumping
async def test_a_broker_that_is_away_is_asked_again_when_it_says() -> None:
    place = Place(came=1)
    place.there = BUSY
    place.feed(9)
    await asyncio.sleep(6.9)
    assert (place.asked, place.take()) == (1, {})
    place.there = Position("e", 5)
    await asyncio.sleep(0.2)
    assert (place.asked, place.take()) == (2, {9: 1})


@jumping
async def test_of_another_life_of_the_log_everybody_will_be_told() -> None:
    place = Place(came=1)
    place.there = Position("other", 5)
    feed = place.feed(9)
    await a_while()
    assert (place.asked, place.take(), feed.resumed) == (1, {}, "exact")
    place.log.restart("other")
    feed.move(Position("e", 9))
    place.ahead.catch_up()
    assert (place.take(), feed.resumed) == ({9: 1}, "lost")


@jumping
async def test_who_comes_behind_an_answer_is_asked_about_and_nobody_once_it_is_stopped() -> None:
    place = Place(came=1, there=5)
    place.feed(4)
    await a_while()
    place.feed(7)
    await a_while()
    assert (place.asked, place.take()) == (2, {7: 1})
    place.answering.clear()
    place.feed(8)
    await a_while()
    place.ahead.stop()
    place.answering.set()
    await a_while()
    assert (place.asked, place.take()) == (3, {})


@jumping
async def test_another_life_asks_anew_though_the_first_was_stopped_before_it_began_to() -> None:
    place = Place(came=1, there=5)
    place.feed(9)
    place.ahead.stop()  # before the loop has turned
    await a_while()
    assert (place.asked, place.take()) == (0, {})
    place.feed(7)
    await a_while()
    assert (place.asked, place.take()) == (1, {7: 1})
