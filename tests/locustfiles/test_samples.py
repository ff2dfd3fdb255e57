"""Samples: they add up, and a run comes back from its file."""

import pytest

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
