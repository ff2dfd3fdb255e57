"""hgrm: the lines that HdrHistogram writes, as its own documentation shows them and as its plotter reads them."""

import random
import re

import pytest
from runs import histogram

from locustfiles.histogram import Histogram
from locustfiles.reporting.hgrm import hgrm

# The example in the README of HdrHistogramJS, whose middle it leaves out; its 25, 50 and 75 are microseconds here.
HEAD = """\
       Value     Percentile TotalCount 1/(1-Percentile)

       0.025 0.000000000000          1           1.00
"""
TAIL = """\
       0.075 0.700000000000          3           3.33
       0.075 1.000000000000          3
#[Mean    =        0.050, StdDeviation   =        0.020]
#[Max     =        0.075, Total count    =            3]
"""


def plotted(text: str) -> list[tuple[float, float]]:
    """What plotFiles.html draws: (1/(1-percentile), value) of each line of four numbers that begins with no `#`."""
    rows = [re.split(" +", line.strip()) for line in text.split("\n") if not line.startswith("#")]
    return [(float(row[3]), float(row[0])) for row in rows if len(row) == 4 and row[0] != "Value"]


def test_the_documented_example():
    text = hgrm(histogram(25, 50, 75))
    assert text.startswith(HEAD)
    assert TAIL in text
    assert re.fullmatch(r"#\[Buckets = +\d+, SubBuckets     =         2048\]\n", text.splitlines(keepends=True)[-1])


def test_levels_halve_the_distance_to_everything():
    """Those of HdrHistogram's own example files, from the first on."""
    ticks = [f"{x:.2f}" for x, _ in plotted(hgrm(histogram(*range(1, 5001))))]
    assert ticks[:12] == ["1.00", "1.11", "1.25", "1.43", "1.67", "2.00", "2.22", "2.50", "2.86", "3.33", "4.00", "4.44"]
    assert {"10.00", "11.43", "106.67", "128.00", "142.22", "1024.00", "1137.78"} <= set(ticks)
    assert 5000 < float(ticks[-1]) < 10_000  # the level that only the last of 5,000 reaches


@pytest.mark.parametrize("seed", range(5))
def test_lines_agree_with_the_percentiles_of_the_page(seed: int):
    chance = random.Random(seed)
    made = histogram(*(int(chance.lognormvariate(8, 1)) for _ in range(3000)))
    lines = [line.split() for line in hgrm(made).splitlines()[2:] if not line.startswith("#")]
    assert len(lines) > 50
    for value, share, *_ in lines:
        assert value == f"{(made.percentile(100 * float(share)) or 0) / 1000:.3f}"
    counts = [int(line[2]) for line in lines]
    assert counts == sorted(counts)
    assert counts[-1] == 3000
    assert all(count >= 3000 * float(share) - 0.001 for count, (_, share, *_) in zip(counts, lines, strict=True))


def test_mean_and_deviation_of_long_durations():
    """Buckets are 0.1 % wide; their middles are taken."""
    mean, deviation = map(
        float, re.search(r"Mean += +([\d.]+), StdDeviation += +([\d.]+)", hgrm(histogram(25_000, 75_000))).groups()
    )
    assert mean == pytest.approx(50, rel=0.0005)
    assert deviation == pytest.approx(25, rel=0.001)


def test_many_equal_values():
    made = Histogram()
    made.record(40, times=1_000_000)
    assert [value for _, value in plotted(hgrm(made))] == [0.04]


def test_values_before_zero_stay_visible():
    assert plotted(hgrm(histogram(-300, 200)))[0] == (1.0, -0.3)


def test_nothing_recorded():
    text = hgrm(Histogram())
    assert plotted(text) == []
    assert "#[Max     =        0.000, Total count    =            0]" in text
