"""The tutorials, done as they say: what is typed is typed, and what is shown must come."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docs.learner import Learner, alike, line
from tests.docs.test_commands import LEFT, TYPED
from tests.documents import ROOT, blocks, steps
from tests.ports import free_port

pytestmark = [pytest.mark.real, pytest.mark.timeout(150)]
TUTORIALS = ROOT / "docs" / "tutorials"
POLL = "curl 'http://127.0.0.1:8000/live/poll?channels=chat"


DID: dict[str, set[str]] = {}  # what was typed, by page


@pytest.fixture
def learner(tmp_path: Path) -> Iterator[Callable[[str], Learner]]:
    """Somebody with a tutorial in front of her, and other ports than those of the page."""
    ports = {f"p{port}": str(free_port()) for port in (8000, 8001, 8100)}
    there: list[Learner] = []

    def begins(name: str) -> Learner:
        there.append(Learner(TUTORIALS / f"{name}.md", tmp_path, **ports))
        return there[-1]

    yield begins
    for one in there:
        DID.setdefault(str(one.page.relative_to(ROOT)), set()).update(one.did)


def test_the_first_event_is_followed_published_and_found_again(learner: Callable[[str], Learner]) -> None:
    one = learner("first-live-event")
    with one.start("make run", "make run", one.here("everywire lab")) as server:
        line(server, "everywire lab at")
        tail = "everywire tail http://127.0.0.1:8000/live"
        events = [json.loads(each) for each in one.type(f"{tail} vitals --count 2").splitlines()]
        shown = json.loads(blocks(one.page, "json")[0].text.splitlines()[0])
        assert [set(each) for each in events] == [set(shown)] * 2
        assert one.type("echo") == "published 1 to chat\n"
        found = one.type(f"{tail} chat --since k3f9ab.0", "k3f9ab", events[0]["id"].partition(".")[0])
        assert json.loads(found)["data"] == {"text": "hello"}
        lost, found = one.type(f"{tail} chat --since nobody.7").splitlines()
        assert (lost.partition(":")[0], json.loads(found)["data"]) == ("lost", {"text": "hello"})
        for transport in ("websocket", "sse", "longpoll"):
            assert '"type":"hello"' in one.type(f"{tail} vitals --wire --count 2 --transport {transport}")
        with one.start("curl -N") as stream:
            line(stream, "event: hello")
        with one.start(f"{tail} vitals -v") as reader:
            line(reader, "open: Live over WebSocket")
            server.send_signal(signal.SIGINT)
            assert server.wait(30) == 0
            with one.start("make run", "make run", one.here("everywire lab")):
                line(reader, "reconnecting: ")
                line(reader, r"lost: vitals after \S+ .*\(epoch\)")


def test_one_event_is_read_with_curl(learner: Callable[[str], Learner]) -> None:
    one = learner("one-event-four-ways")
    hello, event, polled, wire = (alike(block.text) for block in blocks(one.page, "text"))
    with one.start("everywire serve") as server:
        line(server, "everywire serves")
        with one.start("curl -N") as stream:
            assert alike("".join(stream.stdout.readline() for _ in range(3))) == hello
            one.type("echo")
            stream.stdout.readline()
            assert alike("".join(stream.stdout.readline() for _ in range(2))) == event
        (asked,) = json.loads(one.type(f"{POLL}'"))
        with one.start(f"{POLL}&since=jpngq4.14", "jpngq4.14", asked["id"]) as waiting:
            one.type("echo")
            assert alike(waiting.communicate()[0]) == polled
        kept = json.loads(one.type(f"{POLL}&since=jpngq4.0", "jpngq4", asked["id"].partition(".")[0]))
        assert [each["data"] for each in kept] == [{"text": "hello"}] * 2
        with one.start("everywire tail") as reader:
            first = line(reader, "hello") + line(reader, "reply")
            one.type("echo")
            assert alike(first + reader.communicate()[0]) == wire
        one.type("curl -s -o")


def test_every_number_comes_through_a_network_that_breaks(learner: Callable[[str], Learner]) -> None:
    one = learner("break-the-network")
    table = re.findall(r"^\| `([\w-]+)` \|", one.page.read_text(), re.MULTILINE)
    assert table == ["upgrade-swallowed", "cut", "buffering", "forget", "open"]
    with one.start("everywire serve") as server, one.start("everywire proxy") as network:
        line(server, "everywire serves")
        line(network, "Everything passes")
        with one.start("everywire tail") as reader:
            line(reader, "open: Live over WebSocket")
            one.type("seq")
            with one.start("everywire publish"):
                for harm in table:
                    network.stdin.write(f"{harm}\n")
                    network.stdin.flush()
                    line(network, f"^{harm}: ")
                    if harm in ("upgrade-swallowed", "buffering"):
                        line(reader, "open: Live over")
                reader.communicate()
        one.type("sed")


@pytest.mark.parametrize("shared", ["", " --broker"])
def test_a_second_process_sees_it_too_if_they_share_a_log(learner: Callable[[str], Learner], shared: str) -> None:
    one = learner("from-one-process-to-two")
    with (
        one.start(f"everywire serve --port 8000{shared}") as first,
        one.start(f"everywire serve --port 8001{shared}") as second,
    ):
        line(first, "everywire serves")
        line(second, "everywire serves")
        with one.start("everywire tail http://127.0.0.1:8001", "chat", "chat -v") as reader:
            line(reader, "open: Live over")
            one.type("echo hello ")
            one.type("echo hello again", one.here("8000"), one.here("8001"))  # this one comes in any case
            events = [json.loads(line(reader, "event")) for _ in range(2 if shared else 1)]
        assert len({each["id"] for each in events}) == len(events)
        epoch = events[0]["id"].partition(".")[0]
        asked = [one.type(f"curl 'http://127.0.0.1:{port}", "x7kwul", epoch) for port in (8000, 8001)]
        assert (asked[0] == asked[1]) is bool(shared)


def test_workers_are_killed_and_every_number_comes(learner: Callable[[str], Learner]) -> None:
    one = learner("from-one-process-to-two")
    killed, moved = (block.text for block in blocks(one.page, "text"))
    with one.start("everywire serve --workers") as parent:
        line(parent, "workers: 2")
        workers = one.type("pgrep", "$(pgrep -o -f 'everywire serve')", str(parent.pid)).split()
        with one.start("everywire tail http://127.0.0.1:8000") as reader:
            line(reader, "open: Live over WebSocket")
            one.type("seq")
            with one.start("everywire publish http://127.0.0.1:8000/live numbers"):
                for shown, worker in zip(("27521", "27531"), workers, strict=True):
                    one.type(f"kill -9 {shown}", shown, worker)
                    said = line(parent, f"process {worker}")
                    assert re.sub(r"worker \d", "worker N", alike(said)) == alike(killed)
                for each in moved.splitlines():
                    line(reader, re.escape(each.partition(" in ")[0]))
                reader.communicate()
        one.type("sed")


TINY = "--quick --readers 2 --rate 40 --seconds 0.5 --repeats 1 --no-calibrate"


def test_a_comparison_has_the_rows_that_are_shown(learner: Callable[[str], Learner]) -> None:
    one = learner("first-comparison")
    shown, _ = (block.text for block in blocks(one.page, "text"))
    printed = one.type("everywire compare --quick --output first", "--quick", TINY)
    again = one.type("everywire report first/run.json")
    for row in shown.splitlines()[1:]:
        name = re.split(r"  +", row)[0]
        assert f"\n{name} " in printed
        assert f"\n{name} " in again
    assert (one.directory / "first" / "index.html").exists()


@pytest.mark.parametrize("page", TYPED)
def test_every_command_was_typed(page: str) -> None:
    """What the tests above, which have to have run, left out is typed by others."""
    there = {command for block in blocks(ROOT / page, "console") for command, _ in steps(block)}
    assert {
        command for command in there - DID[page] if not any(re.match(other, command) for other in ("export PATH=", *LEFT))
    } == set()
