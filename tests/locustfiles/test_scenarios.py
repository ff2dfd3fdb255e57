"""Scenarios: what holds for every one of them, and each once for real, as small as it gets."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from locustfiles.conducting.conductor import Cast, calibration
from locustfiles.conducting.planning import quickened
from locustfiles.conducting.stage import Server, Stop
from locustfiles.judging.capacity import STEPS
from locustfiles.judging.verdict import POINTS
from locustfiles.plan import Plan, Scenario
from locustfiles.samples import Sample
from locustfiles.subjects import subject
from transports.ladder import LADDER
from transports.networks import network

REPOSITORY = Path(__file__).parents[2]
SCENARIOS = sorted(file for file in (REPOSITORY / "locustfiles" / "scenarios").glob("*.py") if file.stem != "__init__")
NAMES = [file.stem for file in SCENARIOS]
USERS = {"websocket": "WebSocketReader", "sse": "SSEReader", "longpoll": "LongPollReader", "negotiated": "NegotiatedReader"}
STANDARD, QUICK = 600, 90  # seconds that a whole scenario may take
BETWEEN = 3  # seconds that a round takes beyond its publishing
TRIES = 7  # steps of a search for the capacity that begins near enough

LOOK = """
import json, sys
import msgspec
from locust.util.load_locustfile import load_locustfile
found = {}
for path in sys.argv[1:]:
    users, _ = load_locustfile(path)
    module = sys.modules[path.rpartition("/")[2].removesuffix(".py")]
    found[path] = sorted(users), msgspec.to_builtins(module.SCENARIO)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[list[str], Scenario]]:
    """The users that Locust finds in each file, and its numbers; from a process of its own, which Locust patches."""
    command = [sys.executable, "-c", LOOK, *map(str, SCENARIOS)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return {
        Path(path).stem: (users, msgspec.convert(numbers, Scenario)) for path, (users, numbers) in json.loads(done.stdout).items()
    }


def docstring(name: str) -> str:
    return ast.get_docstring(ast.parse((SCENARIOS[NAMES.index(name)]).read_text("utf-8"))) or ""


def gets_through(transport: str, name: str) -> bool:
    """As the table of networks has it: all that are not better than the one that should be chosen."""
    ladder = [each.name for each in LADDER]
    return transport not in ladder or ladder.index(transport) >= ladder.index(network(name).wins)


def estimate(scenario: Scenario, steps: int) -> float:
    """Seconds that all rounds take together, and those of the calibration before them."""
    rounds = [
        (scenario.seconds if gets_through(transport, name) else scenario.patience) + BETWEEN
        for name in scenario.networks
        for transport in scenario.transports
    ]
    plan = msgspec.convert(msgspec.structs.asdict(scenario), Plan)
    instrument = calibration(plan, Cast(Path(), USERS, {}))
    before = len(instrument.transports) * instrument.repeats * (instrument.seconds + BETWEEN)
    return before + sum(rounds) * (steps if scenario.goal else scenario.repeats)


def test_there_are_twelve() -> None:
    assert len(NAMES) == 12


@pytest.mark.parametrize("name", NAMES)
def test_it_begins_with_its_question_and_ends_with_what_answers_it(name: str) -> None:
    text = docstring(name)
    first, *_, last = text.split("\n\n")
    assert first.count("?") == 1
    assert first.endswith("?")
    assert "." not in first
    assert last.startswith("Answered by: ")
    assert " Void, if " in last
    assert f"locust -f locustfiles/scenarios/{name}.py --host " in text
    assert f"everywire compare{'' if name == 'fanout' else f' --scenario {name}'}\n" in text.replace("  ", "\n")


@pytest.mark.parametrize("name", NAMES)
def test_locust_finds_the_users_that_it_asks_for(name: str, found: dict[str, tuple[list[str], Scenario]]) -> None:
    users, scenario = found[name]
    assert users == sorted(USERS[transport] for transport in scenario.transports)


@pytest.mark.parametrize("name", NAMES)
def test_its_numbers_fit_each_other(name: str, found: dict[str, tuple[list[str], Scenario]]) -> None:
    _, scenario = found[name]
    assert set(scenario.quick) <= set(Scenario.__struct_fields__)
    for numbers in (scenario, quickened(scenario)):
        assert numbers.rate * numbers.seconds >= 2
        assert 60 <= numbers.size <= 30_000
        assert numbers.follows <= numbers.channels
        assert numbers.answered_by in POINTS
    assert all(network(each) for each in scenario.networks)
    for fault in scenario.faults:
        assert fault.at + fault.lasts < scenario.seconds
        if fault.do.startswith("network "):
            assert network(fault.do.removeprefix("network "))
            assert fault.lasts
        else:
            assert fault.do in {"cut", "close", "forget", "restart", "kill"}


@pytest.mark.parametrize("name", NAMES)
def test_it_takes_no_longer_than_one_would_wait(name: str, found: dict[str, tuple[list[str], Scenario]]) -> None:
    _, scenario = found[name]
    assert estimate(scenario, STEPS) <= STANDARD
    assert estimate(quickened(scenario), TRIES) <= QUICK


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Server(subject("everywire"), tmp_path_factory.mktemp("server"), Stop()) as running:
        running.wait()
        yield running.url


@pytest.mark.real
@pytest.mark.parametrize("name", NAMES)
def test_it_is_played(name: str, found: dict[str, tuple[list[str], Scenario]], server: str, tmp_path: Path) -> None:
    """With its own channels, bursts, sizes and talkers, but few of all, and in Locust as `compare` starts it."""
    users, scenario = found[name]
    tiny = {"readers": len(users), "rate": 40.0, "seconds": 0.5, "says": scenario.says * 16, "patience": 20.0}
    plan = msgspec.convert(msgspec.structs.asdict(scenario) | tiny | {"scenario": name}, Plan)
    (tmp_path / "plan.json").write_bytes(msgspec.json.encode(plan))
    command = [sys.executable, "-m", "locust", "--headless", "--loglevel", "WARNING", "-f", str(SCENARIOS[NAMES.index(name)])]
    command += ["--host", server, "-u", str(plan.readers), "-r", str(plan.readers), "--channel", name]
    command += ["--plan", str(tmp_path / "plan.json"), "--samples", str(tmp_path / "sample.json"), *users]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    sample = msgspec.json.decode((tmp_path / "sample.json").read_bytes(), type=Sample)
    assert (sample.readers, sample.ready) == (plan.readers, plan.readers)
    assert sample.published.last == 19
    assert sample.published.size == scenario.size
    tally = sample.tally
    heard = plan.readers * 20 * plan.follows // plan.channels
    assert tally.expected >= heard // 2  # they follow in turn: not all channels are heard by equally many
    assert (tally.delivered, tally.lost, tally.doubled, tally.disordered) == (tally.expected, 0, 0, 0)
    assert bool(len(sample.acknowledged)) == bool(scenario.says)
    assert sample.failures == {}
