"""What is kept of runs of the benchmarks: a measure is of the run that made it last, and the page tells of those."""

from __future__ import annotations

from typing import Any

from tests.docs.test_capacity import load

benchmarks = load("benchmarks")
NOTHING: dict[str, Any] = {"runs": [], "samples": []}


def sample(measure: str, value: float, subject: str = "everywire", wire: str = "ws", at: float = 0.0, waited: float = 0.0) -> Any:
    return {"measure": measure, "subject": subject, "wire": wire, "at": at, "value": value, "waited": waited}


def run(day: int, *samples: Any, processor: str = "A processor", **versions: str) -> dict[str, Any]:
    machine = {"processor": processor, "cores": 2, "kernel": "6.18.44-x", "python": "3.11.7", "load": 0.1}
    began = f"2026-01-{day:02}T03:04:05+00:00"
    return {"began": began, "seconds": 1.0, "machine": machine, "versions": {"everywire": versions}, "samples": list(samples)}


def measures(kept: dict[str, Any]) -> list[list[str]]:
    return [run["measures"] for run in kept["runs"]]


def test_a_measure_made_anew_replaces_what_was_kept_and_nothing_else() -> None:
    first = run(1, sample("single", 1.0), sample("single", 2.0, "c"), sample("connects", 3.0), sample("cpu", 4.0))
    kept = benchmarks.keep(NOTHING, [first])
    assert measures(kept) == [["connects", "cpu", "single"]]
    kept = benchmarks.keep(kept, [run(2, sample("single", 5.0), sample("single", 6.0)), run(3, sample("cpu", 7.0))])
    assert measures(kept) == [["connects"], ["single"], ["cpu"]]
    assert [(each[0], each[1], each[4]) for each in kept["samples"]] == [
        ("connects", "everywire", 3.0), ("single", "everywire", 5.0), ("single", "everywire", 6.0), ("cpu", "everywire", 7.0),
    ]  # fmt: skip
    assert measures(benchmarks.keep(kept, [run(4, sample("connects", 8.0), sample("cpu", 9.0))])) == [
        ["single"],
        ["connects", "cpu"],
    ]


def test_only_what_is_shown_is_kept() -> None:
    flat = [sample("flatness", 1.0, subject, at=at) for subject in ("everywire", "c") for at in (100.0, 500.0)]
    kept = benchmarks.keep(
        NOTHING, [run(1, *flat, sample("publish", 2.0, wire=""), sample("sizes", 3.0), sample("single", 4.0, "granian"))]
    )
    assert [each[:4] for each in kept["samples"]] == [["flatness", "everywire", "ws", 100.0], ["publish", "everywire", "", 0.0]]


def test_what_is_kept_says_how_often_when_and_on_what() -> None:
    often = [sample(name, 1.0, waited=waited) for name in ("single", "cpu") for waited in (0.0, 0.05, 0.2)]
    kept = benchmarks.keep(NOTHING, [run(1, *often, uvloop="0.23.0"), run(1, sample("connects", 1.0), nchan="1:1.3.6+dfsg-2")])
    said = benchmarks.runs(kept).splitlines()
    assert said[0] == "Medians of 3 repeats (connects: 1), in which all who are compared took turns."
    assert said[1] == "Measured on 2026-01-01, on a machine of 2 cores (A processor), Linux 6.18, Python 3.11.7."
    assert said[2] == "With nchan 1.3.6, uvloop 0.23.0."
    assert said[3].startswith("In 2 of 7 measurements shown here ")
    said = benchmarks.runs(benchmarks.keep(kept, [run(9, sample("cpu", 1.0), processor="Another", uvloop="0.24.0")])).splitlines()
    assert said[1].startswith("Connects, single: measured on 2026-01-01, ")
    assert said[2] == "Cpu: measured on 2026-01-09, on a machine of 2 cores (Another), Linux 6.18, Python 3.11.7."
    assert said[3] == "With nchan 1.3.6, uvloop 0.23.0 and 0.24.0."
