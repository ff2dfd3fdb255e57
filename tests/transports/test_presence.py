"""The fold: any interleaving of leases and changes, over processes that come late, are slow or die."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transports import Refusal
from transports.presence import PREFIX, Control, Lease, Presence, control_of, record_of

LEASE, DELAY = 10.0, 2.0


def lease(name: str, seconds: float = LEASE, *, of: str = "", data: object = None, given_up: bool = False) -> Control:
    return Control(
        "p", [Lease("room", name, of, DELAY if given_up else seconds, given_up, msgspec.Raw(msgspec.json.encode(data)))]
    )


def changes(presence: Presence, name: str) -> list[str]:
    untold = presence.untold("room", name)
    return [] if untold is None else [msgspec.json.decode(untold.data)["change"]]


def tell(presence: Presence, offset: int, at: float, name: str) -> list[str]:
    """Tell all that is untold of a member, as the events from `offset` on."""
    told = []
    while (change := presence.untold("room", name)) is not None:
        presence.hear(offset + len(told), at, "room", change.data)
        told.append(msgspec.json.decode(change.data)["change"])
    return told


@pytest.fixture
def presence() -> Presence:
    return Presence("e")


def test_joined_with_the_first_lease_and_left_with_the_last(presence: Presence) -> None:
    presence.fold(1, 0.0, lease("ann", of="tab1"))
    assert tell(presence, 2, 0.0, "ann") == ["joined"]
    presence.fold(3, 1.0, lease("ann", of="tab2"))
    presence.fold(4, 2.0, lease("ann", of="tab1", given_up=True))
    presence.fold(5, 10.9, Control("p"))
    assert changes(presence, "ann") == []
    presence.fold(6, 11.0, Control("p"))
    assert tell(presence, 7, 11.0, "ann") == ["left"]
    assert (presence.told("room"), presence.present("room"), presence.due) == ({}, 0, None)


def test_who_is_back_within_the_delay_never_left(presence: Presence) -> None:
    presence.fold(1, 0.0, lease("ann"))
    tell(presence, 2, 0.0, "ann")
    presence.fold(3, 1.0, lease("ann", given_up=True))
    assert presence.due == 1.0 + DELAY
    presence.fold(4, 2.9, lease("ann"))
    presence.fold(5, 12.8, Control("p"))
    assert changes(presence, "ann") == []


def test_who_comes_back_later_joins_anew(presence: Presence) -> None:
    presence.fold(1, 0.0, lease("ann"))
    tell(presence, 2, 0.0, "ann")
    presence.fold(3, 10.0, lease("ann"))  # the record that renews comes with the end: it was over
    assert changes(presence, "ann") == ["left"]
    assert tell(presence, 4, 10.0, "ann") == ["left", "joined"]


def test_a_visit_that_was_over_before_it_was_told_is_not_told(presence: Presence) -> None:
    presence.fold(1, 0.0, lease("ann", 1))
    presence.fold(2, 1.0, Control("p"))
    assert changes(presence, "ann") == []


def test_what_a_member_says_is_what_was_said_last_and_tabs_that_renew_do_not_take_turns(presence: Presence) -> None:
    presence.fold(1, 0.0, lease("ann", of="tab1", data=1))
    presence.fold(2, 0.0, lease("ann", of="tab2", data=2))
    tell(presence, 3, 0.0, "ann")
    presence.fold(4, 1.0, lease("ann", of="tab1", data=1))
    assert (presence.told("room")["ann"].data, changes(presence, "ann")) == (b"2", [])
    presence.fold(5, 2.0, lease("ann", of="tab1", data=3))
    assert tell(presence, 6, 2.0, "ann") == ["changed"]


def test_of_what_is_told_behind_the_same_event_one_is_taken(presence: Presence) -> None:
    presence.fold(1, 0.0, lease("ann", data=1))
    early = presence.untold("room", "ann")
    presence.fold(2, 0.0, lease("ann", data=2))
    late = presence.untold("room", "ann")
    assert early is not None
    assert late is not None
    assert (early.key == late.key, early.data == late.data) == (True, False)
    presence.hear(3, 0.0, "room", early.data)
    mended = presence.untold("room", "ann")
    assert mended is not None
    assert (mended.key != late.key, changes(presence, "ann")) == (True, ["changed"])


def test_where_it_was_told_that_somebody_left_is_known_until_keys_are_forgotten() -> None:
    presence = Presence("e", keep=100.0)
    keys = set()
    for at in (0.0, 20.0, 300.0):
        presence.fold(int(at) + 1, at, lease("ann", 1))
        joined = presence.untold("room", "ann")
        assert joined is not None
        keys.add(joined.key)
        tell(presence, int(at) + 2, at, "ann")
        presence.fold(int(at) + 3, at + 1, Control("p"))
        tell(presence, int(at) + 4, at + 1, "ann")
    assert keys == {"e 0 ann", "e 4 ann"}
    presence.fold(900, 900.0, Control("p"))
    assert same(presence) == (900.0, [])


def test_a_left_for_another_visit_says_nothing(presence: Presence) -> None:
    presence.fold(1, 0.0, lease("ann"))
    tell(presence, 2, 0.0, "ann")
    presence.hear(3, 0.0, "room", b'{"change":"left","as":"ann","visit":"e.9"}')
    assert list(presence.told("room")) == ["ann"]


def test_to_give_up_what_is_not_held_is_nothing(presence: Presence) -> None:
    presence.fold(1, 0.0, lease("ann", given_up=True))
    assert (presence.present("room"), presence.touched) == (0, set())
    presence.fold(2, 0.0, lease("ann", 1.0))
    presence.fold(3, 0.0, lease("ann", given_up=True))  # and makes no lease longer
    assert presence.due == 1.0


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"by":1}', b'{"by":"p","leases":[["room"]]}', b"\xff", b'{"by":"p","leases":[1]}']
)
def test_what_is_no_record(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        control_of(data)


@pytest.mark.parametrize("data", [b"[]", b'{"change":"flew","as":"ann"}', b'{"change":"left","as":"ann","visit":"x"}'])
def test_what_is_no_change(presence: Presence, data: bytes) -> None:
    with pytest.raises((ValueError, Refusal)):
        presence.hear(1, 0.0, "room", data)
    assert presence.told("room") == {}


def test_a_record_of_ours_travels(presence: Presence) -> None:
    presence.fold(1, 5.0, lease("ann", data={"a": [1]}))
    tell(presence, 2, 5.0, "ann")
    (part,) = presence.parts(2, 1000)
    assert record_of(control_of(record_of(Control("p", part=part)))) == record_of(Control("p", part=part))


def test_to_who_comes_later_everything_is_told_in_parts(presence: Presence) -> None:
    for number in range(50):
        presence.fold(2 * number + 1, number / 10, lease(f"m{number}", of="x", data=number))
        if number % 2:
            tell(presence, 2 * number + 2, number / 10, f"m{number}")
    parts = presence.parts(100, 500)
    assert len(parts) > 5
    later = Presence("e", complete=False)
    later.load(control_of(record_of(Control("p", part=part))).part for part in parts)
    assert same(later) == same(presence)
    for each in (later, presence):
        each.fold(101, 11.0, Control("p"))
    assert same(later) == same(presence)


def test_who_nobody_can_tell_goes_by_what_is_told_with_renewals() -> None:
    presence = Presence("e", complete=False)
    told = Lease("room", "ann", "", LEASE, False, msgspec.Raw(b"1"), 7, 3.0)
    presence.fold(50, 20.0, Control("p", [told]))
    presence.settle()
    assert (presence.visit("room", "ann"), changes(presence, "ann")) == ((7, 3.0), [])
    presence.fold(51, 30.0, Control("p"))
    left = presence.untold("room", "ann")
    assert left is not None
    assert msgspec.json.decode(left.data)["visit"] == "e.7"


def same(presence: Presence) -> object:
    """All that two processes must agree on."""
    rows = [row for part in presence.parts(0, 1 << 30) for row in part.rows]
    return presence.clock, [msgspec.json.encode(row) for row in rows]


# ------------------------------------------------------------------------------------------------------------- the property

NAMES = ("ann", "bob")
ACTS = st.one_of(
    st.tuples(st.just("take"), st.sampled_from(NAMES), st.sampled_from("xy"), st.integers(0, 2)),
    st.tuples(st.just("give"), st.sampled_from(NAMES), st.sampled_from("xy")),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 1.0, 1.9, 2.0, 5.0, 9.9, 10.0])),
    st.tuples(st.just("read"), st.integers(0, 2), st.integers(1, 6)),  # a process folds some of what it has not got yet
    st.tuples(st.just("tell"), st.integers(0, 2)),  # and tells what it believes is untold, at its place in the stream
    st.tuples(st.just("crash"), st.integers(0, 2)),  # and another takes its place, which asks
)


class Stream:
    """A broker: records in order, keys, and the time."""

    def __init__(self) -> None:
        self.records: list[tuple[int, float, str, bytes]] = []
        self.keys: set[tuple[str, str]] = set()
        self.now = 100.0

    def publish(self, channel: str, data: bytes, key: str | None = None) -> None:
        if key is not None and (channel, key) in self.keys:
            return
        if key is not None:
            self.keys.add((channel, key))
        self.records.append((len(self.records) + 1, self.now, channel, data))


class Process:
    def __init__(self, stream: Stream) -> None:
        self.stream, self.presence, self.read_to = stream, Presence("e", keep=1e9), 0

    def read(self, count: int) -> None:
        for offset, at, channel, data in self.stream.records[self.read_to : self.read_to + count]:
            if channel == "$":
                self.presence.fold(offset, at, control_of(data))
            else:
                self.presence.hear(offset, at, channel.removeprefix(PREFIX), data)
            self.read_to = offset

    def tell(self) -> None:
        for name in NAMES:
            if (change := self.presence.untold("room", name)) is not None:
                self.stream.publish(PREFIX + change.channel, change.data, change.key)

    def replaced(self, others: Sequence[Process]) -> Process:
        """Another, which knows nothing but what one of the others tells it."""
        other, new = max(others, key=lambda each: each.read_to), Process(self.stream)
        new.presence = Presence("e", complete=False, keep=1e9)
        new.presence.load(
            control_of(record_of(Control("p", part=part))).part for part in other.presence.parts(other.read_to, 200)
        )
        new.read_to = other.read_to
        return new


@settings(max_examples=300, deadline=None)
@given(st.lists(ACTS, max_size=60))
def test_any_interleaving_is_told_once_and_all_agree(acts: list[tuple]) -> None:
    stream = Stream()
    processes = [Process(stream) for _ in range(3)]
    for act in acts:
        match act:
            case "take", name, of, data:
                stream.publish("$", record_of(lease(name, of=of, data=data)))
            case "give", name, of:
                stream.publish("$", record_of(lease(name, of=of, given_up=True)))
            case "wait", seconds:
                stream.now += seconds
            case "read", which, count:
                processes[which].read(count)
            case "tell", which:
                processes[which].tell()
            case "crash", which:
                processes[which] = processes[which].replaced([each for each in processes if each is not processes[which]])
    for _ in range(2):  # all come to the end of the stream, and nobody renews any more
        stream.publish("$", record_of(Control("p")))
        for _ in range(6):
            for process in processes:
                process.read(1 << 20)
                process.tell()
        for process in processes:
            process.read(1 << 20)
        states = [same(process.presence) for process in processes]
        assert states[0] == states[1] == states[2]
        for name in NAMES:
            assert changes(processes[0].presence, name) == []
        stream.now += LEASE
    assert processes[0].presence.told("room") == {}
    check(stream)


def check(stream: Stream) -> None:
    """What readers were told: per member joined, changed…, left, by turns; each visit once; and never without a reason."""
    told, visits = defaultdict(list), Counter()
    for _, _, channel, data in stream.records:
        if channel != "$":
            change = msgspec.json.decode(data)
            told[change["as"]].append(change)
            visits[change["as"], change["visit"], change["change"]] += change["change"] != "changed"
    assert all(number <= 1 for number in visits.values())
    for name, events in told.items():
        present = None
        for event in events:
            match event["change"]:
                case "joined":
                    assert present is None
                    present = event["visit"]
                case "changed":
                    assert event["visit"] == present
                case "left":
                    assert event["visit"] == present
                    present = None
        assert present is None
        begun = [int(event["visit"].partition(".")[2]) for event in events if event["change"] == "joined"]
        assert all(one < other for one, other in pairwise(begun))
        assert set(begun) <= {start for start, _ in visits_of(stream, name)}


def visits_of(stream: Stream, name: str) -> list[tuple[int, int]]:
    """The visits of a member, from the records alone: (where each begins, where it ends), told the long way."""
    ends: dict[str, float] = {}
    visits: list[tuple[int, int]] = []
    start = 0
    for offset, at, channel, data in stream.records:
        ends = {of: end for of, end in ends.items() if end > at}
        if start and not ends:
            visits.append((start, offset))
            start = 0
        for each in control_of(data).leases if channel == "$" else ():
            if each.member != name:
                continue
            if not each.given_up:
                ends[each.lease] = at + each.seconds
                start = start or offset
            elif each.lease in ends:
                ends[each.lease] = min(ends[each.lease], at + each.seconds)
    return visits
