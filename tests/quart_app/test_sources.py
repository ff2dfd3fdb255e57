from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_app.sources import Counters, parse_line, rates, vitals


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('{"a": 1}\n', {"a": 1}),
        ("17\r\n", 17),
        ('"quoted"', "quoted"),
        ("127.0.0.1 - GET /\n", "127.0.0.1 - GET /"),
        ("{broken\n", "{broken"),
        ("NaN", "NaN"),
        ("  indented\n", "  indented"),
        ("\n", None),
        ("   \n", None),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_a_line_is_its_json_or_else_its_text(line: str, value: object) -> None:
    assert parse_line(line) == value


@given(st.text())
def test_every_line_can_be_published(line: str) -> None:
    json.dumps(parse_line(line))


def test_rates_are_bytes_per_second_and_a_counter_that_was_reset_counts_nothing() -> None:
    before = Counters(10.0, 1000, 0, 500, 500)
    after = Counters(12.0, 3000, 10, 0, 501)
    assert rates(before, after) == {"disk": {"read": 1000, "written": 5}, "network": {"received": 0, "sent": 0}}


async def test_vitals_are_this_machines_own() -> None:
    samples = [figures async for figures, _ in zip_async(vitals(0.01), range(3))]
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
