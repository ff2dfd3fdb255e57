"""Which names may be read and published, and which patterns could match one."""

from __future__ import annotations

import pytest

from transports import Refusal
from transports.names import Names

NAMES = Names(["news", "orders.*"])


@pytest.mark.parametrize("name", ["news", "orders.", "orders.1", "orders.a:b-c_d", "presence:news", "presence:orders.1"])
def test_these_may_be_read(name: str) -> None:
    NAMES.check(name)
    NAMES.check_asked(name)
    assert name in NAMES


@pytest.mark.parametrize(
    "name",
    ["", "new", "newsx", "orders", "$rights", "presence:presence:news", "orders.é", "orders.\n", "orders." + "x" * 122, "*"],
)
def test_these_may_not(name: str) -> None:
    with pytest.raises(Refusal, match="channel") as told:
        NAMES.check(name)
    assert told.value.code == 4404
    assert name not in NAMES


@pytest.mark.parametrize("pattern", ["*", "n*", "news*", "orders*", "orders.1*", "presence:*", "presence:ne*"])
def test_these_patterns_could_match(pattern: str) -> None:
    NAMES.check_asked(pattern)


@pytest.mark.parametrize("pattern", ["x*", "newsx*", "presence:x*", "presence:presence:*", "$*", "a**", "é*"])
def test_these_could_not(pattern: str) -> None:
    with pytest.raises(Refusal) as told:
        NAMES.check_asked(pattern)
    assert told.value.code == 4404


def test_names_that_clients_make_up_do_not_fill_the_memory() -> None:
    names = Names(["*"])
    for number in range(10_000):
        names.check(f"n{number}")
    assert len(names._good) <= 4096
