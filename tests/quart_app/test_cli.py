"""The command line, as processes: what a newcomer types and what is printed."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from transports.quart import Live
from transports.testing import serving

pytestmark = pytest.mark.real
EVERYWIRE = [sys.executable, "-m", "quart_app"]


def run(*arguments: str, text: str = "", seconds: float = 90) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*EVERYWIRE, *arguments], input=text, capture_output=True, text=True, timeout=seconds, check=False)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with subprocess.Popen([*EVERYWIRE, "serve", "--port", "0"], stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server.stdout.readline().split("stream at ")[1].split(",")[0]
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 0


@pytest.mark.parametrize("transport", ["auto", "websocket", "sse", "longpoll"])
def test_tail_prints_events_as_json_lines(url: str, transport: str) -> None:
    done = run("tail", url, "vitals", "--transport", transport, "--count", "2")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["channel"] for event in events] == ["vitals", "vitals"]
    assert events[0]["id"] != events[1]["id"]


def test_lines_published_are_the_lines_tailed(url: str) -> None:
    epoch = json.loads(run("tail", url, "vitals", "--count", "1").stdout)["id"].split(".")[0]
    done = run("publish", url, "access", text='{"n": 1}\nGET / 200\n\n"x"\n')
    assert (done.returncode, done.stderr) == (0, "published 3 to access\n")
    tailed = run("tail", url, "access", "--since", f"{epoch}.0", "--count", "3")
    assert [json.loads(line)["data"] for line in tailed.stdout.splitlines()] == [{"n": 1}, "GET / 200", "x"]


def test_many_lines_go_in_few_requests_and_in_order(url: str) -> None:
    epoch = json.loads(run("tail", url, "vitals", "--count", "1").stdout)["id"].split(".")[0]
    done = run("publish", url, "many", text="".join(f"{n}\n" for n in range(900)))
    assert done.stderr == "published 900 to many\n"
    tailed = run("tail", url, "many", "--since", f"{epoch}.0", "--count", "900")
    assert [json.loads(line)["data"] for line in tailed.stdout.splitlines()] == list(range(900))


def test_long_lines_go_in_requests_that_fit_and_bytes_that_are_no_text_go_as_text(url: str) -> None:
    epoch = json.loads(run("tail", url, "vitals", "--count", "1").stdout)["id"].split(".")[0]
    lines = [b"x" * 20_000, b"y" * 60_000, b"z" * 20_000, b"caf\xe9", b"null"]
    done = subprocess.run(
        [*EVERYWIRE, "publish", url, "long"], input=b"\n".join(lines), capture_output=True, timeout=90, check=False
    )
    assert done.stderr == b"published 5 to long\n"
    tailed = run("tail", url, "long", "--since", f"{epoch}.0", "--count", "5")
    data = [json.loads(line)["data"] for line in tailed.stdout.splitlines()]
    assert data == [lines[0].decode(), lines[1].decode(), lines[2].decode(), "caf\ufffd", None]


def test_what_was_published_before_a_refusal_is_counted(url: str) -> None:
    done = run("publish", url, "cut", text="1\n" + "x" * 70_000 + "\n")
    assert done.returncode == 1
    assert "published 1 to cut" in done.stderr
    assert "4413 too_large" in done.stderr


def test_a_replay_keeps_its_rate(url: str) -> None:
    done = run("publish", url, "replay", "--every-line-at", "200", text="1\n2\n3\n")
    assert done.stderr == "published 3 to replay\n"


def test_the_wire_is_shown_as_it_is(url: str) -> None:
    done = run("tail", url, "vitals", "--transport", "sse", "--wire", "--count", "1")
    assert "sse " in done.stdout
    assert "event: hello" in done.stdout


@pytest.mark.parametrize("wire", [[], ["--wire"]])
def test_who_reads_the_output_may_have_seen_enough(url: str, wire: list[str]) -> None:
    command = " ".join([*EVERYWIRE, "tail", url, "vitals", *wire, "|", "head -1"])
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=90, check=False)
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_states_are_told_when_asked_for(url: str) -> None:
    done = run("tail", url, "vitals", "--count", "3", "-v")  # the first may come before the proof that makes it "open"
    *states, evidence = done.stderr.splitlines()
    assert states == ["connecting: Connecting over WebSocket.", "open: Live over WebSocket.", "closed: Closed."]
    assert json.loads(evidence)["attempts"][0]["verdict"] == "ok"


def test_the_operator_sees_what_clients_found_out(url: str) -> None:
    run("tail", url, "vitals", "--count", "1", "--transport", "sse")
    with urllib.request.urlopen(url + "/status", timeout=30) as answer:
        status = json.load(answer)
    assert status["opened"]["sse"] >= 1
    assert status["why"]["race"] >= 1
    assert {"readers", "channels", "opened", "why", "verdicts", "moved"} < set(status)


async def test_a_token_is_shown_that_the_environment_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    live = Live(channels=["a"])
    live.authenticate(lambda request: request.token)
    live.authorize(lambda who, action, channel: who == "let-me-in")
    async with serving(live.asgi, drain=live.hub.close) as server:
        await live.hub.open()
        begin = f"{live.hub.log.epoch}.0"
        for token, code in (("wrong", 1), ("let-me-in", 0)):
            monkeypatch.setenv("EVERYWIRE_TOKEN", token)
            done = await asyncio.to_thread(run, "publish", server, "a", text="7\n")
            assert (done.returncode, "4403 forbidden" in done.stderr) == (code, bool(code))
            done = await asyncio.to_thread(run, "tail", server, "a", "--since", begin, "--count", "1")
            assert (done.returncode, "4403 forbidden" in done.stderr) == (code, bool(code))
        assert json.loads(done.stdout)["data"] == 7


def test_who_comes_and_goes_is_told_in_lines_of_json_by_workers_and_their_parent(tmp_path: Path) -> None:
    broker = ["--broker", f"sqlite:///{tmp_path}/events.db", "--workers", "2"]
    command = [*EVERYWIRE, "serve", "--port", "0", "--log", "json", *broker]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        url = server.stdout.readline().split("stream at ")[1].split(",")[0]
        run("tail", url, "vitals", "--count", "1", "--transport", "sse")
        server.send_signal(signal.SIGHUP)
        lines = []
        while not lines or "restarted" not in lines[-1]["message"]:
            lines.append(json.loads(server.stderr.readline()))  # nothing else is said
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)
        assert server.returncode == 0
    told = {line["event"]: line for line in lines if "event" in line}
    assert told["connection.opened"]["connection"] == told["connection.closed"]["connection"]
    assert told["connection.closed"]["items"] >= 1
    assert lines[-1]["logger"] == "transports.workers"


def test_a_position_that_cannot_be_resumed_is_told(url: str) -> None:
    done = run("tail", url, "vitals", "--since", "gone.5", "--count", "1")
    assert "lost: vitals after gone.5" in done.stderr


def test_channels_may_be_limited_and_vitals_still_come() -> None:
    with subprocess.Popen([*EVERYWIRE, "serve", "--port", "0", "--channel", "chat"], stdout=subprocess.PIPE, text=True) as server:
        try:
            url = server.stdout.readline().split("stream at ")[1].split(",")[0]
            assert run("tail", url, "vitals", "--count", "1").returncode == 0
            assert "4404" in run("tail", url, "other").stderr
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 0


def test_processes_that_share_a_broker_are_balanced(tmp_path: Path) -> None:
    broker = f"sqlite:///{tmp_path}/events.db"
    with subprocess.Popen([*EVERYWIRE, "serve", "--port", "0", "--broker", broker], stdout=subprocess.PIPE, text=True) as server:
        try:
            url = server.stdout.readline().split("stream at ")[1].split(",")[0]
            with subprocess.Popen([*EVERYWIRE, "tail", url, "vitals"], stdout=subprocess.PIPE, text=True) as reader:
                assert reader.stdout.readline()
                done = run("rebalance", broker, "--over", "0")
                reader.terminate()
            assert done.returncode == 0, done.stderr
            assert re.search(rf"^\S+:{server.pid}:\w+ +1 readers$", done.stdout, re.MULTILINE)
            assert "even enough" in done.stdout
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 0
    assert "no process answers" in run("rebalance", broker).stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tail", "http://127.0.0.1:9/live", "vitals"), "no connection to http://127.0.0.1:9/live"),
        (("tail", "{url}", "a b"), "4404 unknown_channel"),
        (("tail", "{url}", "vitals", "--since", "x"), "is not a position"),
        (("publish", "{url}", "a b"), "4404 unknown_channel"),
        (("tail", "nonsense", "vitals"), "is not the URL of a mount"),
        (("tail", "http://127.0.0.1:1/live", "a", "--ca", __file__), "holds no certificate authority"),
        (("serve", "--certfile", __file__), "TLS needs both"),
        (("serve", "--set", "trusted_hop=1"), "trusted_hops"),
        (("serve", "--set", "trusted_hops=few"), "trusted_hops"),
        (("serve", "--set", "trusted_hops"), "NAME=VALUE"),
        (("serve", "--workers", "2"), "broker"),
        (("rebalance", "memory://"), "lives in one process"),
        (("rebalance", "nonsense://"), "there is no broker"),
        (("serve", "--port", "1", "--host", "192.0.2.1"), "cannot listen on 192.0.2.1:1"),
    ],
)
def test_what_goes_wrong_is_said_in_a_line_and_not_in_a_traceback(url: str, arguments: tuple[str, ...], said: str) -> None:
    done = run(*(argument.format(url=url) for argument in arguments), text="x\n")
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_log_that_is_not_there_is_not_made_to_be_balanced(tmp_path: Path) -> None:
    done = run("rebalance", f"sqlite:///{tmp_path}/typo.db")
    assert done.returncode == 1
    assert "there is no file" in done.stderr
    assert not list(tmp_path.iterdir())
