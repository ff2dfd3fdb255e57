"""Parts: several stations make one sample."""

from locustfiles.histogram import Histogram
from locustfiles.measuring import parts
from locustfiles.measuring.questions import Part
from locustfiles.measuring.timeline import Row
from locustfiles.plan import Plan
from locustfiles.samples import Pause, Phases, Published, Slot, Tally, Traffic


def histogram(*values: int) -> Histogram:
    made = Histogram()
    for value in values:
        made.record(value)
    return made


def part(**changes: object) -> Part:
    """Two readers of channel `c`, who got event 0 of two, which came after 100 and 300 µs."""
    settings: dict = {
        "ended": 1_300,
        "tally": Tally(expected=4, delivered=2, lost=2),
        "slow_tally": Tally(),
        "delays": histogram(100, 300),
        "slow": Histogram(),
        "traffic": Traffic(100, 10, 5, 60, 2, 1),
        "lag": histogram(5),
        "cpu": 0.25,
        "stamped": True,
        "phases": Phases(connect=histogram(80)),
        "rows": [Row("c", 0, 1_000, 0, 2, 100, 400, 300)],
        "pauses": [Pause(1, 1_300, 9_000)],
        "acknowledged": histogram(),
        "chosen": {},
        "failures": {"cut: gone": 1},
        "followers": {"c": 2},
        "counted": 2,
        **changes,
    }
    return Part(**settings)


def test_two_stations_are_one_sample():
    other = part(
        ended=1_500, cpu=0.5, stamped=False, delays=histogram(50), rows=[Row("c", 0, 1_000, 0, 1, 50, 50, 50)], counted=2
    )
    published = Published(rate=10, size=30, last=1, started=1_000)
    sample, rows = parts.together([part(), other], published, [("c", 0, 1_000), ("c", 1, 101_000)], {"c": "c"})
    assert (sample.started, sample.ended, sample.processes) == (1_000, 1_500, 2)
    assert sample.tally == Tally(expected=8, delivered=4, lost=4)
    assert sample.delays == histogram(100, 300, 50)
    assert sample.traffic == Traffic(200, 20, 10, 120, 4, 2)
    assert (sample.cpu, sample.clock) == (0.5, "process")
    assert sample.phases.connect == histogram(80, 80)
    assert sample.pauses == [Pause(1, 1_300, 9_000), Pause(3, 1_300, 9_000)]
    assert sample.failures == {"cut: gone": 2}
    assert rows == [Row("c", 0, 1_000, 4, 3, 50, 450, 300), Row("c", 1, 101_000, 4, 0, 0, 0, 0)]
    assert [slot.expected for slot in sample.timeline] == [4, 4]
    assert sample.timeline[0] == Slot(0.0, 4, 3, 50, 150, 300)


def test_readers_that_speak_are_heard_by_the_followers_of_their_channel():
    found = [part(followers={"c": 2}), part(followers={"c": 1, "d": 1})]
    due = [("c", 0, 1_000), ("reader-7", 0, 2_000)]
    _, rows = parts.together(found, Published(rate=10, size=30, last=0, started=1_000), due, {"c": "c", "reader-7": "d"})
    assert [(row.source, row.expected) for row in rows] == [("c", 3), ("reader-7", 1)]


def test_where_nobody_got_in_only_complaints_are_known():
    sample = parts.nothing(Plan(rate=5, size=70), 3, [part(), part()])
    assert (sample.readers, sample.ready, sample.tally, sample.processes) == (3, 0, Tally(), 2)
    assert sample.failures == {"cut: gone": 2}
    assert (sample.published.rate, sample.published.size, sample.published.last) == (5, 70, -1)
