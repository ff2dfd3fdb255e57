from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from transports.networks import Passage, Record

PASSAGES = st.lists(
    st.builds(
        Passage,
        connection=st.integers(1, 3),
        up=st.booleans(),
        kind=st.sampled_from(["head", "data", "end", "frame", "bytes", "open", "close", "lost"]),
        raw=st.binary(max_size=12),
        came=st.just(1.0),
        passed=st.just(2.0),
    ),
    max_size=30,
)


def passage(raw: bytes = b"abc", kind: str = "data", up: bool = False) -> Passage:
    return Passage(1, up, kind, raw, 1.0, 2.0)


@settings(max_examples=50, deadline=None)
@given(PASSAGES, st.integers(0, 8), st.integers(0, 40))
def test_the_last_ones_are_kept_as_many_as_there_is_room_for_and_the_sums_are_of_all(
    passages: list[Passage], most: int, size: int
) -> None:
    record = Record(most, size)
    for each in passages:
        record.add(each)
    count, kept = record.passages()
    assert count == record.pieces == len(passages)
    assert kept == passages[len(passages) - len(kept) :]
    assert len(kept) <= most
    assert sum(len(each.raw) for each in kept) <= size
    one_more = passages[len(passages) - len(kept) - 1 :]
    assert len(kept) == len(passages) or len(one_more) > most or sum(len(each.raw) for each in one_more) > size
    passed = [each for each in passages if each.kind != "lost"]
    assert record.up == sum(len(each.raw) for each in passed if each.up)
    assert record.down == sum(len(each.raw) for each in passed if not each.up)
    assert record.connections == sum(each.kind == "open" for each in passages)
    assert record.requests == sum(each.kind == "head" and each.up for each in passages)


@settings(max_examples=50, deadline=None)
@given(PASSAGES, st.integers(0, 8), st.integers(-3, 40))
def test_whoever_comes_again_gets_what_is_new(passages: list[Passage], most: int, since: int) -> None:
    record = Record(most)
    for each in passages:
        record.add(each)
    count, new = record.passages(since)
    assert count == len(passages)
    assert new == passages[max(since, 0, len(passages) - most) :]


def test_one_that_is_larger_than_the_record_is_counted_and_not_kept() -> None:
    record = Record(size=4)
    record.add(passage())
    record.add(passage(b"abcde", "head", up=True))
    assert record.passages() == (2, [])
    assert (record.up, record.down, record.requests) == (5, 3, 1)
    record.add(passage(b"abcd"))
    assert record.passages(2) == (3, [passage(b"abcd")])
