"""From samples to tables: the search, the fit, the plan, what is kept, and what is said of it."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from tests.benchmarks import plan, results, search, table
from tests.benchmarks.__main__ import cli
from tests.benchmarks.bench import least_disturbed
from tests.benchmarks.fit import power_law
from tests.benchmarks.measures import MEASURES
from tests.benchmarks.program import ProgramError, compile_c
from tests.benchmarks.results import Machine, Results, Sample
from tests.benchmarks.rows import BY_NAME
from tests.documents import ROOT, code, rows

MACHINE = Machine(processor="A processor", cores=2, memory=8 << 30, kernel="6.1", python="3.11.7", load=0.02)


def sample(
    value: float | None, *, measure: str = "polls", subject: str = "everywire", wire: str = "poll", **more: object
) -> Sample:
    return Sample(measure=measure, subject=subject, wire=wire, value=value, **{"repeat": 0, **more})


def run(*samples: Sample, missing: dict[str, str] | None = None) -> Results:
    return Results(
        began="2026-01-02T03:04:05+00:00",
        seconds=61.0,
        repeats=3,
        quick=False,
        machine=MACHINE,
        versions={"hypercorn": {"hypercorn": "0.18.0"}},
        missing=missing or {},
        samples=list(samples),
    )


@pytest.mark.parametrize("limit", [1.0, 3.7, 100.0, 5_000.0, 123_456.0])
@pytest.mark.parametrize("start", [1.0, 50.0, 120.0, 1_000_000.0])
@pytest.mark.parametrize("first", [2.0, 1.1])
def test_a_search_comes_as_near_as_it_is_asked_to(limit: float, start: float, first: float) -> None:
    found = search.highest(lambda rate: rate <= limit, start, finest=1.05, first=first)
    assert found is not None
    assert limit / 1.051 <= found <= limit


@pytest.mark.parametrize(
    ("waited", "kept", "tries"),
    [([0.01], 0, 1), ([0.05, 0.0], 0, 1), ([0.5, 0.02], 1, 2), ([0.5, 0.2, 0.3], 1, 3), ([0.3, 0.5, 0.4, 0.0], 0, 3)],
)
def test_what_others_disturbed_is_measured_again_and_the_least_disturbed_is_kept(
    waited: list[float], kept: int, tries: int
) -> None:
    measured = [[sample(float(number), waited=each), sample(0.0, waited=0.0)] for number, each in enumerate(waited)]
    todo = iter(measured)
    assert least_disturbed(lambda: next(todo)) is measured[kept]
    assert len(list(todo)) == len(measured) - tries


def test_a_search_that_knows_where_to_look_needs_few_probes() -> None:
    probed = []
    search.highest(lambda rate: not probed.append(rate) and rate <= 115.0, 100.0, finest=1.1, first=1.1)
    assert probed == pytest.approx([100.0, 110.0, 133.1, 121.0])


def test_a_search_ends_where_nothing_is_good_and_where_all_is() -> None:
    assert search.highest(lambda rate: False, 1000.0, finest=1.1, least=8.0) is None
    assert search.highest(lambda rate: True, 1000.0, finest=1.1, most=64_000.0) == 64_000.0
    assert search.highest(lambda rate: True, 1e12, finest=1.1, most=64_000.0) == 64_000.0


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 0.5, 1.0, 2.0])
def test_a_planted_exponent_is_found(exponent: float) -> None:
    luck = random.Random(3)
    law = power_law([(x, 7 * x**exponent * luck.uniform(0.97, 1.03)) for x in (100, 300, 1_000, 10_000, 100_000)])
    assert law.exponent == pytest.approx(exponent, abs=0.02)
    assert law.factor == pytest.approx(7, rel=0.1)
    assert 1.0 < law.spread < 1.07


def test_a_point_off_the_line_shows() -> None:
    assert power_law([(1, 1), (10, 10), (100, 100), (1_000, 10_000)]).spread > 2


def test_one_size_has_no_exponent() -> None:
    with pytest.raises(ValueError, match="two different sizes"):
        power_law([(5, 1), (5, 2)])


def test_the_table_has_medians_their_spread_and_ratios() -> None:
    measured = [sample(value, repeat=number) for number, value in enumerate([90_000.0, 100_000.0, 120_000.0])]
    measured += [
        sample(5_000.0, subject="hypercorn"),
        sample(200_000.0, subject="c"),
        sample(None, subject="nchan", why="it fell over"),
    ]
    [section] = [each for each in table.sections(run(*measured)) if each.title == "Polls"]
    assert section.heads == ("", "median", "±", "× Hypercorn", "× C")
    assert section.rows == [
        ("C, one send per event", "200 k/s", "", "40.0", "1.00"),
        ("everywire", "100 k/s", "15%", "20.0", "0.50"),
        ("Hypercorn, plain ASGI", "5.00 k/s", "", "1.00", "0.03"),
        ("Nchan, nginx", "it fell over", "", "", ""),
    ]


def test_what_is_near_the_limit_of_the_load_client_is_marked() -> None:
    at_most = [sample(value, measure="ceiling", subject="c", wire="ws", at=at) for at, value in ((100.0, 10e6), (1.0, 4e6))]
    near = sample(8.5e6, measure="saturation", wire="ws", at=50.0)
    far = sample(3e6, measure="saturation", wire="ws", at=50.0, subject="hypercorn")
    said = table.text(run(*at_most, near, far))
    assert "8.50 M/s (at the limit of the load client)" in said
    assert "3.00 M/s (at" not in said


def test_small_is_good_where_it_costs() -> None:
    cost = [sample(value, measure="cpu", subject=name, wire="ws") for name, value in (("everywire", 3.0), ("c", 2.0))]
    [section] = [each for each in table.sections(run(*cost)) if each.title == "Cost"]
    assert [row[0] for row in section.rows] == ["C, one send per event", "everywire"]


def test_growth_is_told_with_its_exponent() -> None:
    points = [sample(2.0 * at, measure="sizes", wire="ws", at=float(at)) for at in (100, 1_000, 10_000)]
    said = table.markdown(run(*points))
    assert "| +1.00 | ×1.00 |" in said


def test_where_it_was_measured_and_what_was_not_is_told() -> None:
    said = table.markdown(run(sample(1.0), sample(2.0, waited=0.5), missing={"picows": "pip install picows"}))
    assert "A processor, 2 cores, 8 GiB, Linux 6.1, Python 3.11.7" in said
    assert "Hypercorn, plain ASGI: hypercorn 0.18.0" in said
    assert "picows was not measured: it needs pip install picows" in said
    assert "in 1 of 2 measurements" in said


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.5, "/s", "0.50 /s"),
        (999.0, "/s", "999 /s"),
        (12_345.0, "/s", "12.3 k/s"),
        (4.5e6, "/s", "4.50 M/s"),
        (0.25, "s", "250 ms"),
        (12.34, "s", "12.3 s"),
        (2048.0, "B", "2.00 KiB"),
        (7.654, "us", "7.65 µs"),
    ],
)
def test_figures_are_told_in_three_digits(value: float, unit: str, said: str) -> None:
    assert table.amount(value, unit) == said


def test_what_was_kept_is_read_again(tmp_path: Path) -> None:
    measured = run(sample(1.5, details={"p99": 3.0}), sample(None, why="no"))
    results.write(tmp_path, measured)
    assert results.read(tmp_path) == measured
    shown = CliRunner().invoke(cli, ["table", str(tmp_path)])
    assert (shown.exit_code, shown.output) == (0, table.markdown(measured))


def test_every_measure_is_planned_and_every_subject_is_measured() -> None:
    assert set(MEASURES) == set(plan.NAMES)
    lanes = plan.chosen(quick=False, only=[], subjects=[])
    assert {what.measure for what, _, _ in lanes} == set(MEASURES)
    assert {row.name for _, row, _ in lanes} == set(BY_NAME) - {"everywire-uvicorn", "everywire-granian"}


def test_a_quick_run_is_a_part_of_the_whole() -> None:
    whole = plan.chosen(quick=False, only=[], subjects=[])
    quick = plan.chosen(quick=True, only=[], subjects=[])
    assert quick
    assert len(quick) < len(whole) / 2
    assert all(lane in whole for lane in quick)


def test_what_is_asked_for_by_name_is_measured() -> None:
    lanes = plan.chosen(quick=True, only=["single", "sizes"], subjects=["everywire-uvicorn", "everywire"])
    assert {(what.measure, row.name) for what, row, _ in lanes} == {
        (measure, name) for measure in ("single", "sizes") for name in ("everywire-uvicorn", "everywire")
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "speed"], "there is no measure speed; there are ceiling, single"),
        (["--only", "following", "--subject", "c"], "nothing to measure"),
        (["table", "."], "no results that can be read"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(arguments: list[str], said: str) -> None:
    refused = CliRunner().invoke(cli, arguments)
    assert refused.exit_code != 0
    assert said in refused.output


def test_a_missing_compiler_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramError, match="no C compiler"):
        compile_c(tmp_path, "load")


def test_the_documentation_names_every_measure_and_every_subject() -> None:
    page = ROOT / "docs" / "reference" / "benchmarks.md"
    assert {code(measure) for measure, _ in rows(page, "## What is measured")} == set(MEASURES)
    named = [code(name) for names, _ in rows(page, "## Who is measured") for name in names.split(", ")]
    assert sorted(named) == sorted(BY_NAME)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_run_that_was_stopped_says_so(stopped: bool) -> None:
    told = " ".join(table.where(msgspec.structs.replace(run(), stopped=stopped)))
    assert ("stopped before their end" in told) is stopped
