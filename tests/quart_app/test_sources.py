from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_app.sources import Counters, encode_line, rates, vitals
from transports.items import encode_data


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b'{"a": 1}\n', {"a": 1}),
        (b"17\r\n", 17),
        (b"null\n", None),
        (b'"quoted"', "quoted"),
        (b"127.0.0.1 - GET /\n", "127.0.0.1 - GET /"),
        (b"{broken\n", "{broken"),
        (b"NaN", "NaN"),
        (b"  indented\n", "  indented"),
        (b"caf\xe9 \xff\n", "caf\ufffd \ufffd"),
        (b'"\\ud800"', '"\\ud800"'),
        (b"1e999", "1e999"),
        (b"[" * 100_000, "[" * 100_000),
        (b"[" * 101 + b"]" * 101, "[" * 101 + "]" * 101),
    ],
)
def test_a_line_is_its_json_or_else_its_text(line: bytes, value: object) -> None:
    assert json.loads(encode_line(line)) == value


@pytest.mark.parametrize("line", [b"", b"\n", b"   \r\n"])
def test_an_empty_line_is_nothing(line: bytes) -> None:
    assert encode_line(line) is None


@given(st.binary())
def test_every_line_can_be_published(line: bytes) -> None:
    body = encode_line(line)
    assert body is None or b"\n" not in body
    assert body is None or encode_data(json.loads(body))


def test_rates_are_bytes_per_second_and_a_counter_that_was_reset_counts_nothing() -> None:
    before = Counters(10.0, 1000, 0, 500, 500)
    after = Counters(12.0, 3000, 10, 0, 501)
    assert rates(before, after) == {"disk": {"read": 1000, "written": 5}, "network": {"received": 0, "sent": 0}}


async def test_vitals_are_this_machines_own() -> None:
    samples = [figures async for (_, figures), _ in zip_async(vitals(0.01), range(3))]
    for figures in samples:
        assert 0 <= figures["cpu"] <= 100
        assert 0 < figures["memory"] < 100
        assert len(figures["load"]) == 3
        assert set(figures["disk"]) == {"read", "written"}
        assert set(figures["network"]) == {"received", "sent"}


async def zip_async(source, counter):
    for n in counter:
        yield await anext(source), n
    await source.aclose()


async def test_several_processes_number_the_same_moments() -> None:
    samples = await asyncio.gather(*[numbers(vitals(0.05)) for _ in range(3)])
    assert all(moments == sorted(set(moments)) for moments in samples)
    assert set.intersection(*[set(moments) for moments in samples])


async def numbers(source) -> list[int]:
    return [moment async for (moment, _), _ in zip_async(source, range(10))]
