"""Every command of the documentation is typed: by the tests of its page, or here, and shorter where it would take long.

What would install or check everything again is not; `LEFT` says which, and why.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import re
import shlex
import signal
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement

from locustfiles import samples
from tests.docs.learner import Shell, line
from tests.docs.test_comparison import TINY
from tests.documents import PAGES, ROOT, blocks, steps
from tests.ports import free_port

EXPERIMENTS = ROOT / "docs" / "explanation" / "experiments"

# Pages whose commands are all typed by a test of their own, and how many commands those are.
TYPED = {
    "docs/tutorials/break-the-network.md": (6, "tests/docs/test_tutorials.py"),
    "docs/tutorials/first-live-event.md": (14, "tests/docs/test_tutorials.py"),
    "docs/tutorials/from-one-process-to-two.md": (18, "tests/docs/test_tutorials.py"),
    "docs/tutorials/live-board.md": (1, "tests/browser/test_tutorials.py"),
    "docs/tutorials/one-event-four-ways.md": (8, "tests/docs/test_tutorials.py"),
}
# Commands that other tests type, or that are not typed at all, and why.
LEFT = {
    r"python clock\.py": "tests/test_readme.py runs it",
    r"python3 -m venv|\.venv/bin/(pip|everywire) ": "tests/test_wheel.py types it",
    r"everywire compare .*--subject mine\.py": "tests/docs/test_comparison.py types it",
    r"everywire compare --scenario question\.py": "tests/docs/test_comparison.py types it",
    r"locust .*--headless": "tests/docs/test_comparison.py types it",
    r"\.venv/bin/python -m pytest|\.venv/bin/ruff": "the tests and the checks themselves",
    r"python -m tests\.benchmarks ": "tests/benchmarks plays each measure, and reads its arguments; with peers it takes minutes",
    r"python \S+/capacity\.py measure": "waits until nobody else wants the cores; test_capacity.py simulates what it kept",
    r"python \S+/capacity\.py plan --readers 100000": "test_experiments.py and test_capacity.py hold its page against it",
}


class Typed(NamedTuple):
    """A command, and where it stands first."""

    page: str
    command: str
    before: tuple[str, ...]  # the variables that are set above it

    def __str__(self) -> str:
        return f"{self.page}: {self.command}"


def found() -> Iterator[Typed]:
    """All commands of all pages, each once."""
    seen = set()
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        for block in blocks(page, "console") if name not in TYPED else []:
            before: tuple[str, ...] = ()
            for command, _ in steps(block):
                command = command.partition("    #")[0].rstrip()
                if command.startswith("export "):
                    before += (command,)
                elif command not in seen:
                    seen.add(command)
                    yield Typed(name, command, before)


COMMANDS = list(found())
HERE = [typed for typed in COMMANDS if not any(re.match(left, typed.command) for left in LEFT)]


def test_what_others_type_is_there() -> None:
    for name, (count, test) in TYPED.items():
        assert sum(len(steps(block)) for block in blocks(ROOT / name, "console")) == count, f"type what is new in {name}"
        assert Path(name).name.removesuffix(".md") in (ROOT / test).read_text()
    for left in LEFT:
        assert any(re.match(left, typed.command) for typed in COMMANDS), f"nobody types {left} any more"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Somebody at a prompt, with the files that the pages speak of."""
    (tmp_path / "shop.py").write_text(blocks(ROOT / "docs" / "how-to" / "test-your-app.md", "python")[0].text)
    (tmp_path / "reader.py").write_text(
        blocks(ROOT / "docs" / "how-to" / "load-test-in-your-own-locustfile.md", "python")[0].text
    )
    (tmp_path / "mixed.py").write_text(blocks(ROOT / "docs" / "how-to" / "load-test-in-your-own-locustfile.md", "python")[2].text)
    return Shell(tmp_path, **{f"p{port}": str(free_port()) for port in (8000, 8100, 8101)})


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The port of what `make run` starts, which is what most commands are typed at."""
    shell = Shell(tmp_path_factory.mktemp("lab"), p8000=str(free_port()))
    with shell.typed(shell.here("everywire lab"), seconds=3600) as running:
        line(running, "everywire lab at")
        yield shell.instead["8000"]


def ended(shell: Shell, command: str) -> tuple[int, str]:
    """Type it, wait for its end, and give its exit code and what it printed."""
    with shell.typed(command) as running:
        printed = running.communicate()[0]
    return running.returncode, printed


# --- how each kind of command is typed, and what must come


def made(shell: Shell, typed: Typed) -> None:
    """What `make` would do: it has a rule for it."""
    code, printed = ended(shell, f"make --dry-run --directory {ROOT} {typed.command.removeprefix('make ')}")
    assert code == 0, printed
    assert "Nothing to be done" not in printed


def installed(_: Shell, typed: Typed) -> None:
    """What `pip` would fetch is what was fetched for the tests."""
    names = re.search(r"\.\[([\w,]+)\]", typed.command)[1].split(",")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = [Requirement(each) for name in names for each in extras[name]]
    wanted = [each for each in wanted if each.name != "everywire" and (each.marker is None or each.marker.evaluate())]
    assert wanted
    assert all(importlib.metadata.version(each.name) in each.specifier for each in wanted)


def compared(shell: Shell, typed: Typed, lab: str) -> None:
    """A comparison of just what was asked for, but of few events."""
    words = shlex.split(typed.command)
    asked = {name: [after for word, after in itertools.pairwise(words) if word == name] for name in words}
    output = (asked.get("--output") or ["found"])[0]
    alone = "" if {"--transport", "--subject"} & asked.keys() else " --transport sse"  # of three, if none is named
    longer = " --seconds 3" if "--scenario" in asked else ""  # until it does something
    command = f"{typed.command}{alone} {shlex.join(TINY)}{longer} --output {output}".replace("8000", lab)
    code, printed = ended(shell, command)
    assert code in ({0, 3, 4} if "--slo" in asked else {0, 4}), printed
    run = samples.decode((shell.directory / output / "run.json").read_bytes())
    assert run.complete
    assert run.plan.scenario == (asked.get("--scenario") or ["fanout"])[0]
    assert {lane.network for lane in run.lanes()} == set(asked.get("--network") or ["open"])
    subjects = {lane.subject for lane in run.lanes()}
    assert "--url" in asked or subjects == set(asked.get("--subject") or ["everywire"])
    assert {lane.transport for lane in run.lanes()} >= set(asked.get("--transport") or ["sse"])
    assert len(run.plan.slo) == len(asked.get("--slo") or [])
    assert (shell.directory / output / "index.html").exists()


def read_again(shell: Shell, typed: Typed) -> None:
    """A command about runs that are there."""
    code, printed = ended(shell, f"everywire compare --transport sse {shlex.join(TINY)} --output one")
    assert code in {0, 4}, printed
    for name in re.findall(r"[\w/]+\.json", typed.command):
        file = shell.directory / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes((shell.directory / "one" / "run.json").read_bytes())
    code, printed = ended(shell, typed.command)
    assert code in {0, 4}, printed  # of a run and itself; a busy machine may make it untrustworthy
    assert "SSE" in printed


def served(shell: Shell, typed: Typed) -> None:
    """A server that starts, and ends when it is told to."""
    command = typed.command.replace("/var/lib/everywire", str(shell.directory))
    with shell.typed(f"exec {shell.here(command)}") as running:
        line(running, rf"everywire serves http://127\.0\.0\.1:{shell.instead['8000']}/")
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 0, running.stdout.read()


def played(shell: Shell, typed: Typed) -> None:
    """A network that says what it is, and ends when its input does."""
    with shell.typed(f"exec {shell.here(typed.command)}") as running:
        network = re.search(r"--network (\S+)", typed.command)[1]
        line(running, rf"everywire plays {network} at .*, in front of 127\.0\.0\.1:{shell.instead['8000']}")
        running.send_signal(signal.SIGINT)
        assert running.wait(30) in {0, 130}, running.stdout.read()


def small(more: str = "", **sizes: str) -> Callable[[Shell, Typed], None]:
    """A program that measures, with smaller numbers for its options."""

    def play(shell: Shell, typed: Typed) -> None:
        command = typed.command
        for name, size in sizes.items():
            command = re.sub(rf"--{name} \S+", f"--{name} {size}", command)
        code, printed = ended(shell, command.replace("docs/", f"{ROOT}/docs/") + more)
        assert code == 0, printed

    return play


def smaller(*lines: str, arguments: str = "") -> Callable[[Shell, Typed], None]:
    """A program of the experiments, with these lines instead of those that begin alike; arguments choose parts of it."""

    def play(shell: Shell, typed: Typed) -> None:
        path = ROOT / re.search(r"\S+\.py", typed.command)[0]
        text = path.read_text()
        for instead in lines:
            names = instead.partition(" = ")[0]
            text, times = re.subn(rf"^{names} = .*$", instead, text, flags=re.MULTILINE)
            assert times == 1, f"{path.name} has no {names}"
        (shell.directory / "smaller.py").write_text(text)
        started = "exec(compile(open('smaller.py').read(), sys.argv[0], 'exec'))"
        program = f"import sys; __file__ = sys.argv[0] = {str(path)!r}; sys.path.insert(0, {str(path.parent)!r}); {started}"
        code, printed = ended(shell, f"python -c {shlex.quote(program)} {arguments}")
        assert code == 0, printed
        assert printed.strip()

    return play


def crowd(shell: Shell, typed: Typed, lab: str) -> None:
    """Locust with its page, on ports of its own; with a master, also its worker."""
    bus, page = free_port(), free_port()
    command = re.sub(r"10\.0\.0\.\d", "127.0.0.1", typed.command).replace("8000", lab)
    if "--worker" in command or "--processes" in command:
        command += f" --master-port {bus}"
    if "--worker" in command:
        beside, came = f"locust -f mixed.py --master --host http://127.0.0.1:{lab}", "reported as ready"
    else:
        beside, came = "", "Starting web interface|web interface at"
    serving = f" --web-port {page} --web-host 127.0.0.1"
    if "--processes" in command:
        came = "reported as ready"
    with shell.typed(f"exec {beside or command}{serving} --master-bind-port {bus}") as running:
        if beside:
            with shell.typed(f"exec {command}"):
                line(running, came)
        else:
            line(running, came)


def asked(shown: str, more: str = "", *, before: str = "", codes: tuple[int | None, ...] = (0,)) -> Callable[..., None]:
    """A question to the server that runs: `shown` must come. A code of None: it goes on, and is ended.

    Args:
        shown: a regular expression for a line.
        more: options that make it shorter.
        before: what is typed before it.
        codes: how it may end.
    """

    def play(shell: Shell, typed: Typed, lab: str) -> None:
        command = re.sub(r"https?://live\.example", f"http://127.0.0.1:{lab}", typed.command).replace("8000", lab)
        with shell.typed(f"{before}{command}{more}") as running:
            line(running, shown)
            if None not in codes:
                rest = running.stdout.read()
                assert running.wait(60) in codes, rest

    return play


def balanced(shell: Shell, typed: Typed) -> None:
    """Processes that share a broker, one of them alone."""
    with shell.typed(shell.here("everywire serve --broker sqlite:///events.db")) as running:
        line(running, "everywire serves")
        code, printed = ended(shell, typed.command)
    assert code == 0, printed
    assert "That is even enough." in printed


def let_in(shell: Shell, typed: Typed) -> None:
    """With what is exported above it somebody gets in, and without it not."""
    (app,) = [block.text for block in blocks(ROOT / typed.page, "python") if "async def load" in block.text]
    port = shell.instead["8000"]
    (shell.directory / "app.py").write_text(f"{app}\nlive.run(port={port})\n")
    with shell.typed("exec python app.py") as server:
        line(server, port)
        with shell.typed(shell.here(f"{'; '.join(typed.before)}; {typed.command} -v")) as reader:
            line(reader, "open: Live over")
        code, printed = ended(shell, shell.here(typed.command))
    assert code != 0
    assert "4401" in printed


PLAYED: dict[str, Callable[..., None]] = {
    r"make ": made,
    r"pip install ": installed,
    r"everywire compare": compared,
    r"everywire (diff|report) ": read_again,
    r"everywire serve": served,
    r"everywire proxy": played,
    r"locust ": crowd,
    r"python -m tests\.hostile\.": small(" --edge front", count="100", cycles="10", minutes="0.05"),
    r"python \S+/(capacity\.py plan|figures\.py)": small(),
    r"python \S+/costs\.py": smaller("READERS, IDLE, SECONDS, GOOD = 4, 8, 0.2, 0.25", arguments="websocket slow"),
    r"python \S+/first_event\.py": smaller("ROUNDS, FEWER = 1, 1", "WARM = 0", arguments="refused"),
    r"python \S+/formats\.py": smaller("READERS, EVENTS, PACE, REPEATS = 4, 8, 0.005, 1", arguments="sizes reading front"),
    r"python \S+/details\.py": smaller("KEPT = 200", "ROUNDS, TIMES = 1, 20", arguments="redis heads"),
    r"python \S+/hostile\.py": smaller(arguments="front --count 60 --cycles 10 --minutes 0.02"),
    r"python \S+/memory\.py": smaller("WARM = 2", "BEAT = 0.5", arguments="--readers 20 ws-on"),
    r"python \S+/redis_latency\.py": smaller("ROUNDS, EVENTS, SIZE = 1, 5, 100", "WARM = 0", arguments="nothing always"),
    r"python \S+/schemas\.py": smaller("ROUNDS, TIMES = 1, 20"),
    r"python \S+/who_and_what\.py": smaller("ROUNDS, POLLS, READERS, PAIRS = 1, 20, 20, 100"),
    r"vmstat .*\| everywire publish": asked("published 2 to vmstat", before="vmstat() { printf 'r b\\n1 0\\n'; }; "),
    r"journalctl .*\| everywire publish": asked("published 1 to journal", before="journalctl() { echo '{\"MESSAGE\": 1}'; }; "),
    r"everywire tail .* room\.lobby": let_in,
    r"everywire tail .*--wire": asked('"type":"hello"'),
    r"everywire tail .* -v": asked("open: Live over WebSocket", codes=(None,)),
    r"everywire tail .*\| head": asked('"channel":"vitals"', codes=(0, 1)),
    r"everywire tail": asked('"channel":"vitals"', codes=(None,)),
    r"everywire doctor": asked("WebSocket works", " --quick"),
    r"everywire advise": asked("^Nothing that was found speaks for a change|^\\w+ = "),
    r"everywire conformance": asked(r"\d+ passed, 0 failed", " --only resume"),
    r"everywire contract": asked(r'^\W*(asyncapi|openapi)"?: "?3', codes=(0,)),
    r"everywire rebalance": balanced,
    r"curl -N": asked("event: hello", codes=(None,)),
    r"curl \S+/metrics": asked("everywire_", codes=(None,)),
    r"curl -i .*evil": asked("4403"),
    r"curl -H .*commands": asked('"ok":true'),
}


@pytest.mark.real
@pytest.mark.timeout(150)
@pytest.mark.parametrize("typed", HERE, ids=str)
def test_what_is_typed_does_what_it_says(typed: Typed, shell: Shell, request: pytest.FixtureRequest) -> None:
    play = next((play for pattern, play in PLAYED.items() if re.match(pattern, typed.command)), None)
    assert play is not None, "a command that nobody types: say how, or who does, or why not"
    needs = [request.getfixturevalue("lab")] if "lab" in play.__annotations__ else []
    play(shell, typed, *needs)
