"""`everywire compare` and its sisters: what they refuse, small comparisons for real, and what becomes of broken ones."""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import psutil
import pytest
from click.testing import CliRunner, Result
from runs import a_run, histogram

from locustfiles import samples
from locustfiles.compare import FAILED, NOT_TRUSTWORTHY, THRESHOLD, UNREACHABLE, advise, compare, diff, report
from locustfiles.conducting.planning import PlanError, Wishes, staging
from locustfiles.conducting.stage import Server, Stop
from locustfiles.subjects import subject

REPOSITORY = Path(__file__).parents[2]
TINY = ["--readers", "3", "--rate", "40", "--seconds", "0.5", "--repeats", "1"]
BARE = [*TINY, "--no-calibrate"]


def typed(*words: str) -> Result:
    return CliRunner().invoke(compare, words)


def everywire(*words: str, timeout: float = 110) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "quart_app", *words]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=timeout, check=False)


def kept(directory: Path) -> samples.Run:
    return samples.decode((directory / "run.json").read_bytes())


def test_it_patches_nothing():
    code = "import sys, locustfiles.compare; sys.exit(any(name in sys.modules for name in ('locust', 'gevent')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


# --------------------------------------------------------------------------------------------------- what makes no sense


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--url", "http://example.org"], "example.org is not this machine"),
        (["--subject", "http://10.0.0.1:8000"], "10.0.0.1 is not this machine"),
        (["--url", "ftp://127.0.0.1"], "is not a URL"),
        (["--url", "nonsense"], "there is no subject 'nonsense'"),
        (["--subject", "evrywire"], "the nearest is everywire"),
        (["--subject", "no/such.py"], "no/such.py"),
        (["--network", "bufering"], "the nearest is buffering"),
        (["--scenario", "fanuot"], "the nearest is fanout"),
        (["--transport", "carrier-pigeon"], "carrier-pigeon"),
        (["--slo", "p99>>5"], "p99>>5"),
        (["--slo", "p98<5ms"], "there is no figure 'p98'"),
        (["--readers", "0"], "--readers"),
        (["--rate", "-1"], "--rate"),
        (["--size", "10"], "--size"),
        (["--rate", "nan"], "--rate.*'nan' is no number"),
        (["--slo", "no-upgrade/p99<50ms"], "nothing that it is about is measured; there are open, everywire, websocket"),
        (["--rate", "inf"], "cannot be played: .*rate"),
        (["--seconds", "1e309"], "cannot be played: .*seconds"),
        (["--processes", "100000"], "--processes.*not in the range"),
        (["--url", "http://[::1"], "is not a URL"),
        (["--url", "http://127.0.0.1:99999"], "is not a URL"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_exit_code_1(words: list[str], said: str, tmp_path: Path):
    result = typed("--output", str(tmp_path / "out"), *words)
    assert result.exit_code == FAILED
    assert isinstance(result.exception, SystemExit)
    assert re.search(said, result.output)
    assert len(result.output.strip().splitlines()[-1]) < 300
    assert not (tmp_path / "out").exists()


@pytest.mark.real
@pytest.mark.parametrize("many", [{"readers": 10**20}, {"processes": 100_000}])
def test_more_than_a_machine_can_have_is_not_even_begun(many: dict[str, int]):
    with pytest.raises(PlanError, match="cannot be played"):
        staging(Wishes(**many))  # type: ignore[arg-type]


@pytest.mark.real
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--subject", "sse-starlette", "--transport", "websocket"], "sse-starlette has SSE; asked for is WebSocket"),
        (["--network", "proxy-407", "--transport", "sse"], "say --scenario restricted --transport negotiated"),
        (["--scenario", "restart", "--url", "http://127.0.0.1:9"], "was not started here"),
        (["--scenario", "restart", "--seconds", "1"], "before the scenario does anything"),
        (["--network", "buffering", "--url", "https://127.0.0.1:9"], "plain HTTP only"),
    ],
)
def test_what_does_not_go_together(words: list[str], said: str, tmp_path: Path):
    result = typed("--output", str(tmp_path / "out"), *words)
    assert result.exit_code == FAILED, result.output
    assert said in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.real
def test_a_server_that_is_not_there(tmp_path: Path):
    result = typed("--url", "http://127.0.0.1:9", "--output", str(tmp_path / "out"), *BARE)
    assert result.exit_code == UNREACHABLE, result.output
    assert "http://127.0.0.1:9 does not serve everywire" in result.output
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    recorded(tmp_path / "out" / "run.json", calm())
    result = typed("--url", "http://127.0.0.1:9", "--output", str(tmp_path / "out"), *BARE)
    assert result.exit_code == UNREACHABLE, result.output
    assert "Report:" not in result.output
    assert kept(tmp_path / "out") == calm()


@pytest.mark.real
def test_a_directory_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("")
    result = typed("--output", str(tmp_path / "file" / "out"), *BARE)
    assert result.exit_code == FAILED
    assert "cannot write to" in result.output


def test_the_list_names_scenarios_and_servers():
    result = typed("--list")
    assert result.exit_code == 0
    assert "fanout" in result.output
    assert "sse-starlette" in result.output


# -------------------------------------------------------------------------------------------------------------- recorded runs


def recorded(place: Path, run: samples.Run) -> str:
    place.write_bytes(samples.encode(run))
    return str(place)


def calm() -> samples.Run:
    """A run that can be trusted."""
    run = a_run({"websocket": [1000, 1010, 1005, 1000, 1010], "sse": [3000, 3010, 3005, 3000, 3010]})
    run.plan = msgspec.structs.replace(run.plan, calibrate=False)
    return run


def test_a_recorded_run_is_shown_again(tmp_path: Path):
    file = recorded(tmp_path / "run.json", calm())
    result = CliRunner().invoke(report, [file])
    assert result.exit_code == 0, result.output
    assert "SSE" in result.output
    assert (tmp_path / "index.html").exists()


def test_it_can_be_shown_elsewhere(tmp_path: Path):
    file = recorded(tmp_path / "run.json", calm())
    result = CliRunner().invoke(report, [file, "--output", str(tmp_path / "there")])
    assert result.exit_code == 0
    assert (tmp_path / "there" / "index.html").exists()
    assert f"Report: {tmp_path / 'there' / 'index.html'}   Samples: {file}\n" in result.output
    assert not (tmp_path / "index.html").exists()


def test_it_cannot_be_shown_just_anywhere(tmp_path: Path):
    file = recorded(tmp_path / "run.json", calm())
    result = CliRunner().invoke(report, [file, "--output", f"{file}/out"])
    assert (result.exit_code, "cannot write to" in result.output) == (FAILED, True)
    (tmp_path / "index.html").write_text("<h1>mine</h1>", encoding="utf-8")
    result = CliRunner().invoke(report, [file])
    assert (result.exit_code, "is not of a comparison" in result.output) == (FAILED, True)


@pytest.mark.parametrize(("limit", "code"), [("p99<1s", 0), ("websocket:p50<2ms", 0), ("p50<2ms", THRESHOLD)])
def test_thresholds_decide(tmp_path: Path, limit: str, code: int):
    result = CliRunner().invoke(report, [recorded(tmp_path / "run.json", calm()), "--slo", limit])
    assert result.exit_code == code
    assert limit in result.output


def test_a_run_that_was_broken_off_is_not_trustworthy(tmp_path: Path):
    run = calm()
    run.complete = False
    result = CliRunner().invoke(report, [recorded(tmp_path / "run.json", run), "--slo", "p50<2ms"])
    assert result.exit_code == NOT_TRUSTWORTHY
    assert "broken off" in result.output


@pytest.mark.parametrize("text", ["{}", "nonsense", '{"schema": "everywire.run/1"}'])
def test_what_is_no_run_is_told(tmp_path: Path, text: str):
    (tmp_path / "run.json").write_text(text)
    result = CliRunner().invoke(report, [str(tmp_path / "run.json")])
    assert result.exit_code == FAILED
    assert "run.json: " in result.output


def test_nothing_in_a_run_steers_the_terminal(tmp_path: Path):
    run, steering = calm(), "\x1b]0;title\x07\x1b[2J"
    run.command = f"everywire compare {steering}"
    run.environment["kernel"] = steering
    run.rounds[0].sample.published.refused[steering] = 1
    run.plan = msgspec.structs.replace(run.plan, slo=(f"p99<5ms{steering}",))
    file = recorded(tmp_path / "run.json", run)
    run.plan = msgspec.structs.replace(run.plan, slo=())
    other = recorded(tmp_path / "other.json", run)
    for command, *words in ((report, file), (report, other), (diff, other, other), (advise, other)):
        said = CliRunner().invoke(command, words).output
        assert said
        assert "\x1b" not in said
    assert r"\x1b]0;title\x07" in CliRunner().invoke(report, [other]).output


def test_a_run_whose_thresholds_are_none_is_told(tmp_path: Path):
    run = calm()
    run.plan = msgspec.structs.replace(run.plan, slo=("p99 is fine",))
    result = CliRunner().invoke(report, [recorded(tmp_path / "run.json", run)])
    assert (result.exit_code, "'p99 is fine' is no threshold" in result.output) == (FAILED, True)


def test_a_tolerance_is_a_number(tmp_path: Path):
    file = recorded(tmp_path / "run.json", calm())
    result = CliRunner().invoke(diff, [file, file, "--tolerance", "nan"])
    assert (result.exit_code, "is no number" in result.output) == (FAILED, True)


def test_a_run_that_is_not_there():
    result = CliRunner().invoke(report, ["no/such/run.json"])
    assert result.exit_code == FAILED
    assert "No such file" in result.output


def test_two_runs_are_put_beside_each_other(tmp_path: Path):
    run, worse = calm(), calm()
    for each in worse.rounds:
        each.sample.delays = histogram(*([20_000, 20_100] * 20))
    before, after = recorded(tmp_path / "a.json", run), recorded(tmp_path / "b.json", worse)
    assert CliRunner().invoke(diff, [before, before]).exit_code == 0
    result = CliRunner().invoke(diff, [before, after])
    assert result.exit_code == THRESHOLD
    assert "Worse beyond the noise and 5 %" in result.output
    assert CliRunner().invoke(diff, [after, before]).exit_code == 0
    told = CliRunner().invoke(diff, [before, after, "--json"])
    assert told.exit_code == THRESHOLD
    assert {row["says"] for row in json.loads(told.output)["rows"]} >= {"worse"}
    worse.complete = False
    assert CliRunner().invoke(diff, [before, recorded(tmp_path / "c.json", worse)]).exit_code == NOT_TRUSTWORTHY
    worse.plan = msgspec.structs.replace(worse.plan, readers=9)
    other = CliRunner().invoke(diff, [before, recorded(tmp_path / "d.json", worse)])
    assert other.exit_code == FAILED
    assert "not of one plan" in other.output


def test_advice_from_a_run(tmp_path: Path):
    result = CliRunner().invoke(advise, [recorded(tmp_path / "run.json", calm())])
    assert result.exit_code == 0, result.output
    assert result.output
    run = calm()
    run.complete = False
    result = CliRunner().invoke(advise, [recorded(tmp_path / "broken.json", run)])
    assert result.exit_code == NOT_TRUSTWORTHY
    assert "No advice" in result.output


@pytest.mark.real
def test_advice_from_a_server_that_runs(tmp_path: Path):
    with Server(subject("everywire"), tmp_path, Stop()) as server:
        server.wait()
        result = CliRunner().invoke(advise, [server.url])
    assert result.exit_code == 0, result.output
    assert "Nothing that was found speaks for a change" in result.output
    gone = CliRunner().invoke(advise, [server.url])
    assert gone.exit_code == UNREACHABLE
    assert "does not show its counters" in gone.output


@pytest.mark.parametrize(("what", "code"), [("http://example.org", FAILED), ("ftp://127.0.0.1", FAILED), ("no.json", FAILED)])
def test_advice_from_what_is_neither(what: str, code: int):
    assert CliRunner().invoke(advise, [what]).exit_code == code


# ---------------------------------------------------------------------------------------------------------------- for real


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    directory = tmp_path_factory.mktemp("compare")
    return directory, everywire("compare", *TINY, "--output", str(directory))


@pytest.mark.real
def test_every_transport_delivers_everything(played: tuple[Path, subprocess.CompletedProcess[str]]):
    directory, done = played
    assert done.returncode in (0, NOT_TRUSTWORTHY), done.stdout + done.stderr  # a busy machine may make it untrustworthy
    run = kept(directory)
    assert run.complete
    assert [lane.transport for lane in run.lanes()] == ["websocket", "sse", "longpoll"]
    assert sorted(each.lane.transport for each in run.calibration) == ["longpoll", "sse", "websocket"]
    for each in (*run.rounds, *run.calibration):
        assert each.sample.ready == 3
        assert each.sample.tally == samples.Tally(expected=60, delivered=60)
        assert each.sample.failures == {}
        assert 0 < (each.sample.delays.least or 0) <= (each.sample.delays.most or 0) < 10_000_000
        assert each.server is not None
        assert each.server.sockets >= 4  # three readers, and one to listen
        assert each.relay is None


@pytest.mark.real
def test_all_files_are_there(played: tuple[Path, subprocess.CompletedProcess[str]]):
    directory, _ = played
    assert sorted(file.name for file in directory.iterdir()) == [
        "events.csv",
        "index.html",
        "open-everywire-longpoll.hgrm",
        "open-everywire-sse.hgrm",
        "open-everywire-websocket.hgrm",
        "run.json",
    ]
    with (directory / "events.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60
    assert {(row["network"], row["subject"], row["repeat"], row["expected"], row["delivered"]) for row in rows} == {
        ("open", "everywire", "1", "3", "3")
    }
    assert sorted({int(row["n"]) for row in rows}) == list(range(20))


@pytest.mark.real
def test_the_terminal_gets_a_table_a_verdict_and_the_way_to_do_it_again(played: tuple[Path, subprocess.CompletedProcess[str]]):
    directory, done = played
    run = kept(directory)
    assert "p99" in done.stdout
    assert "With 3 readers" in done.stdout or "with 3 readers" in done.stdout
    assert run.command in done.stdout
    assert "6/6 long-polling 1/1" in done.stderr or "6/6 " in done.stderr
    assert run.counts["everywire"]["readers"] >= 0  # type: ignore[index]
    assert {"quart", "hypercorn", "cores", "container"} <= set(run.environment)


@pytest.mark.real
def test_a_failing_threshold_a_network_and_a_server_that_runs_already(tmp_path: Path):
    with Server(subject("everywire"), tmp_path, Stop()) as server:
        server.wait()
        words = ["--url", server.url, "--network", "latency-40ms", "--transport", "sse", "--slo", "p50<1ms"]
        done = everywire("compare", *words, *BARE, "--output", str(tmp_path / "out"))
        assert server.pid is not None  # it was left alone
    run = kept(tmp_path / "out")
    (each,) = run.rounds
    assert each.sample.tally == samples.Tally(expected=60, delivered=60)
    assert (each.sample.delays.percentile(50) or 0) > 20_000
    assert each.server is None
    assert each.relay is not None
    assert done.returncode in (THRESHOLD, NOT_TRUSTWORTHY), done.stdout + done.stderr
    assert "not kept: p50<1ms" in done.stdout


@pytest.mark.real
def test_a_network_that_lets_nobody_through_is_a_finding(tmp_path: Path):
    words = ["--network", "captive-portal", "--transport", "sse", "--scenario", str(impatient(tmp_path))]
    done = everywire("compare", *words, *BARE, "--output", str(tmp_path / "out"))
    (each,) = kept(tmp_path / "out").rounds
    assert (each.sample.ready, each.sample.tally.delivered) == (0, 0)
    assert "nobody got through" in done.stderr
    assert done.returncode in (0, NOT_TRUSTWORTHY), done.stdout + done.stderr


IMPATIENT = '''"""Who gets through?"""
from locustfiles.crowd import SSEReader
from locustfiles.plan import Fault, Scenario

SCENARIO = Scenario(transports=("sse",), patience=2.0)
'''


def impatient(place: Path, more: str = "") -> Path:
    file = place / "impatient.py"
    file.write_text(IMPATIENT + more, encoding="utf-8")
    return file


@pytest.mark.real
def test_a_server_that_is_killed_comes_back_and_so_do_its_readers(tmp_path: Path):
    more = "SCENARIO = Scenario(transports=('sse',), faults=(Fault(at=0.5, do='kill'), Fault(at=2.5, do='cut')))\n"
    words = ["--scenario", str(impatient(tmp_path, more)), "--readers", "3", "--rate", "20", "--seconds", "4", "--repeats", "1"]
    done = everywire("compare", *words, "--no-calibrate", "--output", str(tmp_path / "out"))
    (each,) = kept(tmp_path / "out").rounds
    assert [mark.do for mark in each.marks] == ["kill", "cut"], done.stdout + done.stderr
    assert 500_000 <= each.marks[0].began - each.sample.started < each.marks[0].ended - each.sample.started
    assert [recovery.never for recovery in each.recoveries] == [0, 0]
    assert each.server is not None
    assert each.server.cpu > 0


@pytest.mark.real
def test_locust_that_crashes_tells_why_and_what_was_measured_is_kept(tmp_path: Path):
    more = f"""
import pathlib
from locust import events

@events.test_start.add_listener
def _second(environment, **_):
    mark = pathlib.Path({str(tmp_path)!r}, "mark")
    if mark.exists():
        import os
        print("Traceback (most recent call last):\\n  File x\\nPlantedError: in the second round", flush=True)
        os._exit(7)
    mark.write_text("")
"""
    words = ["--scenario", str(impatient(tmp_path, more)), *BARE[:-3], "--repeats", "3", "--no-calibrate"]
    done = everywire("compare", *words, "--output", str(tmp_path / "out"))
    assert done.returncode == FAILED, done.stdout + done.stderr
    assert "PlantedError: in the second round" in done.stderr
    run = kept(tmp_path / "out")
    assert not run.complete
    assert len(run.rounds) == 1
    assert "PlantedError" in (tmp_path / "out" / "crash.txt").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "index.html").exists()


@contextmanager
def under_way(directory: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """A comparison that publishes, and its children."""
    command = [sys.executable, "-u", "-m", "quart_app", "compare", *words, "--no-calibrate", "--output", str(directory)]
    scratch = {**os.environ, "TMPDIR": str(directory.parent)}  # what is killed does not clear up
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=REPOSITORY, env=scratch, **streams, text=True) as process:
        root = psutil.Process(process.pid)
        assert Stop().until(
            lambda: any("locustfiles.measuring.publisher" in _words(each) for each in root.children(recursive=True)), 60
        )
        yield process, [each for each in root.children(recursive=True) if _words(each)[:1] != ["/bin/sh"]]
        process.kill()


def _words(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []


@pytest.mark.real
@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM] * 3, [signal.SIGHUP]])
def test_an_interrupt_leaves_a_report_and_no_orphans(tmp_path: Path, signals: list[signal.Signals]):
    out = tmp_path / "out"
    with under_way(out, *TINY[:4], "--transport", "sse", "--seconds", "60", "--network", "latency-1ms") as (process, children):
        assert len(children) == 4  # server, network, Locust, publisher
        for each in signals:
            process.send_signal(each)
        said = process.communicate(timeout=60)
        assert process.returncode == NOT_TRUSTWORTHY, said
        _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
    assert not kept(out).complete
    assert (out / "index.html").exists()
    assert "broken off" in said[0].lower()


@pytest.mark.real
def test_nothing_outlives_a_comparison_that_is_killed(tmp_path: Path):
    words = [*TINY[:4], "--transport", "sse", "--seconds", "60", "--network", "latency-1ms", "--processes", "2"]
    with under_way(tmp_path / "out", *words) as (process, children):
        assert len(children) == 6  # server, network, Locust and its two, publisher
        process.kill()
        _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive


@pytest.mark.real
@pytest.mark.alone
def test_a_generator_without_time_left_blocks_the_verdict(tmp_path: Path):
    words = ["--subject", "null", "--transport", "sse", "--readers", "400", "--rate", "400", "--seconds", "1", "--repeats", "1"]
    done = everywire("compare", *words, "--no-calibrate", "--output", str(tmp_path / "out"))
    assert done.returncode == NOT_TRUSTWORTHY, done.stdout + done.stderr
    assert "the load generator" in done.stdout  # saturated, or, where others are busy too, late


@pytest.mark.real
def test_what_is_planted_in_the_null_subject_is_there(tmp_path: Path):
    transports = ["--transport", "sse", "--transport", "longpoll"]
    done = everywire("compare", "--subject", "null:longpoll=20000", *transports, *BARE, "--output", str(tmp_path / "out"))
    delays = {each.lane.transport: each.sample.delays for each in kept(tmp_path / "out").rounds}
    # Not the least of long-polling: what comes while nobody waits is handed over with the next request.
    assert (delays["sse"].least or 0) < 20_000 <= (delays["longpoll"].percentile(50) or 0), done.stdout + done.stderr


def test_a_port_that_somebody_else_has_is_not_a_server(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = everywire("compare", "--url", url, *BARE, "--output", str(tmp_path / "out"))
    assert done.returncode == UNREACHABLE
    assert url in done.stderr
    assert not os.path.exists(tmp_path / "out")


def test_nothing_is_said_twice(tmp_path: Path):
    file = recorded(tmp_path / "run.json", calm())
    lines = [line for line in CliRunner().invoke(report, [file]).output.splitlines() if len(line) > 40]
    assert len(lines) == len(set(lines))
    assert json.loads((tmp_path / "run.json").read_text())["complete"]
