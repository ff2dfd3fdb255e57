"""Every subject that is installed delivers everything once and in order, over each of its wires."""

from __future__ import annotations

import pytest

from tests.benchmarks import measures
from tests.benchmarks.measures import MEASURES, Lane, Memory
from tests.benchmarks.rows import BY_NAME, ROWS, Subject
from tests.benchmarks.stage import Playing, Stage

pytestmark = pytest.mark.real
INSTALLED = [row for row in ROWS if row.missing() is None]


@pytest.mark.parametrize("row", INSTALLED, ids=lambda row: row.name)
def test_all_is_delivered_once_and_in_order(stage: Stage, row: Subject) -> None:
    with stage.playing(row) as playing:
        for wire in (wire for wire in row.wires if wire in ("ws", "sse")):
            with playing.readers(wire) as load:
                assert load.add(5).open == 5
                for order in ({"rate": 2000, "seconds": 0.05}, {"single": True, "seconds": 0.02}):
                    load.begin(100)
                    sent = playing.publish(size=100, **order)
                    found = load.expect(sent, patience=20.0)
                    assert found.whole, (wire, order)
                    assert found.delivered == 5 * sent > 0
                    assert sent == 100 or "single" in order
        if "poll" in row.wires:
            polls_are_answered_at_once_or_wait(playing)


def polls_are_answered_at_once_or_wait(playing: Playing) -> None:
    with playing.readers("poll") as load:
        load.add(2)
        found = load.poll(0.2)
    assert found.polls > 0
    assert found.delivered == found.polls
    assert found.gone == 0
    with playing.readers("wait") as load:
        assert load.add(2).open == 2
        load.begin(100)
        assert load.expect(0, patience=0.1).frames == 0


def test_every_subject_can_be_named_and_says_what_it_needs() -> None:
    assert len(BY_NAME) == len(ROWS)
    for row in ROWS:
        assert row.missing() is None or len(row.missing()) > 5
        if row.missing() is None:
            assert all(row.versions().values())


@pytest.mark.parametrize("measure", ["single", "polls", "ceiling", "publish"])
def test_a_measure_gives_a_figure(stage: Stage, measure: str) -> None:
    wire = {"polls": "poll", "publish": ""}.get(measure, "ws")
    samples = list(MEASURES[measure](stage, Lane(BY_NAME["c"], wire, 0.05), 0, Memory()))
    assert samples
    assert all(sample.measure == measure and sample.value is not None and sample.value > 0 for sample in samples)


def test_a_saturation_remembers_where_it_was(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "_RATE_MOST", 20.0)
    monkeypatch.setattr(measures, "LIMITS", (10_000, 20_000))
    memory = Memory()
    samples = list(MEASURES["saturation"](stage, Lane(BY_NAME["c"], "ws", 0.2), 0, memory))
    assert [sample.details["rate"] for sample in samples] == [20.0, 20.0]
    assert memory[("c", "ws")] == pytest.approx(20.0, rel=0.1)
