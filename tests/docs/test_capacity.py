"""The simulation behind the page on capacity: nothing gets lost in it, it is a queue as the textbook has it, and what the page
shows is what it says.
"""

from __future__ import annotations

import importlib
import random
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.documents import ROOT, blocks, commands

HERE = ROOT / "docs" / "explanation" / "experiments"
PAGE = HERE.parent / "capacity.md"


def load(name: str) -> ModuleType:
    """A script of the experiments, which import each other as neighbours."""
    sys.path.insert(0, str(HERE))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(HERE))


capacity, storm, worker = load("capacity"), load("storm"), load("worker")
COSTS = worker.Costs(
    publish=20e-6, turn=10e-6, item=2e-6, write=4e-6, cold=0.0, byte=0.5e-9, poll=10e-6, connect=200e-6, handshake=300e-6,
    beat=8e-6, envelope=90.0, memory=2700.0,
)  # fmt: skip


def events(times: list[float], channels: list[int] | None = None) -> list:
    return [worker.Event(each, each, channels[n] if channels else 0) for n, each in enumerate(times)]


# --- a worker

TIMES = st.lists(st.floats(0.0, 0.05), min_size=1, max_size=200).map(sorted)


@given(TIMES, st.integers(0, 3000), st.integers(1, 3), st.booleans(), st.sampled_from([0.0, 0.01]), st.data())
def test_every_event_reaches_every_reader_once(
    times: list[float], readers: int, channels: int, batching: bool, coalesce: float, data: st.DataObject
) -> None:
    of = [data.draw(st.integers(0, channels - 1)) for _ in times]
    subject = worker.Worker(COSTS, readers, 100, channels=channels, batching=batching, coalesce=coalesce)
    found = subject.run(events(times, of))
    following = [readers // channels + (channel < readers % channels) for channel in range(channels)]
    assert found.delays.count == sum(following[channel] for channel in of)


@given(TIMES, st.integers(1, 3000), st.booleans())
def test_nothing_costs_less_than_its_work_and_no_core_does_two_things(times: list[float], readers: int, batching: bool) -> None:
    found = worker.Worker(COSTS, readers, 100, batching=batching).run(events(times))
    assert found.cpu <= found.seconds + 1e-9
    one = COSTS.publish + COSTS.turn + COSTS.item
    assert found.delays.percentile(0.0001) >= one / 1.02
    if not batching:
        assert found.cpu == pytest.approx(len(times) * (COSTS.publish + COSTS.pass_of(readers, 1, 100)))


@pytest.mark.parametrize("load_", [0.3, 0.6, 0.8])
def test_without_batches_it_is_an_m_d_1_queue(load_: float) -> None:
    work = COSTS.publish + COSTS.pass_of(200, 1, 100)
    times = worker.by_chance(load_ / work, 40_000 * work / load_, random.Random(1))
    found = worker.Worker(COSTS, 200, 100, batching=False).run(events(times))
    # Pollaczek and Khinchine: with a service that always takes the same, the mean wait is load * work / 2 (1 - load).
    writing = COSTS.pass_of(200, 1, 100) - COSTS.turn - COSTS.item  # reader by reader: half of it, for the one in the middle
    waited = found.delays.mean - (work - writing / 2)
    assert waited == pytest.approx(load_ * work / (2 * (1 - load_)), rel=0.05)


def test_more_work_means_more_delay() -> None:
    def p99(readers: int, rate: float, size: int) -> float:
        found = worker.Worker(COSTS, readers, size).run(worker.at_once(worker.regular(rate, 2.0)))
        return found.delays.percentile(0.99)

    for growing in (
        [p99(readers, 100, 100) for readers in (10, 100, 1000, 10_000)],
        [p99(2000, rate, 100) for rate in (10, 100, 1000, 10_000)],
        [p99(200, 100, size) for size in (100, 1000, 10_000, 60_000)],
    ):
        assert growing == sorted(growing)
        assert growing[-1] > 2 * growing[0]


def test_batches_hold_the_delay_where_single_events_would_pile_up() -> None:
    def p99(batching: bool, seconds: float) -> float:
        rate = 5 / (COSTS.publish + COSTS.pass_of(1000, 1, 100))  # five times what one by one takes
        found = worker.Worker(COSTS, 1000, 100, batching=batching).run(worker.at_once(worker.regular(rate, seconds)))
        return found.delays.percentile(0.99)

    assert p99(True, 4.0) < 1.1 * p99(True, 2.0)
    assert p99(False, 4.0) > 1.9 * p99(False, 2.0)


def test_coalescing_writes_no_more_often_than_it_says() -> None:
    subject = worker.Worker(COSTS, 500, 100)
    told = worker.at_once(worker.regular(500.0, 2.0))
    often, seldom = subject.run(told), subject._replace(coalesce=0.1).run(told)
    assert seldom.passes <= 2.0 / 0.1 + 1 < often.passes
    assert seldom.cpu < often.cpu / 5
    assert seldom.delays.percentile(1.0) < 0.1 + 2 * COSTS.pass_of(500, 50, 100)
    assert seldom.delays.count == often.delays.count


def test_a_core_that_others_use_is_slower() -> None:
    told = worker.at_once(worker.regular(50.0, 1.0))
    alone, shared = (worker.Worker(COSTS, 1000, 100, busy=busy).run(told) for busy in (0.0, 0.5))
    assert shared.delays.mean == pytest.approx(2 * alone.delays.mean)
    assert shared.cpu == pytest.approx(alone.cpu)


def test_a_core_that_has_rested_pays_more() -> None:
    subject = worker.Worker(COSTS._replace(cold=4e-6), 100, 100)
    seldom, often = (subject.run(worker.at_once(worker.regular(rate, 1.0))) for rate in (10.0, 1500.0))
    assert seldom.delays.mean > 1.5 * often.delays.mean


def test_the_same_luck_gives_the_same_and_another_another() -> None:
    def found(seed: int) -> float:
        told = worker.through_broker(worker.regular(200.0, 1.0), 0.001, random.Random(seed))
        return worker.Worker(COSTS, 500, 100).run(told).delays.mean

    assert found(1) == found(1) != found(2)


@given(st.integers(0, 1_000_000), st.integers(1, 300), st.integers())
def test_readers_are_spread_and_none_is_left_over(readers: int, workers: int, seed: int) -> None:
    shares = worker.spread(readers, workers, random.Random(seed))
    assert (len(shares), sum(shares), min(shares) >= 0) == (workers, readers, True)


def test_readers_are_spread_as_by_chance() -> None:
    shares = worker.spread(1_000_000, 100, random.Random(1))
    assert 0 < max(shares) - 10_000 < 5 * 100  # the deviation of a binomial share is about 100


# --- a storm


def test_all_come_back_and_none_before_it_can() -> None:
    luck = random.Random(1)
    starts = [luck.uniform(0.0, 0.1) for _ in range(5_000)]
    found = storm.storm(starts, 200e-6, luck, down=1.0)
    assert len(found.away) == 5_000
    assert all(away > max(start, 1.0) for away, start in zip(found.away, starts, strict=True))
    assert max(found.away) >= 1.0 + 5_000 * 200e-6


def test_who_comes_one_by_one_waits_for_nobody() -> None:
    starts = [n * 0.001 for n in range(1_000)]
    found = storm.storm(starts, 200e-6, random.Random(1))
    assert found.away == pytest.approx([start + 200e-6 for start in starts])
    assert (found.opened, found.in_vain, found.unheard) == (1_000, 0, 0)


@pytest.mark.parametrize(("backlog", "unheard"), [(100, True), (5_000, False)])
def test_a_backlog_that_is_full_hears_nobody(backlog: int, unheard: bool) -> None:
    found = storm.storm([0.0] * 2_000, 50e-6, random.Random(1), backlog=backlog, rungs=1)
    assert (found.unheard > 0) is unheard
    assert (found.share(1.0) >= 1.0) is unheard  # then TCP tries again after a second, and not before


def test_who_is_not_answered_in_time_asks_over_other_transports_too_and_that_costs() -> None:
    patient, hasty = (storm.storm([0.0] * 2_000, 500e-6, random.Random(1), rungs=rungs) for rungs in (1, 3))
    assert patient.opened == 2_000
    assert hasty.in_vain == hasty.opened - 2_000 > 1_000


def test_a_crowd_that_is_spread_costs_nothing_in_vain() -> None:
    found = {how: capacity.coming_back(COSTS, 10_000, how) for how in capacity.RESTARTS}
    assert found["wide"][2] + found["wide"][3] < (found["bye"][2] + found["bye"][3]) / 2


# --- a plan

ASKED = capacity.Asked(readers=50_000, rate=5.0, size=200)


def test_a_plan_keeps_its_promises_and_one_worker_fewer_would_not() -> None:
    found = capacity.plan(COSTS, ASKED)
    assert found.p99 <= ASKED.late
    assert found.cpu <= ASKED.core
    assert all(share.share <= 1 for share in found.shares if share.what in ("CPU of a core", "delay", "connections of a process"))
    assert not capacity.fits(COSTS, ASKED, found.workers - 1)


@pytest.mark.parametrize(
    "harder", [{"readers": 200_000}, {"rate": 50.0}, {"size": 20_000}, {"late": 0.02}, {"descriptors": 1_000}, {"polls": True}]
)
def test_what_is_harder_needs_more_workers(harder: dict[str, float]) -> None:
    assert capacity.plan(COSTS, ASKED._replace(**harder)).workers > capacity.plan(COSTS, ASKED).workers


def test_collecting_events_and_following_fewer_of_them_needs_fewer_workers() -> None:
    asked = ASKED._replace(rate=100.0, late=0.2)
    all_of_it = capacity.plan(COSTS, asked).workers
    assert capacity.plan(COSTS, asked._replace(coalesce=0.1)).workers < all_of_it / 2
    assert capacity.plan(COSTS, asked._replace(channels=100)).workers < all_of_it / 2


def test_what_every_worker_has_to_take_is_cured_by_shards_alone() -> None:
    asked = ASKED._replace(rate=40_000.0, channels=1_000)
    with pytest.raises(ValueError, match="shards"):
        capacity.plan(COSTS, asked)
    assert capacity.plan(COSTS, asked._replace(shards=4)).workers > 1


# --- the page


def test_what_was_measured_and_what_is_simulated_are_alike() -> None:
    measured = capacity.kept()
    for point in measured.checks:
        found = capacity.simulated_check(measured.costs, point)
        assert 0.5 < found.p50 / point.p50 < 2
        assert 0.5 < found.cpu / point.cpu < 2


def test_the_plan_of_the_page_is_what_the_script_says() -> None:
    (block,) = [block for block in blocks(PAGE, "console") if " plan " in block.text]
    (words,) = commands(block)
    done = subprocess.run([sys.executable, *words[1:]], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert block.text.partition("\n")[2] == done.stdout


@pytest.mark.real
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler, which the readers are made with")
def test_a_reader_that_waits_holds_as_little_as_the_page_on_memory_says(tmp_path: Path) -> None:
    memory = load("memory")
    program = memory.compile_c(tmp_path, "load")["load"]
    found = memory.parts(program, "wait", front=True, readers=300)
    assert found["transports.front.connection.Connection"].count == pytest.approx(1.0, abs=0.2)  # a few of before, perhaps
    assert sum(part.size for part in found.values()) < 3_500
