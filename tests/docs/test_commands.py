"""Every command of the documentation is typed: by the tests of its page, or here, and shorter where it would take long.

What changes the project is typed in a copy of it, and what would install something finds all of it installed. One command is not
typed: `make test`, because it is what runs these tests.
"""

from __future__ import annotations

import inspect
import itertools
import re
import shlex
import shutil
import signal
import sysconfig
import urllib.request
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from locustfiles import samples
from tests.benchmarks import results
from tests.docs.learner import Shell, ended, line
from tests.docs.test_comparison import TINY
from tests.documents import PAGES, ROOT, blocks, copied, make, steps
from tests.ports import free_port

# Pages whose commands are all typed by a test of their own, and how many commands those are.
TYPED = {
    "docs/tutorials/break-the-network.md": (6, "tests/docs/test_tutorials.py"),
    "docs/tutorials/first-live-event.md": (14, "tests/docs/test_tutorials.py"),
    "docs/tutorials/from-one-process-to-two.md": (18, "tests/docs/test_tutorials.py"),
    "docs/tutorials/one-event-four-ways.md": (8, "tests/docs/test_tutorials.py"),
}
# Commands that other tests type: which, and what of the command stands there.
LEFT = {
    r"export QUART_LIVE_": ("tests/docs/test_docs.py", "test_the_environment_configures_it"),
    r"export EVERYWIRE_TOKEN": ("tests/docs/test_commands.py", "def let_in"),
    r"make docs": ("tests/documents.py", "make docs"),
    r"python clock\.py": ("tests/test_readme.py", 'one.start("python clock.py"'),
    r"python3 -m venv|\.venv/bin/(pip|everywire) ": ("tests/test_wheel.py", "venv"),
    r"python app\.py": ("tests/browser/test_tutorials.py", 'one.start("python app.py"'),
    r"everywire compare .*--subject mine\.py": ("tests/docs/test_comparison.py", "mine.py"),
    r"everywire compare --scenario question\.py": ("tests/docs/test_comparison.py", "question.py"),
    r"locust .*--headless": ("tests/docs/test_comparison.py", "--headless"),
}


class Typed(NamedTuple):
    """A command, and where it stands first."""

    page: str
    command: str
    shown: str  # of what it prints
    before: tuple[str, ...]  # the variables that are set above it

    def __str__(self) -> str:
        return f"{self.page}: {self.command}"


def commands() -> Iterator[Typed]:
    """All commands of all pages, each once."""
    seen = set()
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        for block in blocks(page, "console") if name not in TYPED else []:
            before: tuple[str, ...] = ()
            for command, shown in steps(block):
                command = command.partition("    #")[0].rstrip()
                if command not in seen:
                    seen.add(command)
                    yield Typed(name, command, shown, before)
                if command.startswith("export "):
                    before += (command,)


COMMANDS = list(commands())
HERE = [typed for typed in COMMANDS if not any(re.match(left, typed.command) for left in LEFT)]


def test_what_others_type_is_there() -> None:
    for name, (count, test) in TYPED.items():
        typed = [command for block in blocks(ROOT / name, "console") for command, _ in steps(block)]
        assert len(typed) == count, f"type what is new in {name}"
        assert Path(name).stem in (ROOT / test).read_text()
    for left, (test, words) in LEFT.items():
        assert any(re.match(left, typed.command) for typed in COMMANDS), f"no page has {left} any more"
        assert words in (ROOT / test).read_text(), f"nobody types {left} any more"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Somebody at a prompt, with the files that the pages speak of."""
    (tmp_path / "shop.py").write_text(blocks(ROOT / "docs" / "how-to" / "test-your-app.md", "python")[0].text)
    (tmp_path / "reader.py").write_text(
        blocks(ROOT / "docs" / "how-to" / "load-test-in-your-own-locustfile.md", "python")[0].text
    )
    (tmp_path / "mixed.py").write_text(blocks(ROOT / "docs" / "how-to" / "load-test-in-your-own-locustfile.md", "python")[2].text)
    return Shell(tmp_path, **{f"p{port}": str(free_port()) for port in (8000, 8100, 8101)})


@pytest.fixture
def project(tmp_path: Path) -> Shell:
    """Somebody at a prompt in a copy of the project."""
    return Shell(copied(tmp_path))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The port of what `make run` starts, which is what most commands are typed at."""
    port = free_port()
    project = Shell(copied(tmp_path_factory.mktemp("lab")))
    with project.typed(f"{make('make run')} PORT={port}", seconds=3600) as running:
        line(running, "everywire lab at")
        yield str(port)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What is kept of a comparison."""
    shell = Shell(tmp_path_factory.mktemp("found"))
    code, printed = ended(shell, f"everywire compare --transport sse {shlex.join(TINY)} --output one")
    assert code in {0, 4}, printed
    return (shell.directory / "one" / "run.json").read_bytes()


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of its own, which has everything that the tests have but the project."""
    directory = tmp_path_factory.mktemp("environment")
    venv.create(directory, with_pip=True)
    here = {"base": str(directory), "platbase": str(directory)}
    Path(sysconfig.get_path("purelib", "venv", here), "those.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return directory


# --- how each kind of command is typed, and what must come


def would_run(*words: str) -> Callable[[Typed, Shell], None]:
    """What `make` would do, in this order."""

    def play(typed: Typed, project: Shell) -> None:
        code, printed = ended(project, f"{make(typed.command)} --dry-run")
        assert code == 0, printed
        assert re.search(".*".join(words), printed, re.DOTALL), printed

    return play


def made(shown: str, arguments: str) -> Callable[[Typed, Shell], None]:
    """A command of `make`, with these arguments for what it runs, which make it smaller. What is shown must come."""

    def play(typed: Typed, project: Shell) -> None:
        code, printed = ended(project, f"{make(typed.command)} ARGS={shlex.quote(arguments)}")
        assert code == 0 or "Error 4" in printed, printed  # a busy machine may make a comparison untrustworthy
        assert re.search(shown, printed), printed

    return play


def lab_made(lab: str) -> None:
    """The lab, with its page."""
    with urllib.request.urlopen(f"http://127.0.0.1:{lab}/lab/", timeout=30) as answer:
        assert b"<title>" in answer.read()


def installed(typed: Typed, project: Shell, elsewhere: Path) -> None:
    """The project, into an environment that has all that it needs: nothing is asked of PyPI."""
    command = f"export PATH={elsewhere}/bin:$PATH; unset PYTHONPATH; {typed.command} --no-index --no-build-isolation"
    code, printed = ended(project, f"{command} && cd / && python -c 'import transports; print(transports.__file__)'")
    assert code == 0, printed
    assert printed.splitlines()[-1] == str(project.directory / "transports" / "__init__.py")


def there(shown: str = "", instead: dict[str, str] | None = None) -> Callable[[Typed, Shell], None]:
    """A command in a copy of the project: `shown` must come, and what the page shows.

    Args:
        shown: a regular expression.
        instead: what is typed for some words of it.
    """

    def play(typed: Typed, project: Shell) -> None:
        command = typed.command
        for words, others in (instead or {}).items():
            assert words in command
            command = command.replace(words, others)
        code, printed = ended(project, command)
        assert code == 0, printed
        assert re.search(shown, printed), printed
        assert not typed.shown or printed == typed.shown

    return play


def on_the_path(typed: Typed, project: Shell) -> None:
    """Behind it, our command is found."""
    code, printed = ended(project, f"{typed.command}; command -v everywire")
    assert code == 0, printed
    assert printed == f"{project.directory}/.venv/bin/everywire\n"


def benchmarked(typed: Typed, project: Shell) -> None:
    """Benchmarks of just what was asked for, once and quickly, however busy the machine is."""
    edit(project.directory / "tests" / "benchmarks" / "measures.py", "DISTURBED = 9.0")
    words = shlex.split(typed.command)
    asked = {name: [after for word, after in itertools.pairwise(words) if word == name] for name in words}
    command = re.sub(r"--repeats \d+", "--repeats 1", typed.command)
    code, printed = ended(project, f"{command} --quick --out found")
    assert code == 0, printed
    kept = results.read(project.directory / "found")
    wanted = set(itertools.product(asked["--only"][0].split(","), asked["--subject"]))
    assert {(each.measure, each.subject) for each in kept.samples} == wanted, printed
    assert all(each.value for each in kept.samples), printed


def tabled(typed: Typed, shell: Shell) -> None:
    """The tables of what has been measured, which were kept beside it."""
    directory = typed.command.split()[-1]
    code, printed = ended(shell, f"python -m tests.benchmarks --quick --only publish --out {directory}")
    assert code == 0, printed
    code, printed = ended(shell, typed.command)
    assert code == 0, printed
    assert printed == (shell.directory / directory / "bench.md").read_text()


def compared(typed: Typed, shell: Shell, lab: str) -> None:
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


def read_again(typed: Typed, shell: Shell, found: bytes) -> None:
    """A command about runs that are there."""
    for name in re.findall(r"[\w/]+\.json", typed.command):
        file = shell.directory / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(found)
    code, printed = ended(shell, typed.command)
    assert code in {0, 4}, printed  # of a run and itself; a busy machine may make it untrustworthy
    assert "SSE" in printed


def served(typed: Typed, shell: Shell) -> None:
    """A server that starts, and ends when it is told to."""
    command = typed.command.replace("/var/lib/everywire", str(shell.directory))
    with shell.typed(f"exec {shell.here(command)}") as running:
        line(running, rf"everywire serves http://127\.0\.0\.1:{shell.instead['8000']}/")
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 0, running.stdout.read()


def played(typed: Typed, shell: Shell) -> None:
    """A network that says what it is, and ends when its input does."""
    with shell.typed(f"exec {shell.here(typed.command)}") as running:
        network = re.search(r"--network (\S+)", typed.command)[1]
        line(running, rf"everywire plays {network} at .*, in front of 127\.0\.0\.1:{shell.instead['8000']}")
        running.send_signal(signal.SIGINT)
        assert running.wait(30) in {0, 130}, running.stdout.read()


def small(more: str = "", **sizes: str) -> Callable[[Typed, Shell], None]:
    """A program that measures, with smaller numbers for its options."""

    def play(typed: Typed, shell: Shell) -> None:
        command = typed.command
        for name, size in sizes.items():
            command = re.sub(rf"--{name} \S+", f"--{name} {size}", command)
        code, printed = ended(shell, command + more)
        assert code == 0, printed

    return play


def smaller(*lines: str, arguments: str = "") -> Callable[[Typed, Shell], None]:
    """A program of the experiments, in a copy of the project, with these lines instead of those that begin alike, and however
    busy the machine is. Where it is to keep what it has found, that must be something new.

    Args:
        *lines: of the program.
        arguments: choose parts of it.
    """

    def play(typed: Typed, project: Shell) -> None:
        path = project.directory / re.search(r"\S+\.py", typed.command)[0]
        edit(path, *lines)
        edit(project.directory / "tests" / "benchmarks" / "machine.py", "_QUIET = 1.0")
        kept = path.with_suffix(".json").read_bytes()
        code, printed = ended(project, f"{typed.command} {arguments}")
        assert code == 0, printed
        assert printed.strip()
        keeps = "--write" in typed.command or "measure" in typed.command
        assert (path.with_suffix(".json").read_bytes() != kept) is keeps

    return play


def edit(path: Path, *lines: str) -> None:
    """Put lines into a program for those that begin alike."""
    text = path.read_text()
    for instead in lines:
        names = instead.partition(" = ")[0]
        text, times = re.subn(rf"^{names} = .*$", instead, text, flags=re.MULTILINE)
        assert times == 1, f"{path.name} has no {names}"
    path.write_text(text)


def crowd(typed: Typed, shell: Shell, lab: str) -> None:
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

    def play(typed: Typed, shell: Shell, lab: str) -> None:
        command = re.sub(r"https?://live\.example", f"http://127.0.0.1:{lab}", typed.command).replace("8000", lab)
        with shell.typed(f"{before}{command}{more}") as running:
            line(running, shown)
            if None not in codes:
                rest = running.stdout.read()
                assert running.wait(60) in codes, rest

    return play


def balanced(typed: Typed, shell: Shell) -> None:
    """Processes that share a broker, one of them alone."""
    with shell.typed(shell.here("everywire serve --broker sqlite:///events.db")) as running:
        line(running, "everywire serves")
        code, printed = ended(shell, typed.command)
    assert code == 0, printed
    assert "That is even enough." in printed


def let_in(typed: Typed, shell: Shell) -> None:
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


FAST = "tests/transports/test_errors.py tests/transports/test_position.py"
COMPILING = r"make bench|python -m tests\.benchmarks|python \S+/(memory\.py|capacity\.py measure)"
PLAYED: dict[str, Callable[..., None]] = {
    r"make test": would_run("ruff check", "mypy", "lint-imports", 'pytest .* -m "not alone"', "pytest -m alone"),
    r"make run": lab_made,
    r"make compare": made("Report: compare-", f"--transport sse {shlex.join(TINY)}"),
    r"make bench": made("publish", "--only publish --repeats 1"),
    r"export PATH=": on_the_path,
    r"pip install ": installed,
    r"everywire compare": compared,
    r"everywire (diff|report) ": read_again,
    r"everywire serve": served,
    r"everywire proxy": played,
    r"locust ": crowd,
    r"python -m tests\.hostile\.": small(" --edge front", count="100", cycles="10", minutes="0.05"),
    r"python -m tests\.benchmarks table": tabled,
    r"python -m tests\.benchmarks": benchmarked,
    r"\S+/python -m pytest": there(r"\d+ passed", {"tests/transports": FAST, "-n 4": "-n 2"}),
    r"\S+/ruff": there("All checks passed"),
    r"python \S+/capacity\.py plan": there("workers on"),
    r"python \S+/figures\.py": there("^$"),
    r"python \S+/capacity\.py measure": smaller(
        "POINTS = ((50, 100, 100),)", "SECONDS = 0.2", "CROWD = 50", "DISTURBED = 9.0", arguments="--repeats 1"
    ),
    r"python \S+/costs\.py": smaller("READERS, IDLE, SECONDS, GOOD = 4, 8, 0.2, 0.25", arguments="--runs 1 websocket slow"),
    r"python \S+/first_event\.py": smaller("ROUNDS, FEWER = 1, 1", "WARM = 0", arguments="refused,"),
    r"python \S+/formats\.py": smaller("READERS, EVENTS, PACE, REPEATS = 4, 8, 0.005, 1", arguments="sizes reading small"),
    r"python \S+/details\.py": smaller("KEPT = 200", "ROUNDS, TIMES = 1, 20", arguments="redis heads"),
    r"python \S+/hostile\.py": smaller(arguments="front --count 60 --cycles 10 --minutes 0.02"),
    r"python \S+/memory\.py": smaller("WARM = 2", "BEAT = 0.5", arguments="ws-on --readers 20"),
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
@pytest.mark.timeout(300)
@pytest.mark.parametrize("typed", HERE, ids=str)
def test_what_is_typed_does_what_it_says(typed: Typed, request: pytest.FixtureRequest) -> None:
    play = next((play for pattern, play in PLAYED.items() if re.match(pattern, typed.command)), None)
    assert play is not None, "a command that nobody types: say how, or who does"
    if re.match(COMPILING, typed.command) and shutil.which("cc") is None:
        pytest.skip("no C compiler")
    play(**{name: typed if name == "typed" else request.getfixturevalue(name) for name in inspect.signature(play).parameters})
