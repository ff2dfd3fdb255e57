from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transports.items import Encoded, encode_event
from transports.log import Log
from transports.subscriptions import Selection

CHANNELS = ("a", "b", "c")
LIMIT = 1 << 20


def append(log: Log, offset: int, channel: str = "a", at: float = 0.0, data: bytes = b"1") -> None:
    log.append(encode_event("e", offset, channel, at, data))


def offsets(events) -> list[int]:
    return [event.offset for event in events.items]


def test_an_event_is_read_by_all_who_stand_before_it_and_by_nobody_else() -> None:
    log = Log("e")
    append(log, 5)
    assert offsets(log.after(4, Selection(("a",)), LIMIT).events) == [5]
    assert offsets(log.after(0, Selection(("a",)), LIMIT).events) == [5]
    assert offsets(log.after(5, Selection(("a",)), LIMIT).events) == []
    assert offsets(log.after(0, Selection(("b",)), LIMIT).events) == []


def test_a_quiet_reader_moves_on_to_the_head() -> None:
    log = Log("e")
    append(log, 7, "b")
    assert log.after(0, Selection(("a",)), LIMIT).offset == 7


def test_readers_at_the_same_place_share_one_slice_until_the_log_changes() -> None:
    log = Log("e")
    append(log, 1)
    first = log.after(0, Selection(("a",)), LIMIT)
    assert log.after(0, Selection(("a",)), LIMIT) is first
    append(log, 2)
    assert offsets(log.after(0, Selection(("a",)), LIMIT).events) == [1, 2]


def test_readers_all_over_a_quiet_log_do_not_fill_the_memory() -> None:
    log = Log("e", count=1000)
    for offset in range(1, 1001):
        append(log, offset)
    for offset in range(1000):
        log.after(offset, Selection(("a",)), LIMIT)
    assert len(log._slices) <= 64


def test_age_lets_go_of_what_is_older_and_of_nothing_else() -> None:
    log = Log("e", age=10.0)
    for offset, at in [(1, 0.0), (2, 5.0), (3, 6.0)]:
        append(log, offset, at=at)
    log.evict(now=15.5)
    found = log.after(0, Selection(("a",)), LIMIT)
    assert offsets(found.events) == [3]
    assert found.gaps == [("a", 0, 2)]


def test_what_was_told_is_not_told_again() -> None:
    log = Log("e", count=1)
    for offset in range(1, 6):
        append(log, offset)
    assert log.gaps(0, Selection(("a",)), {"a": 3}) == [("a", 3, 4)]
    assert log.gaps(0, Selection(("a",)), {"a": 4}) == []


def test_a_single_event_over_the_limit_still_comes() -> None:
    log = Log("e")
    append(log, 1, data=b'"' + b"x" * 1000 + b'"')
    append(log, 2)
    assert offsets(log.after(0, Selection(("a",)), 10).events) == [1]


def test_memory_is_bounded_by_count_however_much_is_appended() -> None:
    log = Log("e", count=10)
    for offset in range(1, 1001):
        append(log, offset)
    ring = log._rings["a"]
    assert len(log) == 10
    assert len(ring.events) == len(ring.offsets) <= 20


def test_size_lets_go_of_the_oldest_but_never_of_the_newest() -> None:
    log = Log("e", size=300)
    for offset in range(1, 4):
        append(log, offset, data=b'"' + b"x" * 100 + b'"')
    assert offsets(log.after(0, Selection(("a",)), LIMIT).events) == [3]
    append(log, 4, data=b'"' + b"x" * 1000 + b'"')
    found = log.after(0, Selection(("a",)), LIMIT)
    assert (offsets(found.events), found.gaps) == ([4], [("a", 0, 3)])
    append(log, 5)
    assert offsets(log.after(0, Selection(("a",)), LIMIT).events) == [5]


def bounded(events: list[Encoded], count: int, size: int) -> set[int]:
    """The offsets of the newest of each channel that are within the bounds, and of its very newest."""
    kept: set[int] = set()
    for channel in CHANNELS:
        room = size
        for place, event in enumerate(each for each in reversed(events) if each.channel == channel):
            room -= len(event.json)
            if place and (room < 0 or place >= count):
                break
            kept.add(event.offset)
    return kept


@given(
    st.lists(st.tuples(st.sampled_from(CHANNELS), st.integers(1, 3), st.integers(0, 5), st.integers(1, 300)), max_size=60),
    st.integers(1, 8),
    st.floats(0, 200),
    st.integers(0, 200),
    st.sets(st.sampled_from(CHANNELS), min_size=1),
    st.integers(60, 400),
    st.integers(50, 1000),
)
def test_every_event_is_delivered_or_declared_lost_and_never_both(
    published: list[tuple[str, int, int, int]],
    count: int,
    now: float,
    since: int,
    following: set[str],
    limit: int,
    size: int,
) -> None:
    """Against the list of all that was ever published: complete, in order, honest both ways, never more than asked for."""
    log, history, everything, offset, at = Log("e", count=count, age=20.0, size=size), [], [], 0, 0.0
    for channel, hole, pause, length in published:
        offset, at = offset + hole, at + pause
        append(log, offset, channel, at, b"1" * length)
        everything.append(encode_event("e", offset, channel, at, b"1" * length))
        history.append((offset, channel))
        assert log.after(offset - 1, Selection((channel,)), LIMIT).events.items, "the newest is kept, however large it is"
    assert {event.offset for ring in log._rings.values() for event in ring.events[ring.start :]} == bounded(
        everything, count, size
    )
    log.evict(now)
    channels = tuple(sorted(following))
    kept = {event.offset for ring in log._rings.values() for event in ring.events[ring.start :]}

    got: list[int] = []
    gone: list[tuple[str, int, int]] = []
    told: dict[str, int] = {}
    place = since
    while place < log.head:
        slice_ = log.after(place, Selection(channels), limit, told)
        assert slice_.offset > place
        assert len(slice_.events.items) <= 1 or sum(len(event.json) for event in slice_.events.items) <= limit
        got += offsets(slice_.events)
        gone += slice_.gaps
        told |= {gap.channel: gap.through for gap in slice_.gaps}
        place = slice_.offset

    def declared(number: int, channel: str) -> bool:
        return any(name == channel and after < number <= through for name, after, through in gone)

    for number, channel in history:
        wanted = channel in following and number > since
        assert (number in got) == (wanted and number in kept)
        if wanted:
            assert declared(number, channel) == (number not in kept)
    assert got == sorted(set(got))
