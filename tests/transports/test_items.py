from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports import Event, NotEverywireError, Refusal
from transports.items import Reply, decode_batch, encode, encode_batch, encode_data, encode_event


def test_an_event_is_encoded_once_and_reads_as_it_was_published() -> None:
    event = encode_event("k3f9", 1042, "vitals", 1.5, b'{"load":0.42}')
    assert event.json == b'{"type":"event","id":"k3f9.1042","channel":"vitals","at":1.5,"data":{"load":0.42}}'
    assert decode_batch(encode_batch([event])) == [Event("k3f9.1042", "vitals", 1.5, {"load": 0.42})]


def test_items_of_a_later_version_are_left_out() -> None:
    body = b'[{"type":"beat","id":"e.1","at":1.0,"new":[1]},{"type":"poem","id":7},{"type":"beat","id":"e.2","at":2.0}]'
    assert [item.id for item in decode_batch(body)] == ["e.1", "e.2"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b'"x"',
        b"[1]",
        b"[{}]",
        b'[{"type":1}]',
        b'[{"type":"beat"}]',
        b"[\xff]",
        b'[{"type":"beat","id":3,"at":1}]',
    ],
)
def test_what_is_not_a_batch_of_ours_is_told_apart(body: bytes) -> None:
    with pytest.raises(NotEverywireError):
        decode_batch(body)


@given(st.binary(max_size=80))
def test_no_bytes_do_anything_but_decode_or_be_told_apart(body: bytes) -> None:
    with suppress(NotEverywireError):
        assert isinstance(decode_batch(body), list)


def test_a_reply_says_no_more_than_there_is_to_say() -> None:
    assert encode(Reply(7, True, "e.1")).json == b'{"type":"reply","ref":7,"ok":true,"id":"e.1"}'
    assert msgspec.json.decode(encode(Reply(None, False, code=4400, name="bad_command")).json)["code"] == 4400


@pytest.mark.parametrize("within", [lambda value: value, lambda value: {"a": ["-" + "9" * 4300, value]}])
def test_an_integer_that_could_not_be_read_again_is_refused(within) -> None:
    with pytest.raises(Refusal, match="4300 digits"):
        encode_data(within(-(10**4299)))
    for value in (10**4299, -(10**4298)):
        assert msgspec.json.decode(encode_data(within(value))) == within(value)


def test_what_is_nested_so_deep_that_it_cannot_be_looked_at_is_refused() -> None:
    with pytest.raises(Refusal, match="nested"):
        encode_data(msgspec.Raw(b"[" * 100_000 + b"]" * 100_000))
