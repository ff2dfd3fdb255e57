"""Every network of the table and every real middlebox, with both clients: all events of half a minute, each once and in order,
over the transport that should win, whatever the network does meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from tests.documents import ROOT
from tests.rides import Outcome, Ride, ride_all, rides
from transports.networks import NETWORKS, network

pytestmark = [pytest.mark.real, pytest.mark.alone, pytest.mark.timeout(400)]

RESULTS = ROOT / "docs" / "reference" / "networks.json"
REQUESTS_MOST = 60  # of a client that nobody lets in for eight seconds: no storm


class Row(msgspec.Struct):
    """What the documentation tells of a ride. `first` is in seconds."""

    network: str
    story: str
    client: str
    expected: str
    chosen: str
    first: float | None
    missing: int
    doubled: int
    connections: int | None
    sentence: str


@pytest.fixture(scope="module")
def python_outcomes(request: pytest.FixtureRequest) -> dict[str, Outcome]:
    return _made(request, lambda: ride_all("python"))


@pytest.fixture(scope="module")
def chromium_outcomes(request: pytest.FixtureRequest) -> dict[str, Outcome]:
    return _made(request, lambda: ride_all("chromium"))


def _made(request: pytest.FixtureRequest, all_rides: Callable[[], Awaitable[list[Outcome]]]) -> dict[str, Outcome]:
    outcomes = {outcome.network: outcome for outcome in asyncio.run(all_rides())}
    if request.config.getoption("--record"):
        for ride in rides(next(iter(outcomes.values())).client):  # what did not go as it should is not for the page
            judge(ride, outcomes[ride.network])
        _record(RESULTS, list(outcomes.values()))
    return outcomes


def _record(path: Path, outcomes: list[Outcome]) -> None:
    """Put outcomes into the file that the page of the documentation is made from, in place of older ones."""
    kept = [row for row in (rows_of(path) if path.exists() else []) if row.client != outcomes[0].client]
    made = [msgspec.convert(each, Row, from_attributes=True) for each in outcomes]
    text = msgspec.json.encode(sorted([*kept, *made], key=lambda row: row.client, reverse=True))
    path.write_bytes(msgspec.json.format(text, indent=1) + b"\n")


def rows_of(path: Path) -> list[Row]:
    return msgspec.json.decode(path.read_bytes(), type=list[Row])


@pytest.mark.parametrize("ride", rides("python"), ids=str)
def test_python(ride: Ride, python_outcomes: dict[str, Outcome]) -> None:
    judge(ride, python_outcomes[ride.network])


@pytest.mark.browser
@pytest.mark.parametrize("ride", rides("chromium"), ids=str)
def test_chromium(ride: Ride, chromium_outcomes: dict[str, Outcome]) -> None:
    judge(ride, chromium_outcomes[ride.network])


def judge(ride: Ride, outcome: Outcome) -> None:
    assert (outcome.missing, outcome.doubled, outcome.disordered, outcome.lost) == (0, 0, 0, 0), outcome
    assert outcome.chosen == ride.expected, outcome
    if ride.network in NETWORKS and not network(ride.network).wins:  # recognised, named, and not stormed
        assert any("login page" in sentence for sentence in outcome.said), outcome
        assert outcome.requests is not None
        assert outcome.requests < REQUESTS_MOST, outcome


def test_the_recorded_table_is_of_these_networks() -> None:
    known = rows_of(RESULTS)
    wanted = {(ride.network, ride.client, ride.expected) for client in ("python", "chromium") for ride in rides(client)}
    assert {(each.network, each.client, each.expected) for each in known} == wanted, "make networks"
    for each in known:
        assert (each.chosen, each.missing, each.doubled) == (each.expected, 0, 0)
