from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transports import Code, Refusal
from transports.feed import Feed
from transports.items import Event, Lost, Skipped, decode_item, encode_event
from transports.log import Log
from transports.position import Position, parse
from transports.subscriptions import (
    EVERY,
    LATEST,
    Patterns,
    Policy,
    Selection,
    check_pattern,
    chosen,
    grow,
    matched,
    matches,
    policies_of,
    read_lag,
    select,
    subscription,
    write_lag,
)


@pytest.mark.parametrize(
    ("pattern", "channel", "does"),
    [
        ("*", "a", True),
        ("a*", "a", True),
        ("a*", "ab", True),
        ("ab*", "a", False),
        ("orders.*", "orders.eu", True),
        ("orders.*", "orders", False),
        ("*", "presence:a", False),
        ("p*", "presence:a", False),
        ("presence*", "presence:a", False),
        ("presence*", "presences", True),
        ("presence:*", "presence:a", True),
        ("presence:a*", "presence:a", True),
    ],
)
def test_a_pattern_takes_in_what_begins_like_it_and_presence_only_where_it_says_so(
    pattern: str, channel: str, does: bool
) -> None:
    assert matches(pattern, channel) is does
    patterns: Patterns[str] = Patterns()
    patterns.add([pattern], "reader")
    assert list(patterns.matching(channel)) == ["reader"] * does
    patterns.remove([pattern], "reader")
    assert list(patterns.matching(channel)) == []


@pytest.mark.parametrize("text", ["**", "a*b*", "*a", ".a*", "$*", "$a*", "a b*", "a" * 128 + "*", "ä*", "a,*", ""])
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_pattern(text)
    assert refused.value.code == Code.UNKNOWN_CHANNEL


@pytest.mark.parametrize("text", ["*", "a*", "orders.*", "presence:*", "a" * 127 + "*"])
def test_what_is_one_is_taken(text: str) -> None:
    check_pattern(text)


def test_a_lag_travels_there_and_back() -> None:
    lag = {"orders.*": 100, "presence:a": 1}
    assert read_lag(write_lag(lag)) == lag
    assert read_lag("") == {}


@pytest.mark.parametrize("text", ["a", "a:", ":5", "a:x", "a:-1", "a:1.5", "a:٣", "a:1,a:2", "a:12345678901"])
def test_a_lag_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        read_lag(text)
    assert refused.value.code == Code.BAD_COMMAND


@pytest.mark.parametrize(
    ("latest", "lag"), [(["a"], {"a": 1}), ([], {"a": 0}), ([], {"a": 1_000_001}), (["b"], {}), ([], {"b": 1})]
)
def test_a_policy_that_makes_no_sense_is_refused(latest: list[str], lag: dict[str, int]) -> None:
    with pytest.raises(Refusal) as refused:
        subscription(["a"], policies_of(latest, lag))
    assert refused.value.code == Code.BAD_COMMAND


def test_a_name_has_its_own_policy_and_a_match_that_of_the_longest_pattern() -> None:
    asked = subscription(["a.1", "a.*", "a.b.*", "c"], policies_of(["a.b.*"], {"a.*": 5}))
    found = select(asked, ["c", "a.1", "a.2", "a.b.1", "d"])
    assert found == Selection(("a.1", "c", "a.2", "a.b.1"), ("a.*", "a.b.*"), (EVERY, EVERY, Policy("lag", 5), LATEST))
    assert matched(asked, found) == 2


@given(st.lists(st.sampled_from(["a", "ab", "abc", "b", "ba", "presence:a"]), unique=True), st.data())
def test_channels_that_come_up_one_by_one_come_to_the_same_as_all_at_once(channels: list[str], data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(["*", "a*", "ab*", "ab", "b", "presence:*"]), unique=True))
    latest = data.draw(st.sets(st.sampled_from(names))) if names else set()
    asked = subscription(names, policies_of(sorted(latest)))
    found = select(asked, ())
    for channel in channels:
        if channel not in names and any(matches(each, channel) for each in found.patterns):
            found = grow(asked, found, channel)
    assert found == select(asked, channels)


@given(st.data())
def test_of_many_channels_those_that_a_pattern_takes_in_are_found_and_have_the_policy_of_the_longest(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(["*", "a*", "ab*", "pre*", "presence:*", "presence:a*", "ab"]), unique=True))
    channels = data.draw(st.lists(st.sampled_from(["a", "ab", "abc", "b", "pre", "presence:a", "presence:b"]), unique=True))
    lag = {name: number for number, name in enumerate(names, 1) if data.draw(st.booleans())}
    found = select(asked := subscription(names, policies_of([], lag)), channels)
    wanted = [each for each in names if not each.endswith("*")]
    wanted += [each for each in channels if each not in names and any(matches(pattern, each) for pattern in found.patterns)]
    assert [*found.channels] == wanted
    for channel, policy in zip(found.channels, found.policies or [EVERY] * len(wanted), strict=True):
        by = channel if channel in names else max((each for each in found.patterns if matches(each, channel)), key=len)
        assert policy == dict(asked.policies).get(by, EVERY)


@pytest.mark.alone
def test_a_hundred_patterns_meet_ten_thousand_channels_within_a_moment() -> None:
    channels = [f"orders.{number:05}.abcdefgh" for number in range(10_000)]
    names = [*[f"orders.00000.abcdefgz{number}*" for number in range(99)], "o*"]
    asked = subscription(names, policies_of(names))
    begin = time.process_time()
    assert matched(asked, select(asked, channels)) == len(channels)
    assert time.process_time() - begin < 0.2  # one pattern and one channel after the other: 0.8 s


def test_the_latest_is_the_newest_of_each_and_of_those_about_nothing() -> None:
    events = [encode_event("e", n, "a", 0.0, b"1", about) for n, about in enumerate(["x", None, "y", "x", None], 1)]
    assert [event.offset for event in chosen(LATEST, events)] == [3, 4, 5]
    assert [event.offset for event in chosen(Policy("lag", 2), events)] == [4, 5]
    assert chosen(EVERY, events) is events


# --- what a reader is told, against the list of all that was ever published

ABOUTS = [None, "x", "y", "z"]
Step = tuple[str, str | None] | None  # a publish, or a look by the reader


class Model:
    """What was published, what is still kept, and what was let go while nothing newer was about the same."""

    def __init__(self, count: int) -> None:
        self.log = Log("e", count=count)
        self.published: list[tuple[int, str, str | None]] = []
        self.bare: set[int] = set()
        self.kept: set[int] = set()

    def publish(self, channel: str, about: str | None) -> None:
        offset = len(self.published) + 1
        self.published.append((offset, channel, about))
        self.log.append(encode_event("e", offset, channel, 0.0, b"1", about))
        self.settle()

    def lose(self, through: int) -> None:
        """All that is kept through `through` goes, as if it had become too old."""
        for ring in self.log._rings.values():
            if number := sum(event.offset <= through for event in ring.events[ring.start :]):
                ring.let_go(number)
        self.log._forget()
        self.settle()

    def settle(self) -> None:
        now = {event.offset for ring in self.log._rings.values() for event in ring.events[ring.start :]}
        for offset, channel, about in self.published:
            if offset in self.kept and offset not in now and not self.newer(offset, channel, about, now | self.kept):
                self.bare.add(offset)
        self.kept = now

    def newer(self, offset: int, channel: str, about: str | None, among: set[int]) -> bool:
        return any(o > offset and c == channel and a == about and o in among for o, c, a in self.published)


POLICIES = st.one_of(st.just(EVERY), st.just(LATEST), st.integers(1, 4).map(lambda most: Policy("lag", most)))


@settings(deadline=None)
@given(
    steps=st.lists(
        st.one_of(st.none(), st.integers(1, 6), st.tuples(st.sampled_from("abc"), st.sampled_from(ABOUTS))), max_size=60
    ),
    count=st.integers(1, 5),
    limit=st.integers(1, 500),
    policies=st.fixed_dictionaries({"a": POLICIES, "b*": POLICIES}),
    late=st.booleans(),
)
@example(  # what was left out ends behind what comes next
    steps=[("a", "x"), ("b", None), ("a", "x"), ("a", "x")], count=1, limit=1, policies={"a": LATEST, "b*": EVERY}, late=True
)
def test_every_event_is_delivered_or_skipped_or_lost_and_each_word_is_honest(
    steps: list[Step | int], count: int, limit: int, policies: dict[str, Policy], late: bool
) -> None:
    model = Model(count)
    asked = subscription(["a", "b*"], policies)
    feed = Feed(model.log, asked, select(asked, ("b",)), Position("e", 0), limit=limit, leave=lambda _: None)
    delivered: list[int] = []
    lost: set[tuple[str, int]] = set()
    left: set[tuple[str, int]] = set()
    of = {"a": policies["a"], "b": policies["b*"]}

    def look() -> bool:
        before, known = feed.offset, set(lost)
        batch = feed.ready()
        for item in [decode_item(each.json) for each in batch.items] if batch else []:
            match item:
                case Event():
                    delivered.append(parse(item.id).offset)
                case Lost():
                    inside = {(item.channel, o) for o, c, _ in model.published if c == item.channel and item_covers(item, o)}
                    gone = {o for _, o in inside}
                    assert gone
                    assert not gone & model.kept
                    assert not inside & lost, "told once"
                    if of[item.channel] == LATEST:
                        assert gone & model.bare
                    lost.update(inside)
                case Skipped():
                    assert item.id == f"e.{before}"
                    assert item.reason == of[item.channel].name
                    inside = {(item.channel, o) for o, c, _ in model.published if c == item.channel and item_covers(item, o)}
                    out = {each for each in inside - lost if each[1] not in wanted(before, feed.offset, each[0])}
                    assert not out & left, "counted once"
                    assert item.count == len(out) or item.count is None
                    assert (item.count is None) == any(o not in model.kept for _, o in out)
                    assert out
                    left.update(out)
        got = {o for o in delivered if o > before}
        assert got == wanted(before, feed.offset, "a") | wanted(before, feed.offset, "b")
        for o, c, _ in model.published:
            if c != "c" and before < o <= feed.offset and o in model.bare and of[c] in (LATEST, EVERY):
                assert (c, o) in lost
        assert known <= lost
        return batch is not None

    def wanted(before: int, upto: int, channel: str) -> set[int]:
        events = [encode_event("e", o, c, 0.0, b"1", a) for o, c, a in model.published if c == channel and o in model.kept]
        return {event.offset for event in chosen(of[channel], [e for e in events if e.offset > before]) if event.offset <= upto}

    for step in steps:
        if step is None:
            if not late:
                look()
        elif isinstance(step, int):
            model.lose(len(model.published) - step)
        else:
            model.publish(*step)
    while look():
        pass
    assert delivered == sorted(set(delivered))
    for offset, channel, about in model.published:
        if channel == "c":
            continue
        told = [offset in delivered, (channel, offset) in left, (channel, offset) in lost]
        assert sum(told) == 1, (offset, channel, about, told)
        if of[channel] == LATEST and not model.newer(offset, channel, about, {o for o, _, _ in model.published}):
            assert not told[1], "the newest is never skipped"


def item_covers(item: Lost | Skipped, offset: int) -> bool:
    return parse(item.after).offset < offset <= parse(item.through).offset
