"""MessagePack: the same items as in JSON, and nothing that JSON could not say."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.msgpack import Ext

from transports import Code, NotEverywireError, Refusal
from transports.items import Beat, Bye, Encoded, Hello, Lost, Reply, Skipped, encode, encode_batch, encode_data, encode_event
from transports.msgpack import INTEGER, TRANSPORT, PackedReader, frame, heard, write
from transports.websocket import MessageReader

EDGES = [n + d for n in (0, 2**7, 2**8, 2**15, 2**16, 2**31, 2**32, 2**53, 2**63, 2**64, 10**30) for d in (-1, 0, 1)]
INTEGERS = st.one_of(st.integers(-(10**40), 10**40), st.sampled_from([*EDGES, *[-each for each in EDGES]]))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=15,
)


def same(one: Any, other: Any) -> bool:
    """Equal, of the same types: 1 is not 1.0, and not True."""
    return repr(one) == repr(other)


def event(data: Any, offset: int = 1) -> Encoded:
    return encode_event("k3f9", offset, "a", 1763850000.5, encode_data(data))


# --- down


@given(st.lists(VALUES, max_size=5))
def test_readers_of_both_get_the_same(values: list[Any]) -> None:
    items = [event(value, number) for number, value in enumerate(values)]
    assert same(PackedReader().feed(frame(items)), MessageReader().feed(encode_batch(items)))


@pytest.mark.parametrize(
    "item",
    [
        Hello(1, "k3f9.1", "c7Qd5wXk", ["a", "b"], "fresh", 15.0, None),
        Hello(1, "k3f9.1", "c7Qd5wXk", [], "exact", 15, 1763850000.25),
        Beat("k3f9.1", 1763850000),
        Lost("k3f9.1", "a", "k3f9.0", "k3f9.1", "evicted"),
        Skipped("k3f9.1", "a", "k3f9.0", "k3f9.1", None, "latest"),
        Reply(7, True, "k3f9.2", lasts=45.0),
        Reply(-(2**53) + 1, False, None, 4404, "unknown_channel", "no channel named 'x'"),
        Bye(4503, "draining", "the server is stopping", 0.8, 25.0),
    ],
)
def test_control_items_are_the_same_too(item: Any) -> None:
    assert same(PackedReader().feed(frame([encode(item)])), MessageReader().feed(encode_batch([encode(item)])))


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 65_535, 65_536, 65_537])
def test_a_batch_of_any_length_is_one_array(count: int) -> None:
    item = encode(Beat("k3f9.1", 1.0))
    assert len(msgspec.msgpack.decode(frame([item] * count))) == count


@pytest.mark.parametrize("value", [10**4299, -(10**4298), [10**300, -(2**63) - 1]], ids=["most", "least", "within"])
def test_the_longest_integers_are_the_same_too(value: Any) -> None:
    assert same(PackedReader().feed(frame([event(value)])), MessageReader().feed(encode_batch([event(value)])))
    assert msgspec.json.decode(heard(write(value))) == value


def test_an_item_is_put_into_messagepack_once() -> None:
    item = event({"load": 0.5})
    frame([item])
    assert item.packed
    assert frame([item])[1:] == item.packed
    kept = item.packed
    frame([item, item])
    assert item.packed is kept


def test_a_long_integer_is_its_digits() -> None:
    assert msgspec.msgpack.decode(write([2**64, -(2**63) - 1, 2**64 - 1, -(2**63)])) == [
        Ext(INTEGER, b"18446744073709551616"),
        Ext(INTEGER, b"-9223372036854775809"),
        2**64 - 1,
        -(2**63),
    ]


# --- what is not ours


@given(st.binary(max_size=200))
def test_garbage_is_not_ours(data: bytes) -> None:
    with suppress(NotEverywireError):
        PackedReader().feed(data)


@given(st.lists(VALUES, max_size=3), st.data())
def test_a_batch_in_which_a_byte_is_wrong_is_read_or_not_ours(values: list[Any], draw: st.DataObject) -> None:
    data = bytearray(frame([event(value) for value in values]))
    data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    with suppress(NotEverywireError):
        PackedReader().feed(bytes(data))


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\xc1",
        b"[]",
        write({"type": "beat", "id": "k.1", "at": 1.0}),
        write([{"type": "beat", "id": "k.1"}]),
        write([3]),
        write([]) + b"\x00",
        msgspec.msgpack.encode([{"type": "event", "id": "k.1", "channel": "a", "at": 1.0, "data": Ext(9, b"x")}]),
        b"\x91" * 100_000 + b"\x90",
    ],
    ids=lambda said: repr(said[:30]),
)
def test_what_is_no_batch_is_not_ours(said: bytes) -> None:
    with pytest.raises(NotEverywireError):
        PackedReader().feed(said)


def test_items_and_fields_of_a_later_version_are_passed_over() -> None:
    [beat] = PackedReader().feed(write([{"type": "later", "x": 1}, {"type": "beat", "id": "k.1", "at": 1, "x": [2**70]}]))
    assert beat == Beat("k.1", 1.0)


# --- up


@given(VALUES)
def test_what_is_said_in_both_is_heard_the_same(value: Any) -> None:
    assert same(msgspec.json.decode(heard(write(value))), msgspec.json.decode(encode_data(value)))


@pytest.mark.parametrize(
    "said",
    [
        math.nan,
        math.inf,
        -math.inf,
        b"bytes",
        {"a": [b""]},
        {1: 2},
        {None: 1},
        {True: 1},
        {1.5: 1},
        {(1, 2): 3},
        {b"a": 1},
        Ext(2, b"5"),
        Ext(INTEGER, b"1e30"),
        Ext(INTEGER, b"17"),
        Ext(INTEGER, b"0" * 30),
        Ext(INTEGER, "١".encode() * 30),
        Ext(INTEGER, b"9" * 4301),
        Ext(-1, b"\0\0\0\1"),
    ],
    ids=lambda said: f"{said.code} {bytes(said.data[:9])!r}" if isinstance(said, Ext) else repr(said),
)
@pytest.mark.parametrize("within", [lambda it: it, lambda it: [{"do": "publish", "channel": "a", "data": {"x": [it]}}]])
def test_what_json_cannot_say_is_refused(said: Any, within: Any) -> None:
    with pytest.raises(Refusal) as caught:
        heard(msgspec.msgpack.encode(within(said)))
    assert caught.value.code is Code.BAD_COMMAND


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\xc1",
        b'{"do":"ping"}',
        b"\x80\x80",
        b"\x81\xa2do",
        b"\x81\xa1\xff\x01",  # not UTF-8
        b"\x81\xa3\xed\xa0\x80\x01",  # a surrogate
        b"\x91" * 60_000 + b"\x90",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
    ],
    ids=lambda said: repr(said[:20]),
)
def test_what_is_no_messagepack_is_refused(said: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        heard(said)
    assert caught.value.code is Code.BAD_COMMAND


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_json(data: bytes) -> None:
    with suppress(Refusal):
        json.loads(heard(data), parse_constant=pytest.fail)


def test_the_subprotocol_names_the_version() -> None:
    assert TRANSPORT.content_type == "everywire.v1.msgpack"
    assert TRANSPORT.binary
