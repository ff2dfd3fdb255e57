"""hgrm: a histogram as the text that HdrHistogram's plotting tools read, the "percentile distribution".

Four columns: the value in milliseconds, the share of all recorded values that do not exceed it, their number, and
1 / (1 - share), which is what the tools draw along their axis. The last line, for all of them, has no fourth. After it come
three lines of comment.

Source: `outputPercentileDistribution` and `PercentileIterator` of https://github.com/HdrHistogram/HdrHistogram, and its
`GoogleChartsExample/plotFiles.html`, which takes every line of four numbers that begins with no `#`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import accumulate

from ..histogram import Histogram

_TICKS = 5  # lines for each halving of the distance to 100 %, as is usual
_BUCKET_BITS = 11  # 2,048 values in the first bucket, and as many steps in each that is twice as wide


def hgrm(histogram: Histogram) -> str:
    """The text for durations that were recorded in microseconds. Of an empty histogram only the header and the comments."""
    header = "{:>12} {:>14} {:>10} {:>14}\n".format("Value", "Percentile", "TotalCount", "1/(1-Percentile)")
    return "\n".join([header, *_lines(histogram), *_footer(histogram), ""])


def _lines(histogram: Histogram) -> Iterator[str]:
    """One for each level up to that which the last recorded value reaches, and one for everything."""
    total, percent = len(histogram), 0.0
    for upto in _cumulated(histogram):
        while 100 * upto / total >= percent < 100:
            yield f"{_ms(histogram, percent)} {percent / 100:2.12f} {upto:10d} {100 / (100 - percent):14.2f}"
            percent += _step(percent)
            if upto == total:
                break
    if total:
        yield f"{_ms(histogram, 100)} {1:2.12f} {total:10d}"


def _cumulated(histogram: Histogram) -> Iterator[int]:
    """How many values there are up to and including each bucket."""
    return accumulate(histogram.counts[edge] for edge in sorted(histogram.counts))


def _step(percent: float) -> float:
    """To the next level: a fifth of the way to half the distance that was left at the last halving."""
    halvings = int(math.log2(100 / (100 - percent))) + 1
    return 100 / (_TICKS * 2.0**halvings)


def _ms(histogram: Histogram, percent: float) -> str:
    return f"{(histogram.percentile(percent) or 0) / 1000:12.3f}"


def _footer(histogram: Histogram) -> list[str]:
    total, most = len(histogram), histogram.most or 0
    mean, deviation = _moments(histogram)
    buckets = max(1, most.bit_length() - _BUCKET_BITS + 1)
    return [
        f"#[Mean    = {mean / 1000:12.3f}, StdDeviation   = {deviation / 1000:12.3f}]",
        f"#[Max     = {most / 1000:12.3f}, Total count    = {total:12d}]",
        f"#[Buckets = {buckets:12d}, SubBuckets     = {2**_BUCKET_BITS:12d}]",
    ]


def _moments(histogram: Histogram) -> tuple[float, float]:
    """Mean and standard deviation in microseconds, each value taken for the middle of its bucket."""
    values = [(_middle(edge), count) for edge, count in histogram.counts.items()]
    total = len(histogram) or 1
    mean = sum(value * count for value, count in values) / total
    return mean, math.sqrt(sum(count * (value - mean) ** 2 for value, count in values) / total)


def _middle(edge: int) -> float:
    """Of the bucket with this lower edge; of one that holds a single value, the value."""
    return edge + (1 << max(0, edge.bit_length() - _BUCKET_BITS)) // 2
