"""Limits: never more than is allowed, and never less."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports import Code, Options, Refusal
from transports.limits import Limits, Rate, Said

BURST = 10.0


def limits(**settings: object) -> Limits:
    return Limits(Options(**{"burst_seconds": BURST, **settings}))


# ------------------------------------------------------------------------------------------------------------ the bucket

STEPS = st.lists(st.tuples(st.floats(0, 5), st.integers(1, 40)), max_size=60)


@given(STEPS, st.sampled_from([0.5, 1.0, 7.0, 100.0]), st.sampled_from([1.0, 10.0, 33.0]))
def test_a_bucket_lets_through_what_a_slow_and_obvious_one_does(steps: list[tuple[float, int]], rate: float, most: float) -> None:
    bucket, full_at, now, level = Rate(rate, most), 0.0, 1000.0, most
    for pause, wanted in steps:
        now += pause
        level = min(most, level + pause * rate)
        assert bucket.left(full_at, now) == pytest.approx(level, abs=1e-6)
        if wanted <= level - 1e-6:
            full_at, level = bucket.taken(full_at, now, wanted), level - wanted


@given(STEPS, st.integers(1, 40))
def test_who_waits_as_long_as_it_is_told_gets_it_and_no_sooner(steps: list[tuple[float, int]], wanted: int) -> None:
    bucket, full_at, now = Rate(3.0, 40.0), 0.0, 1000.0
    for pause, number in steps:
        now += pause
        if number <= bucket.left(full_at, now):
            full_at = bucket.taken(full_at, now, number)
    seconds = bucket.wait(full_at, now, wanted)
    assert bucket.left(full_at, now + seconds) >= wanted - 1e-6
    if seconds > 1e-3:
        assert bucket.left(full_at, now + seconds - 1e-3) < wanted


# ------------------------------------------------------------------------------------------------------------- speaking


@given(
    st.lists(st.tuples(st.floats(0, 3), st.integers(0, 2), st.integers(1, 30), st.integers(1, 3000)), max_size=80),
    st.booleans(),
)
def test_in_no_time_is_more_executed_than_each_of_the_limits_allows(
    said: list[tuple[float, int, int, int]], polite: bool
) -> None:
    """Three connections of one person at one address; whatever the window, it holds, and what is free is not refused."""
    settings = {"commands_per_connection": 4.0, "commands_per_who": 6.0, "commands_per_address": 8.0, "message_bytes": 4000}
    bounds = limits(**settings, bytes_per_connection=1000, bytes_per_who=1500, bytes_per_address=2000)
    connections, now = [Said() for _ in range(3)], 0.0
    executed: list[tuple[float, int, int, int]] = []
    for pause, which, commands, size in said:
        now += pause
        if polite:
            now = max(now, connections[which].until)
        try:
            allowed, why = bounds.speak(connections[which], "ann", "10.0.0.7", commands, size, now)
        except Refusal:
            assert not polite, "who waits as it is told is never sent away"
            continue
        assert (allowed == commands) == (why is None)
        if allowed:
            executed.append((now, which, allowed, size))
        if why is not None and polite:
            assert bounds.speak(connections[which], "ann", "10.0.0.7", 1, 1, now + why.retry)[0] == 1
            executed.append((now + why.retry, which, 1, 1))
            now += why.retry
    for whose, rate, size_rate in (("connection", 4, 1000), ("who", 6, 1500)):
        for which in range(3) if whose == "connection" else [None]:
            mine = [each for each in executed if which in (None, each[1])]
            for i, (begin, *_) in enumerate(mine):
                commands = bytes_ = 0
                for at, _, number, size in mine[i:]:
                    commands, bytes_ = commands + number, bytes_ + size
                    assert commands <= rate * (BURST + at - begin) + 1e-3
                    assert bytes_ <= size_rate * (BURST + at - begin) + 1e-3


def test_what_is_within_the_limits_is_never_refused() -> None:
    bounds, said = limits(commands_per_connection=5.0), Said()
    assert bounds.speak(said, None, "a", 50, 100, 0.0) == (50, None)
    for second in range(1, 1000):
        assert bounds.speak(said, None, "a", 5, 100, float(second)) == (5, None)
    assert not bounds.refused


def test_of_one_message_the_first_are_executed_and_none_behind_one_that_is_not() -> None:
    bounds, said = limits(commands_per_connection=1.0), Said()
    allowed, why = bounds.speak(said, None, "a", 14, 100, 0.0)
    assert (allowed, why.code, why.retry) == (10, Code.RATE_LIMITED, 4.0)
    assert bounds.refused == Counter(commands_per_connection=1)


def test_bytes_over_the_limit_hold_all_of_the_message_back_and_cost_nothing() -> None:
    bounds, said = limits(bytes_per_connection=1000, message_bytes=4000), Said()
    assert bounds.speak(said, None, "a", 1, 9000, 0.0) == (1, None)
    assert bounds.speak(said, None, "a", 1, 2000, 0.0)[1].retry == 1.0
    assert bounds.speak(said, None, "a", 1, 1000, 0.0) == (1, None)
    assert bounds.refused == Counter(bytes_per_connection=1)


def test_a_message_as_large_as_messages_may_be_comes_through_however_low_the_limit() -> None:
    bounds, said = limits(bytes_per_connection=1, bytes_per_who=1, bytes_per_address=1), Said()
    assert bounds.speak(said, "ann", "a", 1, 65_536, 0.0) == (1, None)


def test_each_is_bounded_by_itself_and_others_go_on() -> None:
    bounds, one, other = limits(commands_per_connection=1.0, commands_per_who=2.0, commands_per_address=3.0), Said(), Said()
    assert bounds.speak(one, "ann", "a", 100, 1, 0.0)[0] == 10
    assert bounds.speak(other, "ann", "a", 100, 1, 0.0)[0] == 10, "what the first was refused costs others nothing"
    assert bounds.speak(Said(), "ann", "a", 1, 1, 0.0)[0] == 0, "the limit of who"
    assert bounds.speak(Said(), "ann", "b", 1, 1, 0.0)[0] == 0, "wherever from"
    assert bounds.speak(Said(), "bob", "a", 100, 1, 0.0)[0] == 10
    assert bounds.speak(Said(), "cid", "a", 1, 1, 0.0)[0] == 0, "the limit of the address"
    assert bounds.speak(Said(), "cid", "b", 100, 1, 0.0)[0] == 10
    assert set(bounds.refused) == {"commands_per_connection", "commands_per_who", "commands_per_address"}


def test_nobody_in_particular_is_bounded_by_address_only() -> None:
    bounds = limits(commands_per_who=1.0, commands_per_address=3.0)
    assert bounds.speak(None, None, "a", 100, 1, 0.0)[0] == 30
    assert bounds.speak(None, None, "b", 100, 1, 0.0)[0] == 30


def test_who_is_a_little_over_is_not_sent_away() -> None:
    bounds, said = limits(commands_per_connection=10.0), Said()
    for tick in range(2000):  # 19 a second, one by one, where 10 are allowed
        bounds.speak(said, None, "a", 1, 10, tick / 19)
    assert bounds.refused["commands_per_connection"] > 800


def test_who_goes_on_at_many_times_the_rate_is_sent_away() -> None:
    bounds, said, tick = limits(commands_per_connection=10.0), Said(), 0
    with pytest.raises(Refusal, match="4429"):  # noqa: PT012 - at which of them is not the point
        while tick < 2000:
            tick += 1
            bounds.speak(said, None, "b", 1, 10, tick / 1000)
    assert 200 <= tick < 250, "as many again as are allowed, and no more"


def test_who_waits_as_it_is_told_is_not_sent_away_however_often_others_at_its_address_are_faster() -> None:
    bounds, polite, hasty = limits(commands_per_connection=1.0, commands_per_address=10.0), Said(), Said()
    now = 0.0
    for _ in range(100):
        for other in [hasty, *(Said() for _ in range(20))]:
            with suppress(Refusal):
                bounds.speak(other, None, "a", 10, 10, now)
        allowed, why = bounds.speak(polite, None, "a", 5, 10, now)
        assert allowed < 5
        now += why.retry


def test_who_has_been_silent_for_long_takes_no_room() -> None:
    bounds = limits()
    for number in range(20_000):
        bounds.speak(None, f"who{number}", str(number), 1, 10, float(number))
    assert len(bounds._said_by) <= 1024
    assert len(bounds._said_from) <= 1024


# --------------------------------------------------------------------------------------------------------- connections


def test_so_many_connections_and_no_more_and_again_when_one_has_gone() -> None:
    bounds = limits(connections_per_process=5, connections_per_address=3, connections_per_who=2)
    bounds.connect("ann", "a")
    bounds.connect("ann", "b")
    with pytest.raises(Refusal, match=r"4429.*connections_per_who"):
        bounds.connect("ann", "c")
    bounds.connect("bob", "a")
    bounds.connect(None, "a")
    with pytest.raises(Refusal, match=r"4429.*connections_per_address"):
        bounds.connect(None, "a")
    bounds.connect(None, "b")
    with pytest.raises(Refusal, match=r"4429.*connections_per_process"):
        bounds.connect(None, "d")
    bounds.disconnect("ann", "a")
    bounds.connect("ann", "a")
    assert bounds.refused == Counter(connections_per_who=1, connections_per_address=1, connections_per_process=1)


def test_who_has_gone_takes_no_room() -> None:
    bounds = limits()
    for number in range(100):
        bounds.connect(number, str(number))
        bounds.disconnect(number, str(number))
        assert bounds.knock(str(number))
        bounds.hang_up(str(number))
    assert not any((bounds._per_address, bounds._per_who, bounds._sockets, bounds._number, bounds._socket_number))


def test_who_is_somebody_else_now_is_counted_as_such() -> None:
    bounds = limits(connections_per_who=1)
    bounds.connect(None, "a")
    bounds.rename(None, "ann")
    with pytest.raises(Refusal, match="4429"):
        bounds.connect("ann", "a")
    bounds.rename("ann", "bob")
    bounds.connect("ann", "a")


def test_sockets_on_which_nothing_is_asked_are_bounded_too() -> None:
    bounds = limits(connections_per_address=2, connections_per_process=4)
    assert [bounds.knock("a") for _ in range(5)] == [True] * 4 + [False]
    assert [bounds.knock("b") for _ in range(5)] == [True] * 4 + [False]
    assert not bounds.knock("c"), "that of the process"
    bounds.hang_up("a")
    assert bounds.knock("c")
    behind = limits(connections_per_address=2, connections_per_process=4, trusted_hops=1)
    assert [behind.knock("proxy") for _ in range(9)] == [True] * 8 + [False], "a proxy has as many as there may be"


def test_whoever_reads_the_log_is_told_what_to_set() -> None:
    told: list[tuple[str, str]] = []
    bounds = Limits(Options(connections_per_address=1), lambda *what: told.append(what))
    bounds.connect(None, "10.0.0.7")
    for forwarded in (False, True):
        with pytest.raises(Refusal):
            bounds.connect(None, "10.0.0.7", forwarded)
    assert [limit for limit, _ in told] == ["connections_per_address"] * 2
    assert "10.0.0.7" in told[0][1]
    assert "set trusted_hops to the number of proxies" in told[1][1]
    assert [bounds.knock("10.0.0.7") for _ in range(3)] == [True, True, False]
    assert told[2][0] == "connections_per_address"
    assert "if a proxy is there, set trusted_hops" in told[2][1]
