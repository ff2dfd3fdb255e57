from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sse_starlette import ServerSentEvent

from transports import NotEverywireError
from transports.items import Bye, Hello, encode, encode_event
from transports.sse import StreamReader, frame

CASES = json.loads((Path(__file__).parents[1] / "cases" / "sse_reader.json").read_text())


def read(*pieces: bytes) -> list[dict]:
    reader = StreamReader()
    return [msgspec.to_builtins(item) for piece in pieces for item in reader.feed(piece)]


def full(item: dict) -> dict:
    """The item with the fields that it leaves out."""
    return msgspec.to_builtins(msgspec.convert(item, _types()[item["type"]]))


def _types() -> dict[str, type]:
    from transports import items

    return {each.kind: each for each in (items.Hello, items.Event, items.Beat, items.Lost, items.Reply, items.Bye)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_shared_cases_however_the_bytes_are_split(case: dict) -> None:
    data = case["text"].encode()
    splits = [(data,), tuple(data[n : n + 1] for n in range(len(data)))]
    splits += [(data[:n], data[n:]) for n in range(len(data))]
    for pieces in splits:
        if case.get("error"):
            with pytest.raises(NotEverywireError):
                read(*pieces)
        else:
            assert read(*pieces) == [full(item) for item in case["items"]]


data = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), lambda inner: st.lists(inner, max_size=3)
)


@given(st.lists(data, max_size=5), st.randoms())
@settings(max_examples=60)
def test_what_is_framed_is_read_back_wherever_it_is_cut(values: list, chance) -> None:
    events = [encode_event("e", n + 1, "a", 1.5, msgspec.json.encode(value)) for n, value in enumerate(values)]
    body = frame(events)
    cuts = sorted(chance.randrange(len(body) + 1) for _ in range(4))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert [item["data"] for item in read(*pieces)] == values


@given(st.text())
@settings(max_examples=60)
def test_the_blocks_of_events_are_those_of_sse_starlette(text: str) -> None:
    event = encode_event("e", 1, "a", 1.5, msgspec.json.encode(text))
    assert frame([event]) == ServerSentEvent(event.json.decode(), id=event.id, sep="\n").encode()


def test_control_items_are_named_so_that_onmessage_gets_events_alone() -> None:
    hello = encode(Hello(1, "e.1", "c", ["a"], "fresh", 15.0))
    assert frame([hello]).startswith(b"event: hello\nid: e.1\ndata: {")


def test_bye_tells_an_eventsource_when_to_come_back_and_moves_no_position() -> None:
    block = frame([encode(Bye(4503, "draining", "", 0.8))])
    assert block.startswith(b"event: bye\nretry: 800\ndata: {")
    assert b"\nid:" not in block
    assert b"retry:" not in frame([encode(Bye(4403, "forbidden", "", None))])


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 100_000 + b"\n", b"x" * 100_000], ids=["many lines", "one line"])
def test_an_endless_block_is_refused_rather_than_kept(piece: bytes) -> None:
    with pytest.raises(NotEverywireError):
        read(*[piece] * 200)
