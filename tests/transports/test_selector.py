"""What a subscription comes to, against a look at each channel with each name. What readers see of it: `test_patterns.py`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports import Code, Options, Refusal
from transports.items import encode_event
from transports.limits import Limits
from transports.log import Log
from transports.names import Names
from transports.selector import Selector
from transports.subscriptions import EVERY, LATEST, Policy, Selection, Subscription, is_pattern, matches

CHANNELS = ["a", "ab", "abc", "b", "ba", "secret", "presence:a", "presence:b"]
ALLOWED = ["a*", "b", "ba"]  # others publish to other channels, too
NAMES = ["a", "ab", "b", "presence:a", "*", "a*", "ab*", "b*", "presence:*", "presence:a*"]
POLICIES = st.sampled_from([EVERY, LATEST, Policy("lag", 3)])


class Place:
    """The channels that there are, who may read which, and a selector of them."""

    def __init__(self, allowed: Sequence[str] = ALLOWED, **settings: int) -> None:
        self.options = Options(channels=tuple(allowed), **settings)
        self.limits = Limits(self.options)
        self.log = Log("e")
        self.rights: set[tuple[Hashable, str]] | None = None  # None: everybody may read everything
        self.asked_about: list[tuple[Hashable, str]] = []
        self.names = Names(allowed)
        self.selector = Selector(self, self.names)
        self.log.appeared = lambda channel: self.selector.forget()

    @property
    def asks(self) -> bool:
        return self.rights is not None

    def may(self, who: Hashable, action: str, channel: str) -> bool:
        assert action == "subscribe"
        self.asked_about.append((who, channel))
        return self.rights is None or (who, channel) in self.rights

    def come_up(self, *channels: str) -> None:
        for channel in channels:
            self.log.append(encode_event("e", self.log.head + 1, channel, 0.0, b"1", None))

    def naive(self, asked: Subscription) -> Selection | Code:
        """What `asked` comes to, or why it is refused."""
        rights, who = self.rights, asked.who
        named = [name for name in asked.names if not is_pattern(name)]
        patterns = [name for name in asked.names if is_pattern(name)]
        if rights is not None and not {(who, name) for name in named} <= rights:
            return Code.FORBIDDEN
        found = [each for each in self.log.names if each in self.names and (rights is None or (who, each) in rights)]
        found = [each for each in found if each not in named and any(matches(pattern, each) for pattern in patterns)]
        if len(found) > self.options.matches_per_reader:
            return Code.TOO_LARGE
        by = [*named, *(max((one for one in patterns if matches(one, each)), key=len) for each in found)]
        policies = [dict(asked.policies).get(each, EVERY) for each in by] if asked.policies else []
        return Selection((*named, *found), tuple(patterns), tuple(policies))


def outcome(place: Place, asked: Subscription, had: Sequence[str] = ()) -> Selection | Code:
    try:
        return place.selector.select(asked, had)
    except Refusal as refusal:
        return refusal.code


@st.composite
def askings(draw: st.DrawFn) -> tuple[list[str], dict[str, Policy]]:
    """Names, and policies of some of them."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5))
    return names, draw(st.dictionaries(st.sampled_from(names), POLICIES))


WHO = ["u", None]
EVERYTHING = {(who, channel) for who in WHO for channel in CHANNELS}
RIGHTS = st.sets(st.sampled_from(sorted(EVERYTHING, key=str)), max_size=6).map(lambda denied: EVERYTHING - denied)


@given(
    asking=st.lists(askings(), min_size=1, max_size=3),
    steps=st.lists(st.one_of(st.sampled_from(CHANNELS), st.sampled_from(CHANNELS), st.none(), RIGHTS), max_size=12),
    most=st.integers(1, 6),
)
def test_whatever_came_up_and_was_asked_before_it_is_what_each_name_and_each_channel_say(
    asking: list[tuple[list[str], dict[str, Policy]]], steps: list[str | set[tuple[Hashable, str]] | None], most: int
) -> None:
    place = Place(matches_per_reader=most)
    for step in steps:
        if isinstance(step, str):
            place.come_up(step)
        else:
            place.rights = step
        for (names, policies), who in product(asking, WHO):
            asked = place.selector.asked(names, policies, who)
            wanted = tuple((name, policies[name]) for name in asked.names if policies.get(name, EVERY) != EVERY)
            assert asked == Subscription(tuple(dict.fromkeys(names)), wanted, who)
            assert outcome(place, asked) == place.naive(asked)


def test_a_name_that_was_had_is_not_asked_about_again_and_what_patterns_match_is() -> None:
    place = Place()
    place.come_up("a", "ab", "b")
    place.rights = {("u", "ab")}
    asked = place.selector.asked(["a", "b", "ab*"], {}, "u")
    assert outcome(place, asked, ["a"]) == Code.FORBIDDEN, "b is new"
    place.asked_about.clear()
    assert outcome(place, asked, ["a", "b"]) == Selection(("a", "b", "ab"), ("ab*",))
    assert place.asked_about == [("u", "ab")]


def test_nobody_is_asked_about_where_everybody_may_read_everything() -> None:
    place = Place()
    place.come_up("a", "ab")
    assert outcome(place, place.selector.asked(["b", "*"], {}, "u")) == Selection(("b", "a", "ab"), ("*",))
    assert place.asked_about == []


def test_whoever_else_is_to_say_is_asked_about_what_is_matched_alone_and_may_not_know() -> None:
    place = Place()
    place.come_up("a", "ab", "b")
    asked = place.selector.asked(["b", "*"], {}, "u")
    about: list[tuple[Hashable, str]] = []

    def may(who: Hashable, channel: str) -> bool:
        about.append((who, channel))
        return channel == "ab"

    assert place.selector.allowed(asked, may) == Selection(("b", "ab"), ("*",))
    assert about == [("u", "a"), ("u", "ab")]

    def unknown(who: Hashable, channel: str) -> bool:
        raise Refusal(Code.INTERNAL, "authorize failed")

    with pytest.raises(Refusal, match="4500"):
        place.selector.allowed(asked, unknown)
    assert place.selector.allowed(place.selector.asked(["a", "b"], {}, "u"), unknown) == Selection(("a", "b"))


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["nobody"], Code.UNKNOWN_CHANNEL),
        (["a", "c*"], Code.UNKNOWN_CHANNEL),
        (["a", "b", "ab", "ba"], Code.BAD_COMMAND),
        (["a", "a b"], Code.UNKNOWN_CHANNEL),
    ],
)
def test_what_is_refused_is_refused_again(names: list[str], code: Code) -> None:
    place = Place(channels_per_reader=3)
    assert place.selector.asked(["a", "b", "a", "ab", "b"], {}, None).names == ("a", "b", "ab"), "each counts once"
    for _ in range(2):
        with pytest.raises(Refusal) as refused:
            place.selector.asked(names, {}, None)
        assert refused.value.code == code
    assert place.limits.refused == ({"channels_per_reader": 2} if code == Code.BAD_COMMAND else {})


def test_too_much_is_counted_under_its_setting_and_says_how_much() -> None:
    place = Place(matches_per_reader=2)
    place.come_up("a", "ab", "abc")
    with pytest.raises(Refusal, match=r"4413.*a\* matches 3 channels, a reader may follow 2") as refused:
        place.selector.select(place.selector.asked(["a*"], {}, None))
    assert refused.value.retry is None
    assert place.limits.refused == {"matches_per_reader": 1}
    assert place.selector.select(place.selector.asked(["a", "a*"], {}, None)).channels == ("a", "ab", "abc"), "one has a name"


def test_what_clients_make_up_is_remembered_up_to_a_bound_and_forgotten_without_harm() -> None:
    place = Place(["*"])
    place.come_up("a", "ab")
    for number in range(10_000):
        asked = place.selector.asked([f"n{number}", "a*"], {}, None)
        assert place.selector.select(asked) == Selection((f"n{number}", "a", "ab"), ("a*",))
    place.selector.select(place.selector.asked([*(f"m{number}" for number in range(50)), "a*"], {}, None))
    assert len(place.selector._known) <= 4096
    assert len(place.selector._selections) <= 256
    assert max(map(len, place.selector._known)) <= 8
