"""Who is rung for which channel, and when. What readers see of it is in `test_hub.py` and `test_patterns.py`."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.jumping import JumpingLoop, jumping
from transports.bells import Bells
from transports.feed import Feed
from transports.log import Log
from transports.subscriptions import Selection, is_pattern, matches, subscription

CHANNELS = ["a", "ab", "b", "presence:a"]
NAMES = [*CHANNELS, "*", "a*", "presence:*"]


def choice(*names: str) -> Selection:
    """What comes of `names` where there are no channels yet."""
    return Selection(tuple(name for name in names if not is_pattern(name)), tuple(name for name in names if is_pattern(name)))


class Row:
    """Readers, and how often each was rung."""

    def __init__(self, *selections: Selection) -> None:
        self.rung: Counter[int] = Counter()
        self.feeds = [self._feed(number, selection) for number, selection in enumerate(selections)]

    def _feed(self, number: int, selection: Selection) -> Feed:
        feed = Feed(Log("e"), subscription((), {}), selection, None, limit=1000, leave=lambda feed: None)
        feed.bell = lambda: self.rung.update([number])
        return feed

    def take(self) -> dict[int, int]:
        """Who was rung since this was last asked, and how often."""
        rung, self.rung = dict(self.rung), Counter()
        return rung


STEPS = st.one_of(
    st.tuples(st.sampled_from(["hang", "turn"]), st.integers(0, 2), st.lists(st.sampled_from(NAMES), unique=True)),
    st.tuples(st.just("widen"), st.integers(0, 2), st.sampled_from(CHANNELS).map(lambda name: [name])),
    st.tuples(st.just("unhang"), st.integers(0, 2), st.just([])),
)


@given(st.lists(STEPS, max_size=20))
def test_whoever_follows_a_channel_by_then_is_rung_for_it_once_and_nobody_else(
    steps: list[tuple[str, int, list[str]]],
) -> None:
    bells, row = Bells(0), Row(choice(), choice(), choice())
    following: dict[int, Selection] = {}
    for what, number, names in steps:
        feed = row.feeds[number]
        if what == "hang" and number not in following:
            feed.selection = following[number] = choice(*names)
            bells.hang(feed)
        elif what == "turn" and number in following:
            following[number] = choice(*names)
            bells.turn(feed, following[number])
        elif what == "widen" and number in following and names[0] not in following[number].channels:
            channels, patterns, _ = following[number]
            following[number] = Selection((*channels, names[0]), patterns)
            bells.widen(feed, following[number], names[0])
        elif what == "unhang":
            following.pop(number, None)
            bells.unhang(feed)
        for channel in CHANNELS:
            bells.ring(channel)
            assert row.take() == {each: 1 for each, chosen in following.items() if channel in chosen.channels}
            by_pattern = [row.feeds.index(found) for found in bells.matching(channel)]
            taken_in = [each for each, found in following.items() if any(matches(one, channel) for one in found.patterns)]
            assert sorted(by_pattern) == sorted(taken_in)
        assert all(row.feeds[each].selection == chosen for each, chosen in following.items())
        assert len(bells) == len({channel for chosen in following.values() for channel in chosen.channels})


def test_without_a_window_each_event_rings_at_once() -> None:
    bells, row = Bells(0), Row(choice("a"), choice("b"))
    for feed in row.feeds:
        bells.hang(feed)
    for channel in "aabc":
        bells.ring_or_collect(channel)
    assert row.take() == {0: 2, 1: 1}


@given(st.lists(st.tuples(st.integers(0, 7), st.sampled_from("abc")), max_size=20), st.integers(1, 5))
def test_events_are_told_as_early_as_may_be_with_a_window_between_two_tellings(
    events: list[tuple[int, str]], window: int
) -> None:
    """All times are whole seconds: what comes as a window ends comes behind what was collected in it."""

    async def told() -> list[tuple[float, dict[int, int]]]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpingLoop)
        bells, row, found, began = Bells(window), Row(*FOLLOWED), [], loop.now
        for feed in row.feeds:
            bells.hang(feed)

        def note() -> None:
            if rung := row.take():
                found.append((loop.now - began, rung))

        for pause, channel in [*events, (window, "nobody's")]:
            for _ in range(pause):
                loop.now += 1
                await asyncio.sleep(0)
                await asyncio.sleep(0)  # what is due by then is done
                note()
            bells.ring_or_collect(channel)
            note()
        bells.stop()
        return found

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        found = runner.run(told())
    tellings: list[tuple[int, set[str]]] = []
    now = 0
    for pause, channel in events:
        now += pause
        if tellings and now < tellings[-1][0]:
            tellings[-1][1].add(channel)
        else:
            tellings.append((max(now, tellings[-1][0] + window) if tellings else now, {channel}))
    expected = [(at, {n: 1 for n, each in enumerate(FOLLOWED) if channels & {*each.channels}}) for at, channels in tellings]
    assert found == [(at, rung) for at, rung in expected if rung]


FOLLOWED = [choice("a"), choice("a", "b"), choice("b")]  # and nobody follows c


@jumping
async def test_who_left_while_events_were_collected_is_not_rung_and_who_came_is() -> None:
    bells, row = Bells(1.0), Row(choice("a"), choice("a"))
    bells.hang(row.feeds[0])
    bells.ring_or_collect("a")
    assert row.take() == {0: 1}
    bells.ring_or_collect("a")
    bells.unhang(row.feeds[0])
    bells.hang(row.feeds[1])
    await asyncio.sleep(1.5)
    assert row.take() == {1: 1}


@pytest.mark.parametrize("back", [0.0, 100.0])
def test_another_life_knows_nothing_of_a_window_whatever_the_clock_of_its_loop_says(back: float) -> None:
    bells, row = Bells(1.0), Row(choice("a"), choice("b"))
    for feed in row.feeds:
        bells.hang(feed)

    @jumping
    async def life(earlier: float) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpingLoop)
        loop.now -= earlier
        bells.ring_or_collect("a")
        assert row.take() == {0: 1}, "at once"
        bells.ring_or_collect("a")
        await asyncio.sleep(1.5)
        assert row.take() == {0: 1}, "of b there is nothing to tell"
        bells.ring_or_collect("b")
        bells.stop()
        await asyncio.sleep(1.5)
        assert row.take() == {}

    life(0.0)
    life(back)
