"""Samples: they add up, and a run comes back from its file."""

import json

import pytest
from runs import a_run

from locustfiles import samples
from locustfiles.plan import Plan
from locustfiles.samples import Run, SampleError, Tally, Traffic


def test_tallies_and_traffic_add_up():
    assert samples.total([Tally(expected=3, lost=1), Tally(expected=2, doubled=2)]) == Tally(expected=5, lost=1, doubled=2)
    whole = Traffic(10, 5, 2, 1, 3, 1).plus(Traffic(1, 1, 1, 1, 1, 1))
    assert whole == Traffic(11, 6, 3, 2, 4, 2)
    assert whole.minus(Traffic(10, 5, 2, 1, 3, 1)) == Traffic(1, 1, 1, 1, 1, 1)
    assert whole.framing == 11 + 6 - 3 - 2


def test_a_run_comes_back_from_its_file():
    run = Run(
        started="2026-01-01T00:00:00+00:00",
        command="x",
        plan=Plan(readers=1, rate=1, seconds=1, repeats=1),
        environment={"a": "b"},
    )
    assert samples.decode(samples.encode(run)) == run


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"schema":"everywire.run/99"}', b'{"schema":"everywire.run/1"}'])
def test_what_is_no_run_is_refused(body: bytes):
    with pytest.raises(SampleError):
        samples.decode(body)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"schema":"everywire.run/2","x":' + b"[" * 100_000, b'"\xff"'])
def test_what_cannot_be_read_at_all_is_refused(body: bytes):
    assert not samples.is_run(body)
    with pytest.raises(SampleError):
        samples.decode(body)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("plan.rate", 0),
        ("plan.repeats", 0),
        ("plan.point", "speed"),
        ("rounds.0.repeat", -1),
        ("rounds.0.sample.readers", 0),
        ("rounds.0.sample.clock", "sundial"),
        ("rounds.0.sample.published.rate", 0),
        ("rounds.0.sample.tally.lost", -1),
        ("rounds.0.sample.tally.lost", 10**30),
        ("rounds.0.sample.delays.counts", {"5": -1}),
        ("rounds.0.sample.delays.counts", {str(10**30): 1}),
        ("rounds.0.sample.timeline.0.0", 1e300),
        ("rounds.0.server.cpu", 1e308),
    ],
)
def test_numbers_that_cannot_be_are_refused(place: str, value: object):
    body = json.loads(samples.encode(a_run({"sse": [1000]})))
    *parts, last = [int(part) if part.isdecimal() else part for part in place.split(".")]
    inner = body
    for part in parts:
        inner = inner[part]
    inner[last] = value
    with pytest.raises(SampleError, match="not a recorded run"):
        samples.decode(json.dumps(body).encode())
