from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports import Code, Position, Refusal
from transports.position import OFFSET_MAX, parse

CASES = json.loads((Path(__file__).parents[1] / "cases" / "positions.json").read_text())


@pytest.mark.parametrize("case", CASES["valid"], ids=lambda case: case["text"])
def test_what_is_a_position(case: dict) -> None:
    assert parse(case["text"]) == Position(case["epoch"], case["offset"])
    assert str(parse(case["text"])) == case["text"]


@pytest.mark.parametrize("text", CASES["invalid"], ids=repr)
def test_anything_else_is_refused_with_a_number(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse(text)
    assert refused.value.code == Code.BAD_COMMAND


@given(st.text(st.sampled_from("abcXYZ019"), min_size=1, max_size=16), st.integers(0, OFFSET_MAX))
def test_what_is_written_is_read_back(epoch: str, offset: int) -> None:
    assert parse(str(Position(epoch, offset))) == (epoch, offset)


@given(st.text())
def test_no_text_does_anything_but_parse_or_be_refused(text: str) -> None:
    with suppress(Refusal):
        assert str(parse(text)) == text
